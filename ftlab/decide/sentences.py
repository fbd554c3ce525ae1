"""The sentences of a verdict. Each is said by one function, so that wording is found and tested in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftlab import text
from ftlab.decide.gates import Rule, difference_of, examples_needed, gate_of, raw_change, value_of, worst
from ftlab.decide.view import ArmView, BenchmarkChange, Drift, Gate, GateView, Majority, Progress
from ftlab.plan.opening import TEST
from ftlab.spec.measures import is_fixed
from ftlab.statistics.power import MOST


def use(arm: ArmView, baseline: ArmView, rule: Rule, level: str) -> str:
    small = (
        ""
        if level == "clear"
        else (f" The gain is shown; that it reaches the {text.amount(rule.min_gain, rule.unit)} you asked for is not.")
    )
    gained = text.difference(value_of(arm), None, None, rule.unit)
    parts = [f"{gained} of {_metric(rule)} over the best prompt, {name(baseline)} {_evidence(arm, rule)}"]
    if cost := _cost_words(arm, baseline, rule):
        parts.append(cost)
    parts += [gate.words for gate in arm.gates if gate.name == "latency"]
    if arm.benchmarks:
        total = len(arm.benchmarks)
        limits = {text.amount(rule.limit(change.task), change.unit) for change in arm.benchmarks}
        limit = limits.pop() if len(limits) == 1 else "its limit"
        parts.append(f"no loss beyond {limit} on {total} of {total} general benchmarks")
    return f"Use {name(arm)}: {'; '.join(parts)}.{small}"


def passed_over(arm: ArmView | None, rule: Rule) -> str:
    """The better arm that its limits kept from being chosen."""
    if arm is None:
        return ""
    why = "is beyond a limit" if gate_of(arm) == "no" else "is not shown to keep every limit"
    return f" {name(arm)} comes to {text.difference(value_of(arm), None, None, rule.unit)} but {why}."


def keep(best: ArmView, possible: list[ArmView], baseline: ArmView, rule: Rule) -> str:
    highest = max((high for arm in possible if (high := difference_of(arm).estimate.high) is not None), default=None)
    found = difference_of(best).estimate
    shown = (
        f"{text.signed(found.value, rule.unit)}, {text.level(found.confidence)} CI "
        f"{text.interval(found.low, found.high, rule.unit)}"
        if found.low is not None
        else text.signed(found.value, rule.unit)
    )
    tail = ""
    if highest is not None:
        tail = (
            f"; a gain above {text.amount(highest, rule.unit)} is unlikely"
            if highest > 0
            else "; every other is shown worse"
        )
    if best.equivalent:
        tail = f"; it is shown to be no more than {text.amount(rule.min_gain, rule.unit)} better or worse"
    return (
        f"Keep prompting with {name(baseline)}: no method beat it by the {text.amount(rule.min_gain, rule.unit)} "
        f"you asked for (best: {name(best)} {shown}){tail}."
    )


def undecided(arm: ArmView, baseline: ArmView, rule: Rule) -> str:
    found = difference_of(arm).estimate
    toward_gain = examples_needed(found.value, found.low, found.high, found.n)
    toward_none = examples_needed(rule.min_gain - found.value, found.low, found.high, found.n)
    needed = min((n for n in (toward_gain, toward_none) if n is not None), default=None)
    shown = text.difference(found.value, None, None, rule.unit)
    settle = _settle(needed, found.n, f"{rule.split} examples")
    return (
        f"Not decided: {name(arm)} comes to {shown} of {_metric(rule)} against the best prompt, {name(baseline)} "
        f"{_evidence(arm, rule)}, which leaves a worthwhile gain and none at all both possible.{settle}"
    )


def not_shown_safe(arm: ArmView, rule: Rule) -> str:
    words = f"Not decided: {_better(arm, rule)}"
    change = min(
        (change for change in arm.benchmarks if change.within_limit == "not shown"),
        key=lambda change: change.difference.estimate.low if change.difference.estimate.low is not None else -math.inf,
        default=None,
    )
    if change is not None:
        found = change.difference.estimate
        limit = rule.limit(change.task)
        needed = examples_needed(found.value + limit, found.low, found.high, found.n)
        settle = "" if is_fixed(change.task) else _settle(needed, found.n, f"items of {_task(change)}")
        return (
            f"{words}, but not shown safe: {_change_words(change)}, and the limit is a {_loss(change)} of "
            f"{text.amount(limit, change.unit)}.{settle}"
        )
    if moved := next((moved for moved in arm.drift if moved.within_limit == "not shown"), None):
        return f"{words}, but not shown safe: {_drift_words(moved)}."
    measured = {change.task for change in arm.benchmarks} | {moved.task for moved in arm.drift}
    if absent := [task for task in rule.benchmarks if task not in measured]:
        return f"{words}, but not shown safe: {', '.join(map(text.one_line, absent))} is not measured yet."
    if arm.format_gate == "not shown":
        return (
            f"{words}, but not shown to answer in the asked form often enough: "
            f"{_format_words(arm)}, and the limit is {text.number(rule.min_valid_format)}."
        )
    gate = _first(arm, "not shown")
    return f"{words}, but not shown to be {_SHORT[gate.name]} enough: {gate.words}."


def dearer(arm: ArmView, baseline: ArmView, rule: Rule) -> str:
    found = difference_of(arm).estimate
    needed = examples_needed(found.value - rule.min_gain, found.low, found.high, found.n)
    return (
        f"Not decided: {_better(arm, rule)}, which is not shown to "
        f"reach the {text.amount(rule.min_gain, rule.unit)} you asked for, and it serves slower "
        f"({text.duration(arm.cost.seconds_per_1k_requests)} for 1,000 requests, the prompt "
        f"{text.duration(baseline.cost.seconds_per_1k_requests)}).{_settle(needed, found.n, f'{rule.split} examples')}"
    )


def blocked(arm: ArmView, rule: Rule) -> str:
    words = f"Blocked: {_better(arm, rule)}"
    lost = [change for change in arm.benchmarks if change.within_limit == "no"]
    if lost:
        return f"{words}, but {_lost_words(worst(lost) or lost[0], rule)}."
    if moved := next((moved for moved in arm.drift if moved.within_limit == "no"), None):
        return f"{words}, but {_drift_words(moved)}."
    if arm.format_gate == "no":
        return (
            f"{words}, but too few of its answers have the asked form: {_format_words(arm)}, "
            f"and the limit is {text.number(rule.min_valid_format)}."
        )
    gate = _first(arm, "no")
    return f"{words}, but it is not {_SHORT[gate.name]} enough: {gate.words}."


_SHORT = {"latency": "fast", "cost": "cheap"}


def _first(arm: ArmView, state: Gate) -> GateView:
    """The first of the arm's other limits in this state."""
    return next(gate for gate in arm.gates if gate.state == state and gate.name in _SHORT)


