"""What every page is handed, and the parts that several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from ftlab.decide.view import ArmView, DecisionView
from ftlab.events import Status
from ftlab.report import format as fmt
from ftlab.store.queries import RunRow
from ftlab.ui import parts
from ftlab.ui.data import Source
from ftlab.ui.parts import escape, safe_markdown


@dataclass(frozen=True, slots=True)
class Here:
    """One drawing of one page: the snapshot, the experiment as decided, and the pages to link to by name."""

    source: Source
    view: DecisionView
    pages: dict[str, Any]

    def arm(self, arm_id: str | None) -> ArmView | None:
        """An arm of the view by its id."""
        return next((arm for arm in self.view.arms if arm.arm_id == arm_id), None)

    @property
    def baseline(self) -> ArmView | None:
        """The arm that all others are compared with."""
        return next((arm for arm in self.view.arms if arm.is_baseline), None)

    def link(self, page: str, label: str, **params: str | list[str]) -> None:
        """A link to another page on this experiment. `label` may hold text that is not ours."""
        query = {"experiment": self.view.experiment_id, **params}
        st.page_link(self.pages[page], label=safe_markdown(label), query_params=query)


def title(over: str, text: str) -> None:
    """The page's one first-level heading with a line above it."""
    parts.markup(
        f'<div class="ft ft-title"><p class="ft-over">{escape(over)}</p><h1>{escape(parts.clip(text, 300))}</h1></div>'
    )


def unfinished(view: DecisionView) -> int:
    """How many runs are still to end."""
    return sum(view.progress.by_status.get(status, 0) for status in (Status.WAITING, Status.RUNNING))


def progress(view: DecisionView) -> None:
    """How far the sweep is and what runs now; nothing once every run has ended."""
    state = view.progress
    if not state.total or not unfinished(view):
        return
    done = state.by_status.get(Status.COMPLETE, 0)
    ended = state.total - unfinished(view) - done
    pruned = state.by_status.get(Status.PRUNED, 0)
    running = ", ".join(escape(parts.clip(label, 80)) for label in state.running) or "nothing at the moment"
    given_up = f"<span>{pruned} given up by their search</span>" if pruned else ""
    lost = f'<span class="ft-down">{ended - pruned} ended without a result</span>' if ended > pruned else ""
    spoken = f"{done} of {state.total} runs complete"
    parts.markup(
        f'<div class="ft"><div class="ft-live"><b>{spoken}</b><span>now: {running}</span>{given_up}{lost}</div>'
        f'<div class="ft-meter" role="progressbar" aria-label="Runs" aria-valuemin="0" aria-valuemax="{state.total}" '
        f'aria-valuenow="{done}" aria-valuetext="{spoken}"><i style="width:{100 * done / state.total:.2f}%"></i>'
        f'<i class="ft-ended" style="width:{100 * ended / state.total:.2f}%"></i></div></div>'
    )


def label_of(row: RunRow) -> str:
    """What a run is called: its arm's label, or its id where the plan no longer has the arm."""
    return row.label or row.run_id


def method_of(row: RunRow) -> str:
    """The method of a run as the spec names it."""
    return row.method_name or parts.MISSING


def lasted(started: float | None, finished: float | None) -> str:
    """How long something took, or that it has not ended."""
    if started is None or finished is None:
        return parts.MISSING
    return fmt.duration(finished - started)
