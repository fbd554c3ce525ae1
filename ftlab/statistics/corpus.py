"""Two systems compared by a statistic of all examples (BLEU, F1 over fields): resample the examples, keep the pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftlab.statistics.intervals import STATISTIC_RESAMPLES, Interval, all_equal, percentiles
from ftlab.statistics.paired import PairedResult

METHOD = "bootstrap over pairs, percentile"


def paired_statistic(
    n: int,
    difference: Callable[[np.ndarray], np.ndarray],
    fixed: int,
    broke: int,
    seed: int,
    resamples: int = STATISTIC_RESAMPLES,
) -> PairedResult:
    """A difference of a statistic of n examples, with a percentile bootstrap interval over pairs.

    Args:
        difference: maps how often each example is drawn `(draws, n)` to differences `(draws,)`; NaN where undefined.
        fixed: examples that are better by themselves.
        broke: examples that are worse by themselves.

    p is twice the smaller share of resamples on one side of zero, at least two in the number of resamples.
    """
    if n == 0:
        return PairedResult(None, None, None, None, 0, 0, 0, "no examples")
    estimate = float(difference(np.ones((1, n)))[0])
    if not np.isfinite(estimate):
        return PairedResult(None, None, None, None, n, fixed, broke, "no difference: undefined on these examples")
    if n == 1:
        return PairedResult(estimate, None, None, None, 1, fixed, broke, "no interval: one example")
    draws = resampled(n, difference, seed, resamples)
    if not np.isfinite(draws).all():
        return PairedResult(estimate, None, None, None, n, fixed, broke, "no interval: undefined on resamples")
    if all_equal(draws):
        return PairedResult(estimate, None, None, None, n, fixed, broke, "no interval: no resample differs")
    low, high = percentiles(draws)
    below, above = int((draws <= 0).sum()), int((draws >= 0).sum())
    p = min(1.0, 2 * (1 + min(below, above)) / (1 + draws.size))
    return PairedResult(estimate, min(low, estimate), max(high, estimate), p, n, fixed, broke, METHOD)


def weighted_interval(n: int, statistic: Callable[[np.ndarray], np.ndarray], seed: int) -> Interval:
    """A statistic of n examples with a percentile bootstrap interval over the choice of examples.

    `statistic` maps how often each example is drawn `(draws, n)` to `(draws,)`; NaN where undefined.
    """
    if n == 0:
        return Interval(None, None, None, 0, "no examples")
    value = float(statistic(np.ones((1, n)))[0])
    if not np.isfinite(value):
        return Interval(None, None, None, n, "no value: undefined on these examples")
    if n == 1:
        return Interval(value, None, None, 1, "no interval: one example")
    draws = resampled(n, statistic, seed)
    if not np.isfinite(draws).all():
        return Interval(value, None, None, n, "no interval: undefined on resamples")
    if all_equal(draws):
        return Interval(value, None, None, n, "no interval: no resample differs")
    low, high = percentiles(draws)
    # A biased statistic can fall outside its own percentiles in a small sample; an interval holds its value.
    return Interval(value, min(low, value), max(high, value), n, "bootstrap over examples, percentile")


def resampled(
    n: int, statistic: Callable[[np.ndarray], np.ndarray], seed: int, resamples: int = STATISTIC_RESAMPLES
) -> np.ndarray:
    """`statistic` on resamples of n examples, `(resamples,)`; it gets how often each is drawn, `(draws, n)`."""
    rng = np.random.default_rng(seed)
    step = max(1, 2**21 // n)
    shares = np.full(n, 1 / n)
    counts = [min(step, resamples - start) for start in range(0, resamples, step)]
    return np.concatenate([statistic(rng.multinomial(n, shares, size=count).astype(np.float64)) for count in counts])