def incomplete(arms: Sequence[ArmView], baseline: ArmView | None, progress: Progress) -> str:
    done = f"{progress.by_status.get('complete', 0)} of {text.plural(progress.total, 'run')} finished"
    if not any(arm.family == "prompt" for arm in arms):
        return f"No conclusion: the spec has no prompting method to compare with; add one of `type: prompt` ({done})."
    if baseline is None:
        return f"No conclusion yet: no prompting method has a result to compare with ({done})."
    return f"No conclusion yet: only prompting has a result, {name(baseline)} so far the best ({done})."


def caveat(
    arms: Sequence[ArmView],
    candidates: list[ArmView],
    baseline: ArmView | None,
    rule: Rule,
    progress: Progress,
    examples: int,
    seeds: int,
    majority: Majority | None,
    looks: int,
) -> str:
    parts = []
    finished = sum(
        progress.by_status.get(word, 0) for word in ("complete", "pruned", "failed", "oom", "cancelled", "killed")
    )
    if finished < progress.total:
        parts.append(f"Provisional: {finished} of {text.plural(progress.total, 'run')} ended so far.")
    if baseline is not None and candidates:
        parts.append(_opened(examples, looks) if rule.split == TEST else _sealed(candidates, rule, examples, looks))
        if seeds == 1:
            parts.append("One seed: how much another would change is not measured.")
    if majority is not None and candidates:
        parts.append(_majority_words(majority, candidates))
    if not rule.benchmarks:
        parts.append("Forgetting was not measured: the spec names no benchmark.")
    blind = {_task(change): None for arm in arms for change in arm.benchmarks if change.informative is False}
    if blind:
        parts.append(f"A loss on {', '.join(blind)} cannot show: the base is not shown to beat chance there.")
    if baseline is not None and baseline.format_gate in ("no", "not shown"):
        parts.append(f"The best prompt itself is not shown to keep the asked form: {_format_words(baseline)}.")
    if baseline is not None:
        unkept = [gate for gate in baseline.gates if gate.name in _SHORT and gate.state != "yes"]
        parts += [
            f"The best prompt itself is not shown to be {_SHORT[gate.name]} enough: {gate.words}." for gate in unkept
        ]
    if excluded := [arm for arm in candidates if gate_of(arm) == "no"]:
        names = ", ".join(name(arm) for arm in excluded[:3]) + (" and others" if len(excluded) > 3 else "")
        parts.append(f"Ruled out by a limit: {names}.")
    if ended := sum(arm.status in ("failed", "oom", "killed", "cancelled") for arm in arms):
        parts.append(f"{text.plural(ended, 'arm')} did not finish.")
    return " ".join(parts)


