"""The one formatter of all surfaces: parts of the view to words. The rules themselves are in `ftlab.text`."""

from __future__ import annotations

from ftlab import text
from ftlab.decide.gates import raw_change, worst
from ftlab.decide.view import (
    ArmView,
    BenchmarkChange,
    DecisionView,
    Drift,
    Estimate,
    Gate,
    GateView,
    PairedDifference,
    WorstSlice,
)
from ftlab.text import (
    MINUS,
    MISSING,
    amount,
    coefficient,
    compact,
    count,
    date,
    duration,
    interval,
    level,
    metric_name,
    money,
    number,
    one_line,
    p_value,
    plain,
    plural,
    rate,
    signed,
    size,
)

__all__ = [
    "before_after",
    "change",
    "change_interval",
    "change_short",
    "change_value",
    "drift_counts",
    "drift_names",
    "drift_short",
    "drifting",
    "group",
    "is_news",
    "GATE_WORDS",
    "MINUS",
    "MISSING",
    "STATUS_WORDS",
    "amount",
    "coefficient",
    "compact",
    "conclusion_title",
    "count",
    "date",
    "difference",
    "difference_short",
    "difference_unit",
    "duration",
    "estimate",
    "flips",
    "forgetting",
    "gate",
    "interval",
    "label",
    "latency",
    "level",
    "limits",
    "metric_name",
    "money",
    "number",
    "one_line",
    "openings",
    "p_value",
    "plain",
    "plural",
    "rate",
    "runs_line",
    "shorten",
    "short_estimate",
    "signed",
    "size",
    "worst_slice",
    "state",
    "status",
    "task_name",
    "worst_benchmark",
]

STATUS_WORDS = {
    "waiting": "waiting",
    "running": "running",
    "complete": "complete",
    "pruned": "pruned",
    "failed": "failed",
    "oom": "out of memory",
    "cancelled": "cancelled",
    "killed": "killed",
}

_TITLES = {
    "use": "Recommended",
    "keep_prompting": "Keep prompting",
    "undecided": "Not decided",
    "blocked": "Blocked",
    "incomplete": "No conclusion yet",
}
GATE_WORDS: dict[Gate, str] = {"yes": "within limit", "no": "beyond limit", "not shown": "not shown"}


def estimate(value: Estimate | None, unit: str = text.SHARE) -> str:
    """A value with its interval: `61.3% (57.2 to 65.2)`."""
    return text.estimate(value.value, value.low, value.high, unit) if value else MISSING


def short_estimate(value: Estimate | None, unit: str = text.SHARE) -> str:
    """A value alone: `61.3%`."""
    return text.number(value.value, unit) if value else MISSING


def difference(value: PairedDifference | None, unit: str = text.SHARE) -> str:
    """A paired difference: `+5.6 points (95% CI +3.1 to +8.2)`."""
    found = value.estimate if value else None
    return text.difference(found.value, found.low, found.high, unit, found.confidence) if found else MISSING


def difference_short(value: PairedDifference | None, unit: str = text.SHARE) -> str:
    """The same for a column whose head names the unit: `+5.6 (+3.1 to +8.2)`."""
    found = value.estimate if value else None
    return text.difference_short(found.value, found.low, found.high, unit) if found else MISSING


def flips(value: PairedDifference | None) -> str:
    """Examples that got better and worse, and how many only one side was scored on: `+77 / −32 (3 not compared)`."""
    if value is None:
        return MISSING
    dropped = f" ({text.count(value.dropped)} not compared)" if value.dropped else ""
    return f"+{text.count(value.fixed)} / {MINUS}{text.count(value.broke)}{dropped}"


def status(value: str) -> str:
    """A run's status in words."""
    return STATUS_WORDS.get(value, one_line(value, 40))


def state(arm: ArmView) -> str:
    """Where an arm stands when it has not simply finished: `failed: out of disk`, `running, 1 of 7 stages done`."""
    reason = one_line(arm.reason, 160) if arm.reason else ""
    if arm.status == "complete" or reason.startswith(arm.status):
        return reason
    return f"{status(arm.status)}: {reason}" if reason else status(arm.status)


