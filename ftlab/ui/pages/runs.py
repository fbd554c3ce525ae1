"""Every run of the experiment: where it stands, why it failed, and the way to its own page."""

from __future__ import annotations

import time
from collections import Counter

import pandas as pd
import streamlit as st

from ftlab.decide.view import DecisionView
from ftlab.events import Status
from ftlab.report import format as fmt
from ftlab.store import queries
from ftlab.store.queries import RunRow
from ftlab.text import SHARE
from ftlab.ui import data, frame, parts, state
from ftlab.ui.frame import Here
from ftlab.ui.parts import escape, safe_cell, safe_markdown

LONGEST_SEARCH = 200
FAILURES_SHOWN = 20


def draw(here: Here) -> None:
    """Draw the page."""
    view = here.view
    rows = data.read(here.source, queries.runs, view.experiment_id)
    frame.title(view.name, "Runs")
    frame.progress(view)
    counts = Counter(row.status for row in rows)
    parts.chips(
        [("runs", str(len(rows))), *((parts.status_words(name), str(counts[name])) for name in _ordered(counts))]
    )
    if not rows:
        parts.empty(
            "No run is planned", "The plan of this experiment holds no run.", "ftlab plan experiments/quickstart.yaml"
        )
        return
    shown = _filtered(rows)
    if shown:
        _table(here, shown)
    else:
        parts.empty("No run fits these filters", f"{len(rows)} runs are there; take a filter away to see them.")
    _failures(here, shown)


def _ordered(counts: Counter[str]) -> list[str]:
    return [status.value for status in Status if counts[status.value]]


def _filtered(rows: list[RunRow]) -> list[RunRow]:
    methods = list(dict.fromkeys(frame.method_of(row) for row in rows))
    statuses = _ordered(Counter(row.status for row in rows))
    chosen_methods = state.seed("method", state.some_of(methods, len(methods)), [])
    chosen_statuses = state.seed("status", state.some_of(statuses, len(statuses)), [])
    text = state.seed("find", state.text_up_to(LONGEST_SEARCH), "")
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        chosen_methods = st.pills(
            "Method", methods, selection_mode="multi", format_func=safe_markdown, key=state.widget_key("method")
        )
        chosen_statuses = st.pills(
            "Status",
            statuses,
            selection_mode="multi",
            format_func=parts.status_words,
            key=state.widget_key("status"),
        )
        text = st.text_input(
            "Find in run, arm or reason",
            key=state.widget_key("find"),
            max_chars=LONGEST_SEARCH,
            type="search",
            width=280,
        )
    for name, value in (("method", chosen_methods), ("status", chosen_statuses), ("find", text)):
        state.publish(name, value)
    return keep(rows, chosen_methods or [], chosen_statuses or [], text or "")


def keep(rows: list[RunRow], methods: list[str], statuses: list[str], text: str) -> list[RunRow]:
    """The runs that fit: any of the methods, any of the statuses (no choice means all), and the text somewhere."""
    wanted = text.casefold().strip()
    return [
        row
        for row in rows
        if (not methods or frame.method_of(row) in methods)
        and (not statuses or row.status in statuses)
        and (
            not wanted or any(wanted in part.casefold() for part in (row.run_id, frame.label_of(row), row.reason or ""))
        )
    ]


def table(rows: list[RunRow], view: DecisionView, now: float) -> pd.DataFrame:
    """The runs as a frame for people. The first column is the id: the button that opens a run acts by its own text."""
    key = f"{view.split}/{view.metric}"
    factor = 100.0 if view.metric_unit == SHARE else 1.0
    return pd.DataFrame(
        {
            "run": [row.run_id for row in rows],
            "status": [parts.status_words(row.status) for row in rows],
            "arm": [safe_cell(parts.clip(frame.label_of(row), 200)) for row in rows],
            "seed": [row.seed for row in rows],
            **({"fold": [row.fold for row in rows]} if any(row.fold is not None for row in rows) else {}),
            "metric": [None if (value := row.metrics.get(key)) is None else value * factor for row in rows],
            "duration": [_duration(row, now) for row in rows],
            "attempt": pd.array([row.attempt for row in rows], dtype="Int64"),
            "started": [fmt.date(row.started_ts) for row in rows],
            "reason": [safe_cell(parts.clip(row.reason, 300)) if row.reason else parts.MISSING for row in rows],
        }
    )


def _duration(row: RunRow, now: float) -> str:
    if row.status == Status.RUNNING and row.started_ts is not None:
        return f"{fmt.duration(max(0.0, now - row.started_ts))} so far"
    return frame.lasted(row.started_ts, row.finished_ts)


def _table(here: Here, rows: list[RunRow]) -> None:
    view = here.view
    unit = " %" if view.metric_unit == SHARE else ""
    column = st.column_config
    st.dataframe(
        table(rows, view, time.time()),
        hide_index=True,
        placeholder=parts.MISSING,
        height="content" if len(rows) <= 14 else 540,
        alt=f"Runs of {view.name} with status, arm, {view.metric} and duration",
        column_config={
            # The browser sends the button's text, the run's id: the right run opens even if the table moved on.
            "run": column.ButtonColumn(
                "Open", key="open_run", type="tertiary", pinned=True, on_click=_remember_opened, help="Opens the run"
            ),
            "status": column.TextColumn("Status"),
            "arm": column.TextColumn("Arm"),
            "seed": column.NumberColumn("Seed", width="small"),
            "fold": column.NumberColumn("Fold", width="small"),
            "metric": column.NumberColumn(f"{safe_markdown(view.metric)}{unit}", format="%.1f" if unit else "%.4g"),
            "duration": column.TextColumn("Duration"),
            "attempt": column.NumberColumn("Attempts", width="small"),
            "started": column.TextColumn("Started"),
            "reason": column.TextColumn("Reason", width="large"),
        },
    )
    opened = st.session_state.pop("opened_run", None)
    if opened in {row.run_id for row in rows}:
        st.switch_page(here.pages["run"], query_params={"experiment": view.experiment_id, "run": opened})


def _remember_opened() -> None:
    click = st.session_state.get("open_run")
    if click is not None:
        st.session_state["opened_run"] = click["label"]


def _failures(here: Here, rows: list[RunRow]) -> None:
    failed = [row for row in rows if Status(row.status).needs_reason]
    if not failed:
        return
    parts.heading("Ended without a result", "The sweep went on without them; ftlab resume tries them again.")
    for row in failed[:FAILURES_SHOWN]:
        reason = parts.clip(row.reason or "no reason was recorded", 1_000)
        parts.markup(
            f'<div class="ft"><b>{escape(parts.status_words(row.status))}</b> '
            f"{escape(parts.clip(frame.label_of(row), 120))}, "
            f'{row.replicate}<p class="ft-note">{escape(reason)}</p></div>'
        )
        here.link("run", f"Open run {row.run_id} →", run=row.run_id)
    if len(failed) > FAILURES_SHOWN:
        parts.markup(
            f'<p class="ft ft-muted">and {len(failed) - FAILURES_SHOWN} more: filter by status to see them</p>'
        )
    st.code("ftlab resume latest", language=None)