def _sealed(candidates: list[ArmView], rule: Rule, examples: int, looks: int) -> str:
    rows = f"the same {text.count(examples)} {rule.split} rows" if examples else f"the same {rule.split} rows"
    joint = (
        " (the intervals allow for that choice, the estimate does not)"
        if any(difference_of(arm).simultaneous for arm in candidates)
        else ""
    )
    tail = "" if looks else "; the test rows stay sealed"
    return f"The arms were chosen and measured on {rows}, so the best one's gain is flattering{joint}{tail}."


def _opened(examples: int, looks: int) -> str:
    rows = f"{text.count(examples)} test rows" if examples else "test rows"
    once = f"The arms were chosen on validation and measured on {rows} that played no part in the choice"
    if looks <= 1:
        return f"{once}, opened once."
    return f"{once}; these rows have been opened {looks} times, and every look makes the answer more flattering."


def _majority_words(majority: Majority, candidates: Sequence[ArmView]) -> str:
    """The accuracy that takes no skill, and who is not shown to exceed it by the interval of its own accuracy."""
    bar = (
        f"Always answering {text.one_line(majority.label)} would be right in {text.number(majority.share)} of the rows"
    )
    lows = {arm.arm_id: arm.metrics["accuracy"].low for arm in candidates}
    unshown = [arm for arm in candidates if (low := lows[arm.arm_id]) is None or low <= majority.share]
    if not unshown:
        return f"{bar}."
    names = ", ".join(name(arm) for arm in unshown[:3]) + (" and others" if len(unshown) > 3 else "")
    return f"{bar}; not shown to do better: {names}."


def name(arm: ArmView) -> str:
    return text.one_line(arm.label)


def _task(change: BenchmarkChange) -> str:
    return text.one_line(change.task.removeprefix("builtin:"), 48)


def _evidence(arm: ArmView, rule: Rule) -> str:
    found = difference_of(arm).estimate
    ends = (
        f"{text.level(found.confidence)} CI {text.interval(found.low, found.high, rule.unit)}, "
        if found.low is not None
        else ""
    )
    return f"({ends}{text.plural(found.n or 0, f'{rule.split} example')})"


def _better(arm: ArmView, rule: Rule) -> str:
    gained = text.amount(value_of(arm), rule.unit)
    return f"{name(arm)} is {gained} better in {_metric(rule)} than the best prompt {_evidence(arm, rule)}"


def _metric(rule: Rule) -> str:
    return text.metric_name(rule.metric)


