"""Is b at most a margin worse than a, or within a margin of it either way? Numbers only; the verdict is made elsewhere.

Student's t on the paired differences (statsmodels). Scores of 0 and 1 get the pseudo-counts of Agresti and Min (2005,
Statistics in Medicine 24:729): half a pair with a difference of +1, half with -1, one with 0, so that b's agreeing
with a on every example still leaves the doubt that so many examples leave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftlab.statistics.intervals import all_equal
from ftlab.statistics.level import alpha


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """`b - a` against a loss of `margin`. Numbers are finite or None."""

    estimate: float | None
    margin: float
    bound: float | None
    """The one-sided 95% lower bound of the difference: p is at most 0.05 when it is at least `-margin`."""
    p: float | None
    """One-sided, for the hypothesis that b is worse by `margin` or more."""
    n: int
    method: str
    """How it was computed, or why not."""


@dataclass(frozen=True, slots=True)
class Equivalence:
    """`b - a` against `-margin` and `margin`: two one-sided tests (TOST). Numbers are finite or None."""

    estimate: float | None
    margin: float
    low: float | None
    high: float | None
    """The ends of the 90% interval: p is at most 0.05 when it lies within the margins."""
    p: float | None
    """The larger of the two: for the hypothesis that b differs by `margin` or more."""
    p_lower: float | None
    """One-sided, for the hypothesis that b is worse by `margin` or more."""
    p_upper: float | None
    """One-sided, for the hypothesis that b is better by `margin` or more."""
    n: int
    method: str
    """How it was computed, or why not."""


def non_inferiority(a: Sequence[float], b: Sequence[float], margin: float) -> NonInferiority:
    """Whether b is at most `margin` worse than a on the same examples, higher scores being better.

    Raises ValueError when the lengths differ or the margin is not positive.
    """
    estimate, n, sample, method = _sample(a, b, margin)
    if sample is None:
        return NonInferiority(estimate, margin, None, None, n, method)
    _, p, _ = sample.ttest_mean(-margin, alternative="larger")
    bound, _ = sample.tconfint_mean(alpha=alpha(), alternative="larger")
    return NonInferiority(estimate, margin, float(bound), float(p), n, method)


def equivalence(a: Sequence[float], b: Sequence[float], margin: float) -> Equivalence:
    """Whether b lies within `margin` of a, better or worse, on the same examples.

    Raises ValueError when the lengths differ or the margin is not positive.
    """
    estimate, n, sample, method = _sample(a, b, margin)
    if sample is None:
        return Equivalence(estimate, margin, None, None, None, None, None, n, method)
    p, (_, p_lower, _), (_, p_upper, _) = sample.ttost_mean(-margin, margin)
    low, high = sample.tconfint_mean(alpha=2 * alpha())
    return Equivalence(estimate, margin, float(low), float(high), float(p), float(p_lower), float(p_upper), n, method)


def _sample(a: Sequence[float], b: Sequence[float], margin: float) -> tuple[float | None, int, Any, str]:
    """Estimate, pairs, statsmodels' description of the differences (None: nothing to test), and the method."""
    from statsmodels.stats.weightstats import DescrStatsW

    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"expected as many scores of one as of the other, found {before.size} and {after.size}")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"expected a margin above 0, found {margin}")
    difference, n = after - before, int(before.size)
    if n == 0:
        return None, 0, None, "no examples"
    estimate = math.fsum(difference) / n
    if n == 1:
        return estimate, 1, None, "no test: one example"
    if np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all():
        values = np.concatenate([difference, [1.0, -1.0, 0.0]])
        weights = np.concatenate([np.ones(n), [0.5, 0.5, 1.0]])
        return estimate, n, DescrStatsW(values, weights=weights), "paired t with Agresti-Min pseudo-counts"
    if all_equal(difference):
        return estimate, n, None, "no test: all differences are equal"
    return estimate, n, DescrStatsW(difference), "paired t"
