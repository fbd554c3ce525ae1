"""Two levels of chance, examples and training seeds, in one interval for the difference of two arms.

Each seed of an arm scores the same n examples. The example level is the paired bootstrap of the scores averaged over
seeds. The seed level is what the seeds' means scatter more than the examples explain: the crossed analysis of variance
gives their variance and, from the rest that is due neither to the seed nor to the example, the part of it that the
example level counts already. A mean of 2 to 5 seeds has the tails of Student's t with so few degrees of freedom, so the
two levels are added as distances to the ends, each with its own quantile (MOVER: Zou and Donner 2008, Statistics in
Medicine 27:1693; Graybill and Wang 1980, JASA 75:869).

Resampling the seeds themselves, the plain two-level bootstrap, covers 80% of the time when three seeds scatter more
than the examples do: three values hold no tails to draw from. This interval covers 95 to 98% with three seeds or more,
and at least 93% with two. With one seed nothing is known about other seeds: then the numbers are None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from ftlab.statistics.level import alpha
from ftlab.statistics.paired import PairedResult, paired_difference
from ftlab.statistics.resampling import Floats


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """How an arm's mean scatters over training seeds, in the unit of the scores."""

    sd: float
    """Standard deviation of the seeds' means on these examples: what a look at the runs shows."""
    excess: float
    """Variance of the arm's mean over all its seeds beyond what the choice of examples explains, 0 or more."""
    seeds: int


@dataclass(frozen=True, slots=True)
class Replicated:
    """An arm minus a baseline over examples and seeds."""

    difference: PairedResult
    """Estimate, ends and p hold both levels; fixed and broke compare scores averaged over seeds."""
    noise: SeedNoise | None
    """None: one seed, the arm's seed noise is not measured."""
    baseline_noise: SeedNoise | None
    """None: one seed, or a baseline that has no seed."""
    example_error: float | None
    """Standard error from the choice of examples alone, the seeds given; None for one example."""


def replicated_difference(baseline: Floats, arm: Floats, seed: int, *, baseline_has_seeds: bool = True) -> Replicated:
    """The mean of arm minus baseline, with an interval over examples and seeds.

    Args:
        baseline: finite scores, shape (its seeds, n).
        arm: finite scores of the same n examples, shape (its seeds, n); its seeds are independent of the baseline's.
        seed: moves the bootstrap alone.
        baseline_has_seeds: False for one whose scores no seed can change (a prompt, decoded greedily): its one row then
            is all there is to know, and nothing is missing.

    Raises ValueError for other shapes.
    """
    if baseline.ndim != 2 or arm.ndim != 2 or baseline.shape[1] != arm.shape[1] or not len(baseline) or not len(arm):
        raise ValueError(f"expected scores of shape (seeds, n) on the same n, found {baseline.shape} and {arm.shape}")
    before, after = baseline.mean(axis=0), arm.mean(axis=0)
    ordinary = paired_difference(before.tolist(), after.tolist(), seed)
    noise, baseline_noise = seed_noise(arm), seed_noise(baseline)
    error = float((after - before).std(ddof=1) / math.sqrt(after.size)) if after.size > 1 else None
    noises = [found for found in (noise, baseline_noise) if found is not None]
    missing = [name for name, found in _sides(noise, baseline_noise, baseline_has_seeds) if found is None]
    method = ordinary.method
    if noises:
        method += f"; Student's t over {' and '.join(str(found.seeds) for found in noises)} seeds, by MOVER"
    if missing:
        method += f"; seed noise of {' and '.join(missing)} not measured"
    low, high = with_seed_noise(ordinary, noises)
    p = _p(ordinary, noises, error)
    return Replicated(replace(ordinary, low=low, high=high, p=p, method=method), noise, baseline_noise, error)


def seed_noise(scores: Floats) -> SeedNoise | None:
    """The seed noise of one arm's finite scores, shape (seeds, n). None for fewer than two seeds or two examples."""
    seeds, n = scores.shape
    if seeds < 2 or n < 2:
        return None
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    rest = scores - rows[:, None] - columns + scores.mean()
    explained = float((rest**2).sum()) / ((seeds - 1) * (n - 1)) / (seeds * n)
    scatter = float(rows.var(ddof=1))
    return SeedNoise(math.sqrt(scatter), max(0.0, scatter / seeds - explained), seeds)


def with_seed_noise(
    result: PairedResult, noises: Sequence[SeedNoise], arms: int = 1
) -> tuple[float | None, float | None]:
    """The ends of an interval over examples, moved outward by the seed noise of the arms in it.

    For ends that hold together over several arms, `arms` is their number: the risk in force is divided among them.
    """
    from scipy.special import stdtrit

    if result.estimate is None or result.low is None or result.high is None:
        return result.low, result.high
    added = sum(float(stdtrit(noise.seeds - 1, 1 - alpha() / arms / 2)) ** 2 * noise.excess for noise in noises)
    below, above = result.estimate - result.low, result.high - result.estimate
    return result.estimate - math.sqrt(below**2 + added), result.estimate + math.sqrt(above**2 + added)


def with_noise_p(result: PairedResult, noises: Sequence[SeedNoise]) -> float | None:
    """The p value of a result whose interval `with_seed_noise` moves outward: never a smaller one."""
    if result.low is None or result.high is None:
        return result.p
    error = (result.high - result.low) / 2 / NormalDist().inv_cdf(1 - alpha() / 2)
    return _p(result, noises, error)


def _sides(
    noise: SeedNoise | None, baseline_noise: SeedNoise | None, baseline_has_seeds: bool
) -> list[tuple[str, SeedNoise | None]]:
    return [("the arm", noise), *([("the baseline", baseline_noise)] if baseline_has_seeds else [])]


def _p(ordinary: PairedResult, noises: Sequence[SeedNoise], error: float | None) -> float | None:
    """The level at which the interval just reaches zero, its example part taken as Student's t."""
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    noisy = [(noise.seeds - 1, noise.excess) for noise in noises if noise.excess > 0]
    if not noisy or ordinary.p is None or ordinary.estimate is None or not error:
        return ordinary.p
    parts, target = [(ordinary.n - 1, error**2), *noisy], ordinary.estimate**2

    def beyond(log_p: float) -> float:
        tail = math.exp(log_p) / 2
        return sum(float(stdtrit(freedom, tail)) ** 2 * variance for freedom, variance in parts) - target

    least = math.log(1e-12)
    if beyond(least) <= 0:
        return max(ordinary.p, 1e-12)
    return max(ordinary.p, math.exp(brentq(beyond, least, 0.0)))