def _change_words(change: BenchmarkChange) -> str:
    """How a benchmark changed: `its change on piqa is −1.0 points (...)`, `its loss on neutral-text changes by ...`."""
    found = raw_change(change.direction, change.difference)
    shown = text.difference(found.value, found.low, found.high, change.unit, found.confidence)
    if change.direction == "lower":
        return f"its {_quantity(change)} on {_task(change)} changes by {shown}"
    return f"its change on {_task(change)} is {shown}"


def _lost_words(change: BenchmarkChange, rule: Rule) -> str:
    """A loss beyond its limit: `loses 6 points on piqa (...)`, `its loss on neutral-text rises by 0.2 nats (...)`."""
    found = raw_change(change.direction, change.difference)
    size = text.amount(abs(found.value), change.unit)
    said = (
        f"its {_quantity(change)} on {_task(change)} rises by {size}"
        if change.direction == "lower"
        else f"loses {size} on {_task(change)}"
    )
    ends = text.interval(found.low, found.high, change.unit)
    limit = text.amount(rule.limit(change.task), change.unit)
    return f"{said} ({text.level(found.confidence)} CI {ends}; the limit is a {_loss(change)} of {limit})"


def _loss(change: BenchmarkChange) -> str:
    return "rise" if change.direction == "lower" else "loss"


def _quantity(change: BenchmarkChange) -> str:
    """What falls when a model gets better."""
    return "loss" if change.unit == "nats" else text.one_line(change.metric.replace("_", " "), 48)


def _drift_words(moved: Drift) -> str:
    """A drift that the spec limits: `builtin:behaviour/length changes by −12 tokens (...; the limit is 10 tokens)`."""
    found = moved.difference.estimate
    shown = text.difference(found.value, None, None, moved.unit)
    ends = text.interval(found.low, found.high, moved.unit)
    side = "a rise of" if moved.direction == "lower" else "a change of"
    name = text.one_line(moved.task.removeprefix("builtin:"), 48)
    limit = text.amount(moved.limit, moved.unit)
    return f"{name} changes by {shown} ({text.level(found.confidence)} CI {ends}; the limit is {side} {limit})"


def _cost_words(arm: ArmView, baseline: ArmView, rule: Rule) -> str:
    """What it costs once and for 1,000 requests: in money where there is a price, else in time."""
    parts = []
    mine, theirs = arm.economics, baseline.economics
    if mine.training:
        parts.append(f"{text.money(mine.training, rule.currency)} once")
    elif arm.cost.train_seconds:
        parts.append(f"{text.duration(arm.cost.train_seconds)} of training once")
    if mine.per_1k is not None:
        beside = f" (prompt: {text.money(theirs.per_1k, rule.currency)})" if theirs.per_1k is not None else ""
        parts.append(f"{text.money(mine.per_1k, rule.currency)} per 1,000 requests{beside}")
    elif arm.cost.seconds_per_1k_requests is not None:
        prompt = baseline.cost.seconds_per_1k_requests
        beside = f" (prompt: {text.duration(prompt)})" if prompt is not None else ""
        parts.append(f"{text.duration(arm.cost.seconds_per_1k_requests)} per 1,000 requests{beside}")
    words = " and ".join(parts)
    if mine.break_even_requests:
        words += f", which pays back after about {text.count(_rounded(math.ceil(mine.break_even_requests)))} requests"
    return words


def _format_words(arm: ArmView) -> str:
    found = arm.metrics.get("valid_format")
    return text.estimate(found.value, found.low, found.high) if found else "not measured"


def _settle(needed: int | None, n: int | None, noun: str) -> str:
    if needed is None or n is None or needed <= n:
        return ""
    shown = f"more than {text.count(MOST)}" if needed >= MOST else f"about {text.count(_rounded(needed))}"
    return f" {shown[0].upper()}{shown[1:]} {noun} would settle it; there are {text.count(n)}."


def _rounded(n: int) -> int:
    """Two significant digits, upwards: the figure is a plan, not a measurement."""
    step = 10 ** max(0, len(str(n)) - 2)
    return math.ceil(n / step) * step
