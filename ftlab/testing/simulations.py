"""Experiments with a known truth, and how far a simulated share may lie from what is claimed.

`simulate` draws 0/1 scores of arms whose true rates are exactly those asked for, however strongly the arms agree, the
examples cluster or the training seeds scatter: each score is 1 when a standard normal number lies below the quantile
of the arm's rate, and that number is a sum of independent parts (the example's difficulty, the arm's own answer to its
cluster, the arm's seed, and a rest) whose variances add up to one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.float64]

CHANCE = 0.00135
"""The chance that a correct method breaks one bound: the tail beyond three standard errors."""


def simulate(
    rng: np.random.Generator,
    rates: Sequence[float],
    n: int,
    *,
    agreement: float = 0.6,
    clusters: NDArray[np.int64] | None = None,
    by_cluster: float = 0.0,
    seeds: int = 1,
    by_seed: float = 0.0,
) -> Bits:
    """Scores of 0 and 1, shape (arms, seeds, n).

    Args:
        rng: draws everything.
        rates: true rate of each arm, over examples and seeds; the first may serve as the baseline.
        n: examples.
        agreement: variance of the part that all arms share on an example, from 0 to 1. At 0.6 two arms of rate 0.5
            disagree on about 30% of the examples.
        clusters: shape (n,), the number of each example's cluster, from 0.
        by_cluster: variance of an arm's own part for each cluster: what makes differences cluster.
        seeds: replicates of each arm.
        by_seed: variance of the part that all examples of one replicate share. At 0.01 and a rate of 0.5 the rates of
            replicates scatter with a standard deviation of 4 points.
    """
    from scipy.special import ndtri

    rest = 1.0 - agreement - by_cluster - by_seed
    if rest < 0 or (by_cluster and clusters is None):
        raise ValueError("expected parts that add up to at most 1, and clusters where a part belongs to them")
    arms = len(rates)
    latent = np.sqrt(rest) * rng.standard_normal((arms, seeds, n))
    latent += np.sqrt(agreement) * rng.standard_normal(n)
    if clusters is not None and by_cluster:
        latent += np.sqrt(by_cluster) * rng.standard_normal((arms, 1, int(clusters.max()) + 1))[:, :, clusters]
    if by_seed:
        latent += np.sqrt(by_seed) * rng.standard_normal((arms, seeds, 1))
    return (latent < ndtri(np.asarray(rates, dtype=np.float64))[:, None, None]).astype(np.float64)


def covers(low: float | None, truth: float, high: float | None) -> bool:
    """Whether there is an interval and the truth lies in it."""
    return low is not None and high is not None and low <= truth <= high


def at_most(hits: int, runs: int, share: float) -> bool:
    """Whether `hits` of `runs` simulations agree with a true share of at most `share` (exact binomial bound)."""
    from scipy.stats import binom

    return bool(hits <= binom.ppf(1 - CHANCE, runs, share))


def at_least(hits: int, runs: int, share: float) -> bool:
    """Whether `hits` of `runs` simulations agree with a true share of at least `share` (exact binomial bound)."""
    from scipy.stats import binom

    return bool(hits >= binom.ppf(CHANCE, runs, share))


def about(hits: int, runs: int, share: float) -> bool:
    """Whether `hits` of `runs` simulations agree with a true share of `share`, neither more nor less."""
    return at_most(hits, runs, share) and at_least(hits, runs, share)
