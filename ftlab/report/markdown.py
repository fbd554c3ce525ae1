"""The decision view as Markdown, for a README, a pull request or a chat."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftlab.decide.view import ArmView, DecisionView, GateView
from ftlab.report import format as fmt
from ftlab.report.assurance import assurance
from ftlab.report.course import COURSE_NOTE, course_rows
from ftlab.report.terminal import drift_note, drift_words, forgetting_note, method_note

_SPECIAL = re.compile(r"([\\`*_{}\[\]#!|~$^])")
_MARKS = {"yes": "within limit", "no": "**beyond limit**", "not shown": "not shown"}


def render_markdown(view: DecisionView) -> str:
    """The whole view but for the examples, as Markdown text that ends with a newline."""
    parts = [f"# {escape(view.name)}"]
    if view.question:
        parts.append(escape(view.question))
    parts.append(f"**{escape(view.conclusion.sentence)}**")
    if view.conclusion.caveat:
        parts.append(escape(view.conclusion.caveat))
    if view.arms:
        parts += ["## Methods", _methods(view), escape(method_note(view))]
    if kept := fmt.limits(view):
        parts += ["## Limits", _limits(kept)]
    tuned = [arm for arm in view.arms if arm.family != "prompt" and arm.benchmarks]
    if tuned:
        parts += ["## Forgetting", _forgetting(view, tuned), escape(forgetting_note(view, fmt.GATE_WORDS))]
    if rows := course_rows(view):
        parts += ["### In the course of the training", _course(rows), escape(COURSE_NOTE)]
    if fmt.drifting(view):
        parts += ["## Drift of default behaviour", _drift(view), escape(drift_note(view))]
    if view.worst_slices:
        labels = {arm.arm_id: fmt.label(arm) for arm in view.arms}
        lines = [f"- {escape(labels[one.arm_id])} {escape(fmt.worst_slice(view, one))}" for one in view.worst_slices]
        parts += ["## Where it does worst (a lead, found by looking)", "\n".join(lines)]
    if view.openings:
        lines = [f"- {escape(name)}: {escape(value)}" for name, value in assurance(view) if name != "not measured"]
        parts += ["## How sure is this?", "\n".join(lines)]
    if view.missing or view.warnings:
        lines = [f"- {escape(part.what)}: {escape(part.why)}" for part in view.missing]
        lines += [f"- {escape(warning)}" for warning in view.warnings]
        parts += ["## Missing, and to know", "\n".join(lines)]
    parts.append(
        f"Experiment {escape(view.experiment_id)}, {fmt.count(view.examples)} {view.split} rows, test rows "
        f"{fmt.openings(view)}, {fmt.runs_line(view)}, data up to {escape(fmt.date(view.updated_at))}."
    )
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Other people's text as one line of Markdown that means nothing: no markup, no link, no mention, no HTML."""
    line = fmt.one_line(text, 2000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _SPECIAL.sub(r"\\\1", line)
    # Bare addresses become links and @names notify people without any markup around them.
    line = line.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "@\u2060")
    # A backslash works before punctuation only, so that of a numbered list goes before its point.
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", re.sub(r"^([-+=])", r"\\\1", line))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; the first column left, the others right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _methods(view: DecisionView) -> str:
    head = [
        "method",
        escape(fmt.metric_name(view.metric)),
        "against the best prompt",
        "fixed / broke",
        "best in",
        "training",
        "1,000 requests",
        "to store",
    ]
    return table(head, [_row(view, arm) for arm in view.arms])


def _row(view: DecisionView, arm: ArmView) -> list[str]:
    against = "best prompt" if arm.is_baseline else fmt.difference_short(arm.difference, view.metric_unit)
    if view.metric not in arm.metrics:
        against = escape(fmt.state(arm) or arm.status)
    name = escape(fmt.label(arm))
    return [
        f"**{name}**" if arm.arm_id == view.conclusion.arm_id else name,
        fmt.estimate(arm.metrics.get(view.metric), view.metric_unit),
        against,
        fmt.flips(arm.difference),
        fmt.number(arm.probability_best, digits=0),
        fmt.duration(arm.cost.train_seconds),
        fmt.duration(arm.cost.seconds_per_1k_requests),
        fmt.size(arm.cost.artifact_bytes),
    ]


def _limits(kept: Sequence[tuple[ArmView, Sequence[GateView]]]) -> str:
    rows = [
        f"- {escape(fmt.label(arm))}: "
        + "; ".join(f"{gate.name} {_MARKS[gate.state]} {escape(gate.words)}" for gate in gates)
        for arm, gates in kept
    ]
    return "\n".join(rows)


def _forgetting(view: DecisionView, arms: Sequence[ArmView]) -> str:
    rows = []
    for arm in arms:
        changes = {change.task: change for change in arm.benchmarks}
        cells = [
            f"{fmt.change_short(change)} {_MARKS[change.within_limit]} ({fmt.lost_gained(change)})"
            if (change := changes.get(task))
            else fmt.MISSING
            for task in view.benchmarks
        ]
        rows.append([escape(fmt.label(arm)), *cells])
    return table(["method", *(_head(view, task) for task in view.benchmarks)], rows)


def _head(view: DecisionView, task: str) -> str:
    """A benchmark and what it measures: `piqa (reasoning)`."""
    group = view.benchmark_groups.get(task)
    return escape(f"{fmt.task_name(task)} ({fmt.group(group)})" if group else fmt.task_name(task))


def _course(rows: Sequence[tuple[str, ...]]) -> str:
    return table(["method", "benchmark", "point", "change"], [[escape(cell) for cell in row] for row in rows])


def _drift(view: DecisionView) -> str:
    names = fmt.drift_names(view)
    rows = []
    for arm in fmt.drifting(view):
        moved = {each.task: each for each in arm.drift}
        cells = [
            escape(f"{fmt.before_after(moved[name])}: {drift_words(moved[name])}") if name in moved else fmt.MISSING
            for name in names
        ]
        rows.append([escape(fmt.label(arm)), *cells])
    return table(["method", *(escape(fmt.task_name(name)) for name in names)], rows)
