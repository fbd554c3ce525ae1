"""One run: how it went, what it was made of, and what it said."""

from __future__ import annotations

import streamlit as st

from ftlab.report import format as fmt
from ftlab.store import queries
from ftlab.store.classes import class_reports
from ftlab.store.queries import AttemptRow, RunDetail, RunRow, StageRow
from ftlab.ui import charts, confusion, data, frame, parts, state, theme
from ftlab.ui.frame import Here
from ftlab.ui.parts import escape

LINES_SHOWN = 16
"""Longer logs scroll inside their box."""


def draw(here: Here) -> None:
    """Draw the page."""
    view = here.view
    rows = data.read(here.source, queries.runs, view.experiment_id)
    detail = data.read(here.source, queries.run_detail, _pick(rows)) if rows else None
    if detail is None:
        frame.title(view.name, "Run")
        parts.empty("No run is planned", "The plan of this experiment holds no run.")
        return
    row = detail.run
    frame.title(f"{view.name} · run {row.run_id}", f"{frame.label_of(row)}, {row.replicate}")
    parts.chips(
        [
            ("status", parts.status_words(row.status)),
            (view.metric, fmt.number(row.metrics.get(f"{view.split}/{view.metric}"), view.metric_unit)),
            ("duration", frame.lasted(row.started_ts, row.finished_ts)),
            ("attempts", str(len(detail.attempts))),
            ("started", fmt.date(row.started_ts)),
        ]
    )
    if row.reason:
        parts.markup(
            '<section class="ft ft-verdict ft-blocked" aria-label="Reason">'
            '<span class="ft-kind">Why it has no result</span>'
            f"<p>{escape(parts.clip(row.reason, 2_000))}</p></section>"
        )
    _warnings(detail)
    _classes(here, row)
    _curves(here, detail)
    _stages(detail.stages)
    _attempts(detail.attempts)
    with st.expander("Configuration, every default filled in"):
        parts.facts(parts.flatten(detail.config), "Configuration of this run")
    with st.expander("Environment"):
        known = next((attempt.provenance for attempt in detail.attempts if attempt.provenance), {})
        if known:
            parts.facts(parts.flatten(known), "Environment of the newest attempt")
        else:
            parts.markup('<p class="ft ft-muted">No attempt has started yet.</p>')
    _log(here, row)


def _pick(rows: list[RunRow]) -> str:
    by_id = {row.run_id: row for row in rows}
    ids = list(by_id)
    chosen = state.seed("run", state.one_of(ids), ids[0])

    def label(run_id: str) -> str:
        row = by_id[run_id]
        return f"{parts.status_words(row.status)}  {parts.plain(frame.label_of(row))}, {row.replicate} ({run_id})"

    chosen = st.selectbox("Run", ids, format_func=label, key=state.widget_key("run")) or chosen
    state.publish("run", chosen)
    return chosen


def _warnings(detail: RunDetail) -> None:
    if not detail.warnings:
        return
    parts.heading("Warnings")
    items = "".join(
        f"<li><b>{escape(found.code)}</b>{_at(found.step)}: {escape(parts.clip(found.message, 600))}</li>"
        for found in detail.warnings
    )
    parts.markup(f'<ul class="ft ft-list">{items}</ul>')


def _at(step: int | None) -> str:
    return "" if step is None else f" at step {step}"


def _classes(here: Here, row: RunRow) -> None:
    """The split that the decision reads comes first."""
    reports = data.read(here.source, class_reports, row.run_id)
    for report in sorted(reports, key=lambda report: report.split != here.view.split):
        confusion.draw(report, theme.text_color(st.context.theme.type))


def _curves(here: Here, detail: RunDetail) -> None:
    points = data.read(here.source, queries.curves, [detail.run.run_id])
    present = {point.key for point in points}
    panels = [
        (title, series)
        for title, known in charts.CURVES
        if (series := [(key, name) for key, name in known if key in present])
    ]
    parts.heading("Curves")
    if not panels:
        trained = any(key in detail.config.get("method", {}) for key in ("epochs", "max_steps"))
        text = "Nothing has been logged yet." if trained else "This method trains nothing, so there are no curves."
        parts.markup(f'<p class="ft ft-muted">{text}</p>')
        return
    for start in range(0, len(panels), 2):
        for place, (title, series) in zip(st.columns(2, gap="large"), panels[start : start + 2], strict=False):
            with place:
                parts.heading(title, level=3)
                st.altair_chart(charts.curve(points, series), alt=f"{title} by training step")


def _stages(rows: list[StageRow]) -> None:
    parts.heading("Stages", "Steps that runs share are computed once; “taken over” means that this run found it done.")
    parts.listing(
        "Stages of this run",
        [("Stage", False), ("State", False), ("Computed in", True), ("Size", True), ("Key", False)],
        [
            (
                f"{row.kind} · {row.name}" if row.name else row.kind,
                _state(row),
                fmt.duration(row.seconds),
                fmt.size(row.bytes),
                row.key[:12],
            )
            for row in rows
        ],
    )


def _state(row: StageRow) -> str:
    if row.state != "complete":
        return {"planned": "○ planned", "running": "◐ running"}.get(row.state, row.state)
    return "✓ taken over" if row.cached else "✓ computed"


def _attempts(rows: list[AttemptRow]) -> None:
    parts.heading("Attempts")
    if not rows:
        parts.markup('<p class="ft ft-muted">None yet: the run waits for its turn.</p>')
        return
    parts.listing(
        "Attempts of this run",
        [("Attempt", False), ("Status", False), ("Duration", True), ("Started", False), ("Reason", False)],
        [
            (
                row.attempt,
                parts.status_words(row.status),
                frame.lasted(row.started_ts, row.finished_ts),
                fmt.date(row.started_ts),
                parts.clip(row.reason or parts.MISSING, 300),
            )
            for row in rows
        ],
    )
    newest = rows[0]
    if newest.error:
        with st.expander("Error of the newest attempt"):
            st.code(parts.plain(parts.clip(newest.error, 20_000)), language=None, wrap_lines=True)


def _log(here: Here, row: RunRow) -> None:
    parts.heading("Log", f"The end of the newest attempt's log, at most {data.LOG_TAIL // 1024} kB.")
    text = data.log_tail(here.source, here.view.experiment_id, row.run_id, row.attempt)
    if text is None:
        parts.markup(
            '<p class="ft ft-muted">There is no log: the run has not started, or its folder was moved away.</p>'
        )
    elif not text.strip():
        parts.markup('<p class="ft ft-muted">The log is empty so far.</p>')
    else:
        st.code(text, language=None, wrap_lines=True, height=380 if text.count("\n") > LINES_SHOWN else "content")
