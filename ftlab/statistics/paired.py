"""Two systems on the same examples: the difference, its 95% interval, its p-value, and what changed hands.

Pairing is what makes small differences visible: most examples are easy or hard for both, and cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ftlab.statistics.intervals import (
    STATISTIC_RESAMPLES,
    all_equal,
    bootstrap_mean,
    percentiles,
    resample_counts,
    wilson,
)
from ftlab.statistics.resampling import replicates

Id = TypeVar("Id", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PairedResult:
    """`b - a` over n pairs. Every number is finite or None; positive says that b scored higher."""

    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, for the hypothesis of no difference."""
    n: int
    fixed: int
    """Examples on which b scored higher."""
    broke: int
    """Examples on which b scored lower."""
    method: str
    """How interval and p-value were computed, or why there is none."""


def align(scores_a: Mapping[Id, float], scores_b: Mapping[Id, float]) -> tuple[list[float], list[float], int]:
    """The scores of the ids that both have, in the order of `scores_a`, and how many ids only one of them has."""
    shared = [key for key in scores_a if key in scores_b]
    dropped = len(scores_a) + len(scores_b) - 2 * len(shared)
    return [scores_a[key] for key in shared], [scores_b[key] for key in shared], dropped


def paired_difference(a: Sequence[float], b: Sequence[float], seed: int) -> PairedResult:
    """The mean of `b - a` over pairs of finite scores. The result does not depend on the order of the pairs.

    Scores of 0 and 1 alone: the rates of fixed and broke examples with Wilson's intervals, combined by MOVER
    (Newcombe 1998, Statistics in Medicine 17:2635; Zou and Donner 2008, 27:1693), which keeps its coverage when few
    examples change hands, where the paired t interval is too short or, for none, empty; p by McNemar's exact test.
    Other scores: BCa bootstrap of the mean difference, p by the paired t-test. `seed` moves the bootstrap alone.
    Raises ValueError when the lengths differ.
    """
    before, after = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"expected as many scores of one as of the other, found {before.size} and {after.size}")
    difference = after - before
    n, fixed, broke = before.size, int((difference > 0).sum()), int((difference < 0).sum())
    if n == 0:
        return PairedResult(None, None, None, None, 0, 0, 0, "no examples")
    estimate = math.fsum(difference) / n
    if n == 1:
        return PairedResult(estimate, None, None, None, 1, fixed, broke, "no interval: one example")
    if np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all():
        estimate = (fixed - broke) / n
        low, high = _mover(fixed, broke, n)
        return PairedResult(
            estimate, low, high, mcnemar_p(fixed, broke), n, fixed, broke, "Wilson rates by MOVER, exact McNemar"
        )
    return _mean_difference(difference, estimate, fixed, broke, seed)


def mcnemar_p(fixed: int, broke: int) -> float:
    """The two-sided p-value of McNemar's exact test: 1.0 when nothing changed hands."""
    from statsmodels.stats.contingency_tables import mcnemar

    if fixed + broke == 0:
        return 1.0
    return min(1.0, float(mcnemar([[0, broke], [fixed, 0]], exact=True).pvalue))


def paired_counts(
    outcomes: np.ndarray,
    width: int,
    difference: Callable[[np.ndarray], np.ndarray],
    right_a: np.ndarray,
    right_b: np.ndarray,
    seed: int,
) -> PairedResult:
    """A difference that is no mean of per-example differences (of macro F1, say), by percentile bootstrap over pairs.

    `outcomes` `(n,)` number what happened to each pair, from 0 to `width - 1`; `difference` maps counts of outcomes
    `(draws, width)` to differences `(draws,)`; `right_a` and `right_b` `(n,)` say which examples each got right. p is
    twice the smaller share of resamples on one side of zero, at least two in the number of resamples.
    """
    n = int(outcomes.size)
    fixed, broke = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    if n == 0:
        return PairedResult(None, None, None, None, 0, 0, 0, "no examples")
    estimate = float(difference(np.bincount(outcomes, minlength=width)[None, :])[0])
    if n == 1:
        return PairedResult(estimate, None, None, None, 1, fixed, broke, "no interval: one example")
    return _of_draws(estimate, resample_counts(outcomes, width, difference, seed), n, fixed, broke)


