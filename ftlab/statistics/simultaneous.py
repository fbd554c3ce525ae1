"""Intervals that hold together, for the difference of each of many arms from one baseline.

Twenty arms that are all equal to the baseline, 300 examples: the ordinary 95% interval of the luckiest one lies above
zero in about a third of all sweeps. The max-T intervals here widen every interval by the one critical value that the
largest of all the test statistics stays below in 95% of bootstrap draws, so "some interval excludes zero although
nothing differs" happens in about 5% of sweeps. The arms' correlation (they answer the same examples) is kept: it comes
with the resampling of whole examples (Westfall & Young 1993, section 2.2; Hothorn, Bretz & Westfall 2008, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

DRAWS = 4000
"""Bootstrap draws. The critical value's own standard error is then about 0.02."""
_CHUNK = 500
"""Draws per matrix product: bounds the weights to `_CHUNK * n` floats."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Simultaneous:
    """Differences of k arms with intervals that hold together. Arrays of shape (k,)."""

    estimates: Floats
    low: Floats
    high: Floats
    critical: float
    """How many standard errors each interval reaches to either side; 1.96 for one arm and many examples."""
    level: float
    draws: int


def mean_differences(
    differences: Floats, seed: int, *, bounded: bool = True, draws: int = DRAWS, level: float = 0.95
) -> Simultaneous:
    """Simultaneous intervals for the means of paired differences.

    Args:
        differences: shape (n, k), one row per example, one column per arm; NaN where the pair was not scored on an
            example. A column needs at least one number.
        seed: of the bootstrap.
        bounded: scores lie in [0, 1]. The standard error then gets the pseudo-counts of Agresti & Min (2005): half a
            difference of +1, half of -1 and one of 0. Without them an arm that happens to agree with the baseline on
            every example would get an interval of no width.
        draws: bootstrap draws.
        level: joint coverage.

    One arm alone gets about the interval of `ftlab.statistics.paired.paired_difference`.
    """
    scored = np.isfinite(differences)
    counts = scored.sum(axis=0).astype(np.float64)
    if differences.ndim != 2 or not differences.size or not counts.all():
        raise ValueError("expected differences of shape (examples, arms) with at least one number for each arm")
    mask = scored.astype(np.float64)
    filled = np.where(scored, differences, 0.0)
    estimates = filled.sum(axis=0) / counts
    centres, errors = _centres_and_errors(filled, counts, estimates, bounded)

    def means(weights: Floats) -> Floats:
        # A draw may miss every example of an arm that was scored on very few: that arm then stands at its estimate.
        total = weights @ mask
        return np.where(total > 0, (weights @ filled) / np.maximum(total, 1e-12), estimates)

    critical = _critical_value(_replicates(means, len(differences), seed, draws), estimates, errors, level)
    reach = critical * errors
    low, high = np.minimum(centres - reach, estimates), np.maximum(centres + reach, estimates)
    if bounded:
        low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
    return Simultaneous(estimates, low, high, critical, level, draws)


def widening(arms: int, level: float = 0.95) -> float:
    """By how much to stretch each of `arms` ordinary intervals about its estimate so that they hold together.

    Bonferroni with normal tails: for statistics that are no means, where max-T would need every draw of every arm. 1.0
    for one arm; never too small when the statistic is about normal, and a little larger than max-T for arms that agree.
    """
    if arms < 1:
        raise ValueError(f"expected at least one arm, found {arms}")
    tail = (1.0 - level) / 2.0
    return float(ndtri(1.0 - tail / arms) / ndtri(1.0 - tail))


def _centres_and_errors(filled: Floats, counts: Floats, means: Floats, bounded: bool) -> tuple[Floats, Floats]:
    squares = (filled**2).sum(axis=0)
    if bounded:
        total = counts + 2.0
        centres = counts * means / total
        return centres, np.sqrt(np.maximum((squares + 1.0) / total - centres**2, 0.0) / total)
    variance = np.maximum(squares / counts - means**2, 0.0) * counts / np.maximum(counts - 1.0, 1.0)
    return means, np.sqrt(variance / counts)


def _replicates(statistic: Callable[[Floats], Floats], n: int, seed: int, draws: int) -> Floats:
    rng = np.random.default_rng(seed)
    chunks = [statistic(_weights(rng, min(_CHUNK, draws - start), n)) for start in range(0, draws, _CHUNK)]
    return np.concatenate(chunks)


def _weights(rng: np.random.Generator, draws: int, n: int) -> Floats:
    """How often each of n examples is drawn in n draws with replacement, shape (draws, n).

    The distribution of `Generator.multinomial` with n equal shares; counting drawn indices is many times as fast.
    """
    drawn = rng.integers(0, n, size=(draws, n)) + np.arange(draws)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def _critical_value(replicates: Floats, estimates: Floats, errors: Floats, level: float) -> float:
    # An interval never reaches less far than an ordinary one: when no arm differs from the baseline on any example,
    # every draw is zero and the quantile would say that nothing ever varies.
    ordinary = float(ndtri(0.5 + level / 2))
    moves = errors > 0
    if not moves.any():
        return ordinary
    largest = (np.abs(replicates[:, moves] - estimates[moves]) / errors[moves]).max(axis=1)
    return max(ordinary, float(np.quantile(largest, level)))
