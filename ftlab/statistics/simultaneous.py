"""Intervals that hold together, for the difference of each of many arms from one baseline.

Twenty arms that are all equal to the baseline, 300 examples: the ordinary 95% interval of the luckiest one lies above
zero in a fifth to a third of all sweeps. The max-T intervals here widen every interval by the one critical value that
the largest of all the test statistics stays below in 95% of bootstrap draws, so "some interval excludes zero although
nothing differs" happens in about 5% of sweeps. The arms' correlation (they answer the same examples) is kept: it comes
with the resampling of whole examples (Westfall & Young 1993, section 2.2; Hothorn, Bretz & Westfall 2008, section 3).
Where examples come in clusters, whole clusters are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftlab.statistics.clusters import cluster_mean
from ftlab.statistics.level import confidence
from ftlab.statistics.resampling import Floats, resampled_means

DRAWS = 4000
"""Bootstrap draws. The critical value's own standard error is then about 0.02."""


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
    clusters: int | None = None
    """How many clusters were resampled; None where examples were."""


def mean_differences(
    differences: Floats,
    seed: int,
    *,
    bounded: bool = True,
    draws: int = DRAWS,
    level: float | None = None,
    clusters: NDArray[np.int64] | None = None,
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
        level: joint coverage; that in force when left out.
        clusters: shape (n,), the number of each example's cluster, when examples come in groups. Whole clusters are
            then resampled, and each standard error is the larger of the ordinary and the cluster-robust one.

    One arm alone gets about the interval of `ftlab.statistics.paired.paired_difference`, or of
    `ftlab.statistics.clusters.clustered_difference`. The critical value is Student's, each arm's error being estimated.
    Raises ValueError for another shape, an arm without a number, or fewer than two clusters.
    """
    level = confidence() if level is None else level
    scored = np.isfinite(differences)
    sizes = scored.sum(axis=0).astype(np.float64)
    if differences.ndim != 2 or not differences.size or not sizes.all():
        raise ValueError("expected differences of shape (examples, arms) with at least one number for each arm")
    filled = np.where(scored, differences, 0.0)
    estimates = filled.sum(axis=0) / sizes
    centres, errors = _centres_and_errors(filled, sizes, estimates, bounded)
    robust, freedom = None, float(sizes.min()) - 1.0
    if clusters is not None:
        robust, freedom = _robust_errors(differences, clusters)
        errors = np.maximum(errors, robust)
    means, units = resampled_means(differences, seed, draws, clusters)
    deviations = np.abs(means - estimates)
    if robust is not None:
        # The bootstrap's own spread stands for the jackknife's, which is larger when clusters differ in size.
        spread = np.sqrt((deviations**2).mean(axis=0))
        deviations *= np.where(spread > 0, np.maximum(1.0, robust / np.maximum(spread, 1e-300)), 1.0)
    critical = _critical_value(deviations, errors, level, max(1.0, freedom))
    reach = critical * errors
    low, high = np.minimum(centres - reach, estimates), np.maximum(centres + reach, estimates)
    if bounded:
        low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
    return Simultaneous(estimates, low, high, critical, level, draws, None if clusters is None else units)


def widening(arms: int, level: float | None = None) -> float:
    """By how much to stretch each of `arms` ordinary intervals about its estimate so that they hold together.

    Bonferroni with normal tails: for statistics that are no means, where max-T would need every draw of every arm. 1.0
    for one arm; never too small when the statistic is about normal, and a little larger than max-T for arms that agree.
    """
    from scipy.special import ndtri

    if arms < 1:
        raise ValueError(f"expected at least one arm, found {arms}")
    tail = (1.0 - (confidence() if level is None else level)) / 2.0
    return float(ndtri(1.0 - tail / arms) / ndtri(1.0 - tail))


def _centres_and_errors(filled: Floats, counts: Floats, means: Floats, bounded: bool) -> tuple[Floats, Floats]:
    squares = (filled**2).sum(axis=0)
    if bounded:
        total = counts + 2.0
        centres = counts * means / total
        return centres, np.sqrt(np.maximum((squares + 1.0) / total - centres**2, 0.0) / total)
    variance = np.maximum(squares / counts - means**2, 0.0) * counts / np.maximum(counts - 1.0, 1.0)
    return means, np.sqrt(variance / counts)


def _robust_errors(differences: Floats, clusters: NDArray[np.int64]) -> tuple[Floats, float]:
    """Each arm's cluster-robust error, 0 where nothing varies, and the fewest degrees of freedom among the arms."""
    if clusters.shape != differences.shape[:1] or np.unique(clusters).size < 2:
        raise ValueError("expected at least two clusters, and the cluster of each example")
    errors, freedoms = np.zeros(differences.shape[1]), [float(np.unique(clusters).size - 1)]
    for arm, column in enumerate(differences.T):
        scored = np.isfinite(column)
        found = cluster_mean(column[scored], clusters[scored])
        if found.error is not None and found.freedom is not None:
            errors[arm] = found.error
            freedoms.append(found.freedom)
    return errors, min(freedoms)


def _critical_value(deviations: Floats, errors: Floats, level: float, freedom: float) -> float:
    """The quantile of the largest of all deviations, in errors, on the scale of Student's t with `freedom` degrees."""
    from scipy.special import ndtr, ndtri, stdtrit

    # An interval never reaches less far than an ordinary one: when no arm differs from the baseline on any example,
    # every draw is zero and the quantile would say that nothing ever varies.
    critical = float(ndtri(0.5 + level / 2))
    moves = errors > 0
    if moves.any():
        critical = max(critical, float(np.quantile((deviations[:, moves] / errors[moves]).max(axis=1), level)))
    return -float(stdtrit(freedom, ndtr(-critical)))
