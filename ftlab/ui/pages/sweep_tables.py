"""The tables of the sweep page: every figure of its charts, and apart from them the arms without a result."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.decide.sweep import MethodSweep, SweepArm
from ftlab.decide.sweep_fields import SweepField
from ftlab.decide.view import DecisionView
from ftlab.report import format as fmt
from ftlab.ui import parts
from ftlab.ui import sweep_charts as charts
from ftlab.ui.parts import MISSING

ROWS_SHOWN = 1_000
"""Rows of a table; a search may try ten times as many."""


def measured(sweep: MethodSweep, view: DecisionView) -> None:
    """Every arm with a value, the best first."""
    parts.heading("Every measured arm", "The best first.")
    arms = sorted(sweep.measured, key=lambda arm: arm.value or 0.0, reverse=sweep.higher)
    head = [("Ended as", False), (fmt.metric_name(view.metric), True)]
    head += [(parts.clip(field.name, 60), field.numeric) for field in sweep.fields]
    head += [("Seeds", True), ("Time", True)]
    rows = [
        (
            f"number {arm.order}",
            fmt.estimate(arm.estimate, view.metric_unit),
            *_values(sweep.fields, arm),
            arm.seeds,
            fmt.duration(arm.seconds),
        )
        for arm in arms[:ROWS_SHOWN]
    ]
    parts.listing(f"Arms of {sweep.name} with a result, the best first", head, rows, tall=True)
    _left_out(len(arms))


def lost(sweep: MethodSweep) -> None:
    """What was given up or failed: its place in the space and the reason, and no value."""
    if not sweep.lost:
        return
    parts.heading("Given up or failed", "These have no result: what they measured until then says nothing final.")
    head = [("Arm", False), ("Status", False)]
    head += [(parts.clip(field.name, 60), field.numeric) for field in sweep.fields]
    head += [("Time", True), ("Reason", False)]
    rows = [
        (
            parts.clip(arm.label, 120),
            parts.status_words(arm.status),
            *_values(sweep.fields, arm),
            fmt.duration(arm.seconds),
            parts.clip(arm.reason or MISSING, 300),
        )
        for arm in sweep.lost[:ROWS_SHOWN]
    ]
    parts.listing(f"Arms of {sweep.name} without a result", head, rows, tall=True)
    _left_out(len(sweep.lost))


def _values(fields: Sequence[SweepField], arm: SweepArm) -> list[str]:
    return [charts.show_value(arm.values[field.name]) if field.name in arm.values else MISSING for field in fields]


def _left_out(rows: int) -> None:
    if rows > ROWS_SHOWN:
        parts.markup(f'<p class="ft ft-muted">and {fmt.count(rows - ROWS_SHOWN)} more</p>')