def paired_weighted(
    n: int, difference: Callable[[np.ndarray], np.ndarray], seed: int, *, fixed: int, broke: int
) -> PairedResult:
    """A difference of a statistic of n examples (corpus BLEU, chrF) by percentile bootstrap over pairs.

    `difference` maps how often each pair is drawn `(draws, n)` to differences `(draws,)`, NaN where there is none.
    `fixed` and `broke` are counted by the caller, who knows what a better example is; p as `paired_counts`.
    """
    if n == 0:
        return PairedResult(None, None, None, None, 0, fixed, broke, "no examples")
    estimate = float(difference(np.ones((1, n)))[0])
    if not math.isfinite(estimate):
        return PairedResult(None, None, None, None, n, fixed, broke, "no difference: undefined on these examples")
    if n == 1:
        return PairedResult(estimate, None, None, None, 1, fixed, broke, "no interval: one example")
    return _of_draws(estimate, replicates(difference, n, seed, STATISTIC_RESAMPLES), n, fixed, broke)


def _of_draws(estimate: float, draws: np.ndarray, n: int, fixed: int, broke: int) -> PairedResult:
    if not (math.isfinite(estimate) and np.isfinite(draws).all()):
        value = estimate if math.isfinite(estimate) else None
        return PairedResult(value, None, None, None, n, fixed, broke, "no interval: undefined on resamples")
    if draws.min() == draws.max():
        return PairedResult(estimate, None, None, None, n, fixed, broke, "no interval: no resample differs")
    low, high = percentiles(draws, n, estimate)
    below, above = int((draws <= 0).sum()), int((draws >= 0).sum())
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + draws.size))
    method = "bootstrap over pairs, bias-corrected percentile"
    return PairedResult(estimate, min(low, estimate), max(high, estimate), p, n, fixed, broke, method)


def _mover(fixed: int, broke: int, n: int) -> tuple[float, float]:
    """The ends of fixed/n - broke/n: each rate's distances to its own ends, added as correlated standard errors are."""
    gain, loss = wilson(fixed, n), wilson(broke, n)
    won, lost = fixed / n, broke / n
    # Two cells of one multinomial: what is fixed cannot be broke.
    correlation = -math.sqrt(won * lost / ((1 - won) * (1 - lost))) if won < 1 and lost < 1 else 0.0

    def distance(one: float, other: float) -> float:
        return math.sqrt(one**2 + other**2 - 2 * correlation * one * other)

    below = distance(won - (gain.low or 0.0), (loss.high or 0.0) - lost)
    above = distance((gain.high or 0.0) - won, lost - (loss.low or 0.0))
    return max(-1.0, won - lost - below), min(1.0, won - lost + above)


def _mean_difference(difference: np.ndarray, estimate: float, fixed: int, broke: int, seed: int) -> PairedResult:
    from scipy.stats import ttest_1samp

    n = difference.size
    if all_equal(difference):
        method = "no interval: all differences are equal"
        return PairedResult(estimate, None, None, None, n, fixed, broke, method)
    # Resampled with the sign that makes the mean positive, so that swapping the two systems flips the ends and no more.
    sign = -1.0 if estimate < 0 else 1.0
    interval = bootstrap_mean((sign * difference).tolist(), seed)
    low, high = (None if end is None else sign * end for end in (interval.low, interval.high)[:: int(sign)])
    p = float(ttest_1samp(np.sort(difference), 0.0).pvalue)
    return PairedResult(estimate, low, high, p, n, fixed, broke, f"{interval.method}, paired t-test")
