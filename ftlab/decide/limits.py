"""The limits of a decision as one list for each arm: which it keeps, which it does not, and which nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftlab import text
from ftlab.decide.gates import Rule, gate_within, raw_change, worst
from ftlab.decide.view import ArmView, BenchmarkChange, Drift, Gate, GateView

MILLISECONDS = "ms"


def with_gates(views: Sequence[ArmView], rule: Rule) -> list[ArmView]:
    """The arms with every limit that the spec sets, in words; arms without any result have none."""
    return [view.model_copy(update={"gates": list(_gates(view, rule)) if view.metrics else []}) for view in views]


def _gates(arm: ArmView, rule: Rule) -> Iterator[GateView]:
    if arm.forgetting_gate is not None:
        yield GateView(name="forgetting", state=arm.forgetting_gate, words=_forgetting(arm, arm.forgetting_gate, rule))
    if arm.format_gate is not None and rule.min_valid_format is not None:
        yield GateView(name="format", state=arm.format_gate, words=_format(arm, rule.min_valid_format))
    if rule.max_p95_ms is not None:
        yield _latency(arm, rule.max_p95_ms)
    if rule.max_cost_per_1k is not None:
        yield _cost(arm, rule.max_cost_per_1k, rule.currency)


def _forgetting(arm: ArmView, state: Gate, rule: Rule) -> str:
    if arm.family == "prompt":
        return "the weights are the base's, so nothing is forgotten"
    if state == "yes":
        return f"no loss beyond its limit on {len(arm.benchmarks)} of {len(arm.benchmarks)} measures"
    if (change := worst([change for change in arm.benchmarks if change.within_limit == state])) is not None:
        return _change(change, rule)
    if (moved := next((moved for moved in arm.drift if moved.within_limit == state), None)) is not None:
        return _drift(moved)
    measured = {change.task for change in arm.benchmarks} | {moved.task for moved in arm.drift}
    absent = [text.one_line(task) for task in rule.benchmarks if task not in measured]
    return f"{', '.join(absent)} not measured yet"


def _change(change: BenchmarkChange, rule: Rule) -> str:
    found = raw_change(change.direction, change.difference)
    words = text.difference(found.value, found.low, found.high, change.unit, found.confidence)
    side = "rise" if change.direction == "lower" else "loss"
    return f"{words} on {_name(change.task)}, limit a {side} of {text.amount(rule.limit(change.task), change.unit)}"


def _drift(moved: Drift) -> str:
    found = moved.difference.estimate
    words = text.difference(found.value, found.low, found.high, moved.unit, found.confidence)
    return f"{words} of {_name(moved.task)}, limit {text.amount(moved.limit, moved.unit)}"


def _name(task: str) -> str:
    return text.one_line(task.removeprefix("builtin:"), 48)


def _format(arm: ArmView, limit: float) -> str:
    found = arm.metrics.get("valid_format")
    shown = text.estimate(found.value, found.low, found.high) if found else "not measured"
    return f"{shown} of the answers in the asked form, limit {text.number(limit)}"


def _latency(arm: ArmView, limit: float) -> GateView:
    found = arm.cost.latency_p95
    bound = text.number(limit, MILLISECONDS)
    if found is None:
        return GateView(name="latency", state="not shown", words=f"latency not measured, limit {bound}")
    state: Gate = "not shown"
    if found.high is not None and found.high <= limit:
        state = "yes"
    elif found.low is not None and found.low > limit:
        state = "no"
    shown = text.estimate(found.value, found.low, found.high, MILLISECONDS)
    few = f" from {found.n} requests, too few to tell" if state == "not shown" and found.high is None else ""
    return GateView(name="latency", state=state, words=f"95% of requests within {shown}{few}, limit {bound}")


def _cost(arm: ArmView, limit: float, currency: str) -> GateView:
    """What a request costs is a sum of prices and measured means: it has no interval of its own."""
    bound = text.money(limit, currency)
    cost = arm.economics.per_1k
    if cost is None:
        return GateView(name="cost", state="not shown", words=f"cost not measured, limit {bound} per 1,000 requests")
    state = gate_within(-cost, -cost, limit)
    return GateView(name="cost", state=state, words=f"{text.money(cost, currency)} per 1,000 requests, limit {bound}")