def runs_line(view: DecisionView) -> str:
    """How far the sweep is: `7 of 9 complete, 1 failed, 1 running`."""
    counts = view.progress.by_status
    others = [f"{n} {status(word)}" for word, n in counts.items() if word != "complete" and n]
    return ", ".join([f"{counts.get('complete', 0)} of {view.progress.total} complete", *others])


def arms_tried(view: DecisionView) -> str:
    """How many arms were tried, and how many of them were chosen when results were known: `12, 2 of them clones`."""
    clones = (
        ""
        if not view.arms_cloned
        else f", {count(view.arms_cloned)} of them {'a clone' if view.arms_cloned == 1 else 'clones'}"
    )
    return f"{count(view.arms_tried)}{clones}"


def openings(view: DecisionView) -> str:
    """What happened to the test rows: `sealed`, `opened once`, `opened 3 times`."""
    if not view.openings:
        return "sealed"
    return "opened once" if view.test_looks <= 1 else f"opened {view.test_looks} times"


def difference_unit(unit: str) -> str:
    """What a difference is counted in: `points` for shares, else the unit itself."""
    return "points" if unit == text.SHARE else "units" if unit in text.UNSPOKEN else unit or "units"


def shorten(value: str, limit: int) -> str:
    """Long text, its lines kept, with an ellipsis in place of what was cut."""
    shown = plain(value).strip()
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}…"


def gate(value: Gate | None) -> str:
    """A gate in words; `not shown` is never worded as safe."""
    return GATE_WORDS[value] if value else MISSING


def limits(view: DecisionView) -> list[tuple[ArmView, list[GateView]]]:
    """Who keeps which limit: the best prompt and the best arm of every other method, those with a limit at all."""
    chosen = [arm for arm in view.arms if arm.is_best_of_method or arm.is_baseline]
    return [(arm, arm.gates) for arm in chosen if arm.gates]


def worst_slice(view: DecisionView, found: WorstSlice) -> str:
    """`on label: Surgery: −8.0 points (95% CI −15.0 to −1.0), 40 rows; worst of 14 slices looked at, ...`."""
    said = difference(found.difference, view.metric_unit)
    corrected = f", {p_value(found.difference.p_adjusted)} corrected" if found.difference.p_adjusted is not None else ""
    return (
        f"on {one_line(found.name, 110)}: {said}, {plural(found.difference.estimate.n or 0, 'row')}; "
        f"worst of {plural(found.looked_at, 'slice')} looked at{corrected}"
    )


def latency(arm: ArmView) -> str:
    """A request served alone, in ms: `median 85 ms (80 to 92), 95% within 140 ms (110 to 260)`."""
    middle, slow = arm.cost.latency_p50, arm.cost.latency_p95
    if middle is None or slow is None:
        return MISSING
    return f"median {estimate(middle, 'ms')}, 95% within {estimate(slow, 'ms')}"


def worst_benchmark(arm: ArmView) -> BenchmarkChange | None:
    """The benchmark that an arm lost most on (or gained least), each by its own limit."""
    return worst(arm.benchmarks)


def change(value: BenchmarkChange) -> str:
    """How a benchmark moved, in its unit: `−1.0 points (95% CI −3.0 to +1.0)`, `+0.12 nats (...)` for a risen loss."""
    found = raw_change(value.direction, value.difference)
    return text.difference(found.value, found.low, found.high, value.unit, found.confidence)


def change_short(value: BenchmarkChange) -> str:
    """The same for a table of points: `−1.0 (−3.0 to +1.0)`; other units are named: `+0.12 nats (+0.1 to +0.14)`."""
    ends = change_interval(value)
    return f"{change_value(value)} ({ends})" if ends != MISSING else change_value(value)


def change_value(value: BenchmarkChange) -> str:
    """How a benchmark moved, without its interval: `−1.0`, `+0.12 nats`."""
    return _moved(raw_change(value.direction, value.difference).value, value.unit)


