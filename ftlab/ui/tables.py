"""The method table and the forgetting strip as HTML tables: they wrap, print, and read well to a screen reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ftlab.decide.view import ArmView, BenchmarkChange, Cost, DecisionView, Estimate, GateView, PairedDifference
from ftlab.report import format as fmt
from ftlab.text import SHARE
from ftlab.ui.parts import MISSING, clip, escape, scrolling, status_words
from ftlab.ui.theme import family

_COLUMNS = (
    ("Method", ""),
    ("{metric}", "ft-num"),
    ("Difference to the baseline", "ft-num"),
    ("Fixed / broke", "ft-num"),
    ("Best in", "ft-num"),
    ("Valid format", "ft-num"),
    ("Worst benchmark change", "ft-num"),
    ("Time per 1,000 requests", "ft-num"),
    ("Tokens / s", "ft-num"),
    ("Training time", "ft-num"),
    ("Training memory", "ft-num"),
    ("Serving memory", "ft-num"),
    ("One request alone", "ft-num"),
    ("Trainable parameters", "ft-num"),
    ("Size to ship", "ft-num"),
    ("Status", ""),
)


def method_table(view: DecisionView, arms: Sequence[ArmView]) -> str:
    """One row per arm, in the view's order."""
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name.format(metric=_head(view.metric)))}</th>'
        for name, kind in _COLUMNS
    )
    rows = "".join(_row(view, arm) for arm in arms)
    caption = f"Every method on {view.split}: quality, difference to the baseline, forgetting, cost and status"
    return scrolling(f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>", caption, "ft-methods", "ft-tall")


def _row(view: DecisionView, arm: ArmView) -> str:
    look = family(arm.family)
    tags = []
    if arm.arm_id == view.conclusion.arm_id:
        tags.append("recommended" if view.conclusion.kind == "use" else "in the conclusion")
    if arm.is_baseline:
        tags.append("baseline")
    classes = " ".join(
        name
        for name, wanted in (
            ("ft-chosen", arm.arm_id == view.conclusion.arm_id and view.conclusion.kind == "use"),
            ("ft-baseline", arm.is_baseline),
            ("ft-sibling", not arm.is_best_of_method and not arm.is_baseline),
        )
        if wanted
    )
    marks = " ".join(f'<span class="ft-tag">{tag}</span>' for tag in tags)
    rest = clip(arm.label.removeprefix(arm.method_name).strip(), 160)
    name = (
        f'<th scope="row"><span style="color:{look.color}" aria-hidden="true">{look.glyph}</span> '
        f'<span class="ft-name">{escape(arm.method_name)}</span> {marks}'
        f"<small>{_breakable(rest or look.name)}</small></th>"
    )
    cost = arm.cost
    if not arm.metrics:
        return f'<tr class="{classes}">{name}{_nothing_measured(arm)}</tr>'
    cells = [
        _estimate(arm.metrics.get(view.metric), view.metric_unit, "ft-main"),
        _difference(arm, view.metric_unit),
        _flips(arm.difference),
        _number(arm.probability_best, lambda share: fmt.number(share, digits=0)),
        _estimate(arm.metrics.get("valid_format"), SHARE),
        _worst(view, fmt.worst_benchmark(arm)),
        _number(cost.seconds_per_1k_requests, fmt.duration),
        _number(cost.prediction_tokens_per_second, fmt.count),
        _number(cost.train_seconds, fmt.duration),
        _number(cost.peak_memory_bytes, fmt.size),
        _number(cost.serving_memory_bytes, fmt.size),
        _latency(cost),
        _number(cost.trainable_parameters, fmt.compact),
        _number(cost.artifact_bytes, fmt.size),
        _status(arm),
    ]
    return f'<tr class="{classes}">{name}{"".join(cells)}</tr>'


def _breakable(label: str) -> str:
    """A label as HTML that a narrow column breaks after `=`, and not in the middle of a number."""
    return escape(label).replace("=", "=<wbr>")


def _head(metric: str) -> str:
    name = fmt.metric_name(metric)
    return name[:1].upper() + name[1:]


def _td(content: str, kind: str = "ft-num") -> str:
    return f'<td class="{kind}">{content}</td>'


def _number(value: float | None, form: Callable[[Any], str]) -> str:
    return _td(MISSING if value is None else escape(form(value)))


def _estimate(estimate: Estimate | None, unit: str, kind: str = "") -> str:
    if estimate is None:
        return _td(MISSING)
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f"<small>{escape(fmt.number(estimate.low, unit))} to {escape(fmt.number(estimate.high, unit))}</small>"
    return _td(f'<span class="{kind}">{escape(fmt.number(estimate.value, unit))}</span>{ends}')


def _latency(cost: Cost) -> str:
    """The median of single requests, and within what time 95 of 100 are answered."""
    if cost.latency_p50 is None or cost.latency_p95 is None:
        return _td(MISSING)
    slow = f"<small>95% within {escape(fmt.number(cost.latency_p95.value, 'ms'))}</small>"
    return _td(f"{escape(fmt.number(cost.latency_p50.value, 'ms'))}{slow}")


def _difference(arm: ArmView, unit: str) -> str:
    if arm.is_baseline:
        return _td('<span class="ft-muted">baseline</span>')
    if arm.difference is None:
        return _td(MISSING)
    estimate = arm.difference.estimate
    tone, mark = direction(estimate.low, estimate.high)
    interval = fmt.interval(estimate.low, estimate.high, unit)
    return _td(
        f'<span class="ft-main {tone}">{mark} {escape(fmt.signed(estimate.value, unit))}</span>'
        f"<small>{escape(interval)}</small>"
    )


def _flips(difference: PairedDifference | None) -> str:
    if difference is None:
        return _td(MISSING)
    return _td(fmt.flips(difference))


def _worst(view: DecisionView, worst: BenchmarkChange | None) -> str:
    if worst is None:
        return _td(MISSING)
    if _is_unchanged(worst):
        return _td('<span class="ft-muted">unchanged</span>')
    tone, mark = corrected(view, worst.difference)
    return _td(
        f'<span class="{tone}">{mark} {escape(fmt.change_value(worst))}</span>'
        f"<small>{escape(fmt.task_name(worst.task))}:<br>{WITHIN[worst.within_limit]}</small>"
    )


def _nothing_measured(arm: ArmView) -> str:
    """One cell across the row: where there is nothing to show, the reason is what matters."""
    words = status_words(arm.status)
    if arm.reason:
        # A reason that begins with the status ("running, 1 of 7 stages done") replaces the word and keeps the symbol.
        said = clip(arm.reason, 300)
        words = f"{words[:2]}{said}" if said.startswith(arm.status) else f"{words}: {said}"
    return f'<td colspan="{len(_COLUMNS) - 1}" class="ft-absent">{escape(words)}</td>'


def _status(arm: ArmView) -> str:
    reason = f'<div class="ft-muted">{escape(clip(arm.reason, 300))}</div>' if arm.reason else ""
    return _td(f'<span style="white-space:nowrap">{escape(status_words(arm.status))}</span>{reason}', "ft-reason")


def direction(low: float | None, high: float | None) -> tuple[str, str]:
    """The tone and the symbol of a difference: up or down only where its interval excludes zero."""
    if low is not None and low > 0:
        return "ft-up", "▲"
    if high is not None and high < 0:
        return "ft-down", "▼"
    return "ft-flat", "≈"


def limits_table(view: DecisionView) -> str:
    """Who keeps which limit, in words: the best prompt and the best arm of every other method. Empty without limits."""
    kept = fmt.limits(view)
    if not kept:
        return ""
    names = list(dict.fromkeys(gate.name for _, gates in kept for gate in gates))
    head = "".join(f'<th scope="col">{escape(name.capitalize())}</th>' for name in names)
    rows = []
    for arm, gates in kept:
        by_name = {gate.name: gate for gate in gates}
        look = family(arm.family)
        cells = "".join(_gate_cell(by_name.get(name)) for name in names)
        rows.append(
            f'<tr><th scope="row"><span style="color:{look.color}" aria-hidden="true">{look.glyph}</span> '
            f"{_breakable(clip(arm.label, 120))}</th>{cells}</tr>"
        )
    table = f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
    return scrolling(table, "Which method keeps which limit of the decision", "ft-limits")


def _gate_cell(gate: GateView | None) -> str:
    if gate is None:
        return _td(MISSING, "")
    tone, mark = _STATES[gate.state]
    return _td(f'<span class="{tone}">{mark} {fmt.gate(gate.state)}</span><small>{escape(gate.words)}</small>', "")


_STATES = {"yes": ("ft-up", "✓"), "no": ("ft-down", "✗"), "not shown": ("ft-flat", "?")}


def corrected(view: DecisionView, difference: PairedDifference) -> tuple[str, str]:
    """As `direction`, and only where the p value that allows for everything looked at says so too."""
    if difference.p_adjusted is not None and difference.p_adjusted > 1 - view.confidence:
        return direction(None, None)
    return direction(difference.estimate.low, difference.estimate.high)


WITHIN = {"yes": "within the limit", "no": "beyond the limit", "not shown": "not shown safe"}
"""Whether a benchmark's change stays within `max_forgetting`, in words; a wide interval is never called safe."""


def forgetting_strip(view: DecisionView, arms: Sequence[ArmView]) -> str:
    """Arms by benchmarks: the paired change with its interval, cells of one unit on one scale, better to the right."""
    measured = [arm for arm in arms if arm.benchmarks]
    tasks = list(dict.fromkeys(change.task for arm in measured for change in arm.benchmarks))
    reach = _reach(view, measured)
    head = "".join(f'<th scope="col">{escape(fmt.task_name(task))}{_group(view, task)}</th>' for task in tasks)
    unmoved = [arm for arm in measured if all(_is_unchanged(change) for change in arm.benchmarks)]
    rows = [_unmoved_row(unmoved, len(tasks))] if unmoved else []
    for arm in measured:
        if arm in unmoved:
            continue
        by_task = {change.task: change for change in arm.benchmarks}
        look = family(arm.family)
        cells = "".join(_strip_cell(view, by_task.get(task), reach) for task in tasks)
        rows.append(
            f'<tr><th scope="row"><span style="color:{look.color}" aria-hidden="true">{look.glyph}</span> '
            f"{_breakable(clip(arm.label, 120))}</th>{cells}</tr>"
        )
    caption = f"Change on each general benchmark against the base model, with its {fmt.level(view.confidence)} interval"
    head = f'<thead><tr><th scope="col">Method</th>{head}</tr></thead>'
    return scrolling(f"{head}<tbody>{''.join(rows)}</tbody>", caption, "ft-strip", "ft-tall")


def _reach(view: DecisionView, arms: Sequence[ArmView]) -> dict[str, float]:
    """By unit, how far the bars reach to either side: as far as the widest interval and well past every limit."""
    reach: dict[str, float] = {}
    for arm in arms:
        for change in arm.benchmarks:
            found = change.difference.estimate
            ends = [abs(end) for end in (found.low, found.high, found.value) if end is not None]
            widest = max([*ends, 1.5 * _limit(view, change), 0.01]) * 1.05
            reach[change.unit] = max(reach.get(change.unit, 0.0), widest)
    return reach


def _group(view: DecisionView, task: str) -> str:
    group = view.benchmark_groups.get(task)
    return f"<small>{escape(fmt.group(group))}</small>" if group else ""


def _is_unchanged(change: BenchmarkChange) -> bool:
    estimate = change.difference.estimate
    return estimate.value == 0 and not estimate.low and not estimate.high


def _unmoved_row(arms: Sequence[ArmView], width: int) -> str:
    """Arms that run on the base's own weights, in one row: they cannot have forgotten anything."""
    names = ", ".join(escape(clip(arm.label, 60)) for arm in arms)
    return (
        f'<tr><th scope="row">{fmt.plural(len(arms), "arm")} on the base’s weights<small>{names}</small></th>'
        f'<td colspan="{width}" class="ft-absent">unchanged: the same answers as the base on every item</td></tr>'
    )


def _limit(view: DecisionView, change: BenchmarkChange) -> float:
    return view.max_forgetting if change.limit is None else change.limit


def _strip_cell(view: DecisionView, change: BenchmarkChange | None, reach: dict[str, float]) -> str:
    if change is None:
        return _td('<span class="ft-muted">not measured</span>', "")
    estimate = change.difference.estimate
    tone, mark = corrected(view, change.difference)
    ground = {"ft-up": "ft-won", "ft-down": "ft-lost"}.get(tone, "")
    note = f"{fmt.change_interval(change)}; {fmt.lost_gained(change)}"
    return (
        f'<td class="{ground}"><span class="{tone}">{mark} {escape(fmt.change_value(change))}</span> '
        f'<span class="ft-tag">{WITHIN[change.within_limit]}</span><small>{escape(note)}</small>'
        f"{_bar(estimate, reach[change.unit], _limit(view, change), tone)}</td>"
    )


def _bar(estimate: Estimate, reach: float, limit: float, tone: str) -> str:
    """A drawing of one interval from -reach to +reach; the words beside it say the same, so readers skip it."""

    def x(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return (
        f'<span class="ft-bar {tone}" aria-hidden="true"><i class="ft-limit" style="left:{x(-limit)}%"></i>'
        f'<i class="ft-axis"></i><i class="ft-span" style="left:{x(low)}%;width:{x(high) - x(low):.2f}%"></i>'
        f'<i class="ft-dot" style="left:{x(estimate.value)}%"></i></span>'
    )
