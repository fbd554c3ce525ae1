"""The frame around every page: settings, navigation, the choice of the experiment, and what to say without one."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import streamlit as st

from ftlab.decide.view import DecisionView
from ftlab.errors import FtlabError
from ftlab.store import queries
from ftlab.store.present import unpublished
from ftlab.ui import data, live, login, parts, state, theme
from ftlab.ui.frame import Here
from ftlab.ui.pages import decision, examples, forgetting, run, runs, sweep

PAGES: tuple[tuple[str, str, Callable[[Here], None], str], ...] = (
    ("decision", "Decision", decision.draw, "What the evidence says: conclusion, methods, gains, costs, forgetting."),
    ("forgetting", "Forgetting", forgetting.draw, "General benchmarks before and after, down to the single item."),
    ("sweep", "Sweep", sweep.draw, "What each search or grid has tried, live: best so far, and which fields mattered."),
    ("runs", "Runs", runs.draw, "Every run with its status, and why failed ones failed."),
    ("run", "Run", run.draw, "One run: curves, stages, configuration, environment, log."),
    ("examples", "Examples", examples.draw, "Outputs of the baseline and of other arms side by side."),
)
SPLIT_NAMES = {"test": "Sealed test rows: the finalists", "validation": "Validation rows: every arm"}
_log = logging.getLogger(__name__)


def main() -> None:
    """Draw the app once. The entry script calls this on every rerun."""
    st.set_page_config(page_title="ftlab", page_icon=str(theme.ICON), layout="wide", initial_sidebar_state="collapsed")
    st.html(theme.stylesheet())
    if not login.passed():
        return
    pages: dict[str, Any] = {}
    for path, title, draw, text in PAGES:
        pages[path] = st.Page(_page(draw, pages), title=title, url_path=path, default=path == "decision", help=text)
    st.navigation(list(pages.values()), position="top").run()


def _page(draw: Callable[[Here], None], pages: dict[str, Any]) -> Callable[[], None]:
    def show() -> None:
        results = data.results_dir()
        try:
            source = data.newest(results)
        except (OSError, FtlabError, duckdb.Error) as error:
            parts.empty("The results cannot be read", str(error))
            source = None
        else:
            if source is None:
                _no_results(results)
        drawn = source is not None and _draw_safely(draw, pages, source)
        live.follow(results, source if drawn else None)

    return show


def _draw_safely(draw: Callable[[Here], None], pages: dict[str, Any], source: data.Source) -> bool:
    """Draw a page; what cannot be read becomes a sentence, not an error box. Returns whether the snapshot was read."""
    try:
        here = _here(source, pages)
        if here is not None:
            draw(here)
    except FtlabError as error:
        parts.empty("This cannot be shown", str(error))
    except (OSError, duckdb.Error):
        # Only the newest few snapshots are kept; one that was just replaced is read again under its new number.
        _log.warning("snapshot %s could not be read", source.number, exc_info=True)
        parts.empty("A moment, please", "The results are being replaced; the page comes back by itself.")
        return False
    except Exception:
        # The last frame before the reader: a defect of ftlab must not end in a page of traceback.
        _log.exception("the page could not be drawn")
        parts.empty("This page met an error of ftlab's own", "The terminal that runs the app shows the details.")
    return True


def _here(source: data.Source, pages: dict[str, Any]) -> Here | None:
    known = {row.experiment_id: row.name for row in data.read(source, queries.experiments)}
    if not known:
        parts.empty(
            "No experiment yet",
            "The results folder is there, but no experiment has been planned in it.",
            "ftlab run experiments/quickstart.yaml",
        )
        return None
    ids = list(known)
    chosen = state.seed("experiment", state.one_of(ids), ids[0])
    if len(ids) > 1:
        chosen = (
            st.selectbox(
                "Experiment", ids, format_func=lambda key: parts.plain(known[key]), key=state.widget_key("experiment")
            )
            or chosen
        )
    state.publish("experiment", chosen)
    return Here(source, _judged(source, data.view(source, chosen)), pages)


def _judged(source: data.Source, view: DecisionView) -> DecisionView:
    """The view on the rows that the reader wants to judge by. There is a choice once the test rows were opened."""
    if len(view.splits) < 2:
        return view
    chosen = state.seed("split", state.one_of(view.splits), view.split)
    picked = st.segmented_control(
        "Judged on",
        list(reversed(view.splits)),
        format_func=lambda split: SPLIT_NAMES.get(split, split),
        key=state.widget_key("split"),
        required=True,
    )
    state.publish("split", picked or chosen)
    return view if picked in (None, view.split) else data.view(source, view.experiment_id, picked)


def _no_results(results: Path) -> None:
    command = "ftlab run experiments/quickstart.yaml"
    if (found := unpublished(results)) is not None:
        why, command = f"{found[0]}.", f"{found[1]} --results {shlex.quote(str(results))}"
    elif results.is_dir():
        why = f"Nothing has been published in {results} yet. The page fills by itself as soon as a sweep starts."
    else:
        why = f"There is no folder {results}. Start a sweep, or name the folder: ftlab ui --results DIR."
    parts.empty("No results yet", why, command)
