"""Limits and gains: what an interval says about each, in the fewest words that are true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ftlab.decide.view import ArmView, Gate, PairedDifference

Gain = Literal["clear", "small", "none", "open"]


_Z = 1.959964


MOST = 1_000_000


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
    currency: str = "$"


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
    can be said.
    """
    from statsmodels.stats.power import TTestPower

    if low is None or high is None or not n or effect <= 0 or high <= low:
        return None
    spread = (high - low) / 2 / _Z * math.sqrt(n)
    if (effect / spread) < 0.0025:
        return MOST
    found = TTestPower().solve_power(effect_size=effect / spread, power=0.8, alpha=0.05)
    return min(MOST, math.ceil(float(found)))


def gate_of(arm: ArmView) -> Gate:
    return gate_all([gate for gate in (arm.forgetting_gate, arm.format_gate) if gate is not None])


def difference_of(arm: ArmView) -> PairedDifference:
    assert arm.difference is not None, "candidates have a difference"
    return arm.difference


def value_of(arm: ArmView) -> float:
    return difference_of(arm).estimate.value
