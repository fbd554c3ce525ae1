"""Limits and gains: what an interval says about each, in the fewest words that are true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ftlab.decide.view import ArmView, BenchmarkChange, Estimate, Gate, PairedDifference
from ftlab.spec.measures import Measure
from ftlab.spec.schema import MAX_FORGETTING
from ftlab.statistics import power

Gain = Literal["clear", "small", "none", "open"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the spec asks of a decision."""

    metric: str
    unit: str
    split: str
    min_gain: float
    max_forgetting: float
    min_valid_format: float | None
    benchmarks: tuple[str, ...]
    """Every measure with a limit, by its name."""
    currency: str = "$"
    limits: Mapping[str, float] = field(default_factory=dict)
    """The largest tolerated loss by benchmark; `max_forgetting` for those that are not in it."""
    max_p95_ms: float | None = None
    max_cost_per_1k: float | None = None

    def limit(self, task: str) -> float:
        """The largest tolerated loss on a benchmark."""
        return self.limits.get(task, self.max_forgetting)


def loss_limit(limits: float | Mapping[str, float], *names: str) -> float:
    """What `decision.max_forgetting` says of the first of these names, a benchmark and its group, that it knows."""
    if isinstance(limits, (int, float)):
        return float(limits)
    return next((limits[name] for name in (*names, "default") if name in limits), MAX_FORGETTING)


def measure_limit(limits: float | Mapping[str, float], task: str, measure: Measure) -> float | None:
    """The largest tolerated loss of a measure, in its unit; None for drift that `max_forgetting` does not name.

    The measure's own name counts before the benchmark's, that before the group's, and those before the tolerance that
    the measure brings; a plain number and `default` hold for the rest.
    """
    given = limits if isinstance(limits, Mapping) else {}
    names = (measure.name(task), task, measure.group) if measure.gated else (measure.name(task),)
    if named := [given[name] for name in names if name in given]:
        return named[0]
    if not measure.gated:
        return None
    return measure.tolerance if measure.tolerance is not None else loss_limit(limits)


def gate_around(low: float | None, high: float | None, limit: float) -> Gate:
    """Whether a change without a better side is shown to stay between `-limit` and `limit`."""
    if low is None or high is None:
        return "not shown"
    if -limit <= low and high <= limit:
        return "yes"
    return "no" if high < -limit or low > limit else "not shown"


def worst(changes: Sequence[BenchmarkChange]) -> BenchmarkChange | None:
    """The benchmark that was lost most on (or gained least), by its own limit: units differ."""

    def by_limit(change: BenchmarkChange) -> float:
        return change.difference.estimate.value / max(MAX_FORGETTING if change.limit is None else change.limit, 1e-9)

    return min(changes, key=by_limit, default=None)


def raw_change(direction: str, difference: PairedDifference) -> Estimate:
    """A difference as the measure itself moved: where less is better, the sign that makes better positive is undone."""
    found = difference.estimate
    if direction != "lower":
        return found
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return found.model_copy(update={"value": -found.value if found.value else 0.0, "low": low, "high": high})


def gate_within(low: float | None, high: float | None, limit: float) -> Gate:
    """Whether a difference is shown to stay above `-limit`."""
    if low is not None and low >= -limit:
        return "yes"
    return "no" if high is not None and high < -limit else "not shown"


def gate_all(gates: Sequence[Gate]) -> Gate:
    """Several gates as one: one `no` closes it, and it is open only when all are."""
    return "no" if "no" in gates else "not shown" if "not shown" in gates else "yes"


def gain(difference: PairedDifference, min_gain: float) -> Gain:
    """How a difference stands to the minimum gain.

    `clear`: the interval lies above it. `small`: above zero, and the minimum is still possible. `none`: the minimum is
    excluded. `open`: anything else.
    """
    low, high = difference.estimate.low, difference.estimate.high
    if low is None or high is None:
        return "open"
    if low > 0 and low >= min_gain:
        return "clear"
    if high < min_gain or high <= 0:
        return "none"
    return "small" if low > 0 else "open"


def examples_needed(effect: float, low: float | None, high: float | None, n: int | None) -> int | None:
    """Examples for 80% power to see `effect`, when n examples gave an interval from `low` to `high`.

    The interval's width stands for the spread, so what widened it (many arms) is planned for as well. None when nothing
    can be said, at most `power.MOST`.
    """
    spread = power.spread_of_interval(low, high, n)
    return None if spread is None else power.examples_needed(effect, spread)


def gate_of(arm: ArmView) -> Gate:
    """All limits of an arm as one."""
    return gate_all([gate.state for gate in arm.gates])


def difference_of(arm: ArmView) -> PairedDifference:
    assert arm.difference is not None, "candidates have a difference"
    return arm.difference


def value_of(arm: ArmView) -> float:
    return difference_of(arm).estimate.value