def change_interval(value: BenchmarkChange) -> str:
    """The interval of how a benchmark moved: `−3.0 to +1.0`."""
    found = raw_change(value.direction, value.difference)
    return text.interval(found.low, found.high, value.unit)


def before_after(value: BenchmarkChange | Drift) -> str:
    """The base's value and the arm's: `61.0% → 59.2%`, `3.078 → 3.2 nats`."""
    return f"{text.number(value.base.value, value.unit)} → {text.number(value.arm.value, value.unit)}"


def drift_short(value: Drift) -> str:
    """How a habit moved: `−12.4 tokens (−18.1 to −7.2)`, `+2.1 points (−1.0 to +5.0)`."""
    found = value.difference.estimate
    shown = text.difference(found.value, None, None, value.unit)
    ends = text.interval(found.low, found.high, value.unit)
    return f"{shown} ({ends})" if ends != MISSING else shown


def drift_counts(value: Drift) -> str:
    """The two sides of a drift: `more on 5, less on 31 of 48`."""
    found = value.difference
    return f"more on {count(found.fixed)}, less on {count(found.broke)} of {count(found.estimate.n)}"


def is_news(value: Drift) -> bool:
    """Whether the interval, which holds together with those of all drifts, excludes zero."""
    low, high = value.difference.estimate.low, value.difference.estimate.high
    return low is not None and high is not None and (low > 0 or high < 0)


def drifting(view: DecisionView) -> list[ArmView]:
    """The trained arms whose drift was measured."""
    return [arm for arm in view.arms if arm.family != "prompt" and arm.drift]


def drift_names(view: DecisionView) -> list[str]:
    """Every drift that some trained arm has, in the order of the spec."""
    return list(dict.fromkeys(moved.task for arm in drifting(view) for moved in arm.drift))


def group(name: str) -> str:
    """What a benchmark measures, in words: `instruction following`."""
    return one_line(name.replace("_", " "), 48)


def _moved(value: float, unit: str) -> str:
    return text.signed(value, unit) if unit == text.SHARE else text.difference(value, None, None, unit)


def forgetting(arm: ArmView) -> str:
    """An arm's benchmarks in a few words: `within limit 2 of 3, not shown 1`."""
    if not arm.benchmarks:
        return MISSING
    total = len(arm.benchmarks)
    counts = {
        word: sum(change.within_limit == word for change in arm.benchmarks) for word in ("yes", "no", "not shown")
    }
    parts = [f"{gate(word)} {n}" for word, n in counts.items() if n]  # type: ignore[arg-type]
    return f"{parts[0]} of {total}" if len(parts) == 1 else ", ".join(parts)


def lost_gained(change: BenchmarkChange) -> str:
    """The two sides of a change, which its net hides: `5 lost, 3 gained`, and a note where a loss cannot show."""
    found = change.difference
    blind = "; base at chance" if change.informative is False else ""
    lost, gained = ("rose", "fell") if change.direction == "lower" else ("lost", "gained")
    return f"{count(found.broke)} {lost}, {count(found.fixed)} {gained}{blind}"


def loss_limits(view: DecisionView) -> str:
    """The largest tolerated loss on a benchmark, in words: `2 points`, or `2 points (piqa: 3 points)`."""
    own = [
        f"{task_name(task)}: {amount(limit, unit)}"
        for task, limit in view.forgetting_limits.items()
        if (unit := view.benchmark_units.get(task, text.SHARE)) != text.SHARE or limit != view.max_forgetting
    ]
    shown = amount(view.max_forgetting)
    return f"{shown} ({', '.join(own)})" if own else shown


def task_name(task: str) -> str:
    """A benchmark as people call it: without the `builtin:` in front."""
    return one_line(task.removeprefix("builtin:"), 48)


def label(arm: ArmView, limit: int = 80) -> str:
    """An arm's label, on one line."""
    return one_line(arm.label, limit)


def conclusion_title(view: DecisionView) -> str:
    """The kind of conclusion as a headline."""
    return _TITLES[view.conclusion.kind]
