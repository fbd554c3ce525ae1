"""How likely each of several arms is the best one: which of them the data cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftlab.statistics.resampling import Floats, resampled_means
from ftlab.statistics.simultaneous import DRAWS


@dataclass(frozen=True, slots=True)
class Best:
    """In which share of the resamples each arm is the best; the shares, `baseline`'s included, add up to 1."""

    shares: Floats
    """Shape (k,)."""
    baseline: float | None
    """The share in which no arm beats the baseline; None when it does not compete."""
    draws: int


def probability_best(
    differences: Floats,
    seed: int,
    *,
    against_baseline: bool = False,
    draws: int = DRAWS,
    clusters: NDArray[np.int64] | None = None,
) -> Best:
    """How often each arm has the highest mean when the examples are resampled; arms that tie share a draw.

    With the same seed, draws and clusters these are the resamples of `ftlab.statistics.simultaneous.mean_differences`.
    It speaks of these arms on examples like these, not of their seeds, and is no p value: two equal arms get values
    anywhere between 0 and 1, with a mean of one half.

    Args:
        differences: shape (n, k), each arm's score minus the baseline's, higher being better; NaN where not scored. A
            column needs at least one number. Scores instead of differences serve as well.
        seed: of the bootstrap.
        against_baseline: the baseline competes too, with differences of zero.
        draws: bootstrap draws.
        clusters: shape (n,), the number of each example's cluster, when examples come in groups.

    Raises ValueError for another shape or an arm without a number.
    """
    if differences.ndim != 2 or not differences.size or not np.isfinite(differences).any(axis=0).all():
        raise ValueError("expected differences of shape (examples, arms) with at least one number for each arm")
    means, _ = resampled_means(differences, seed, draws, clusters)
    if against_baseline:
        means = np.column_stack([means, np.zeros(len(means))])
    # Equal arms differ by the rounding of their sums.
    winners = means >= means.max(axis=1, keepdims=True) - 1e-12
    shares = (winners / winners.sum(axis=1, keepdims=True)).mean(axis=0)
    if against_baseline:
        return Best(shares[:-1], float(shares[-1]), draws)
    return Best(shares, None, draws)
