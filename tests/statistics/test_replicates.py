"""Seeds and examples: apart, together, and not measured."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics import intervals
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.replicates import replicated_difference, seed_noise, with_seed_noise
from ftlab.testing.simulations import at_least, at_most, covers, simulate


def scores(rng: np.random.Generator, seeds: int, difficulty: np.ndarray, by_seed: float) -> np.ndarray:
    """Scores whose true mean is 0: an example's difficulty, a seed's effect, and a rest that is neither's."""
    effect = by_seed * rng.standard_normal((seeds, 1)) if seeds > 1 else 0.0
    return difficulty + effect + rng.normal(0, 0.3, (seeds, difficulty.size))


def plain_two_level(rng: np.random.Generator, baseline: np.ndarray, arm: np.ndarray) -> tuple[float, float]:
    """The percentile interval that resamples seeds and examples."""
    seeds, n = arm.shape
    rows = rng.multinomial(seeds, [1 / seeds] * seeds, 400) / seeds
    columns = rng.multinomial(n, [1 / n] * n, 400) / n
    draws = ((rows @ (arm - baseline.mean(axis=0))) * columns).sum(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(
    ("seeds", "baseline_seeds", "by_seed", "claimed"),
    [
        (3, 1, 0.0, 0.95),
        (3, 1, 0.03, 0.95),
        (3, 1, 0.15, 0.95),
        (3, 3, 0.05, 0.95),
        (5, 5, 0.1, 0.95),
        (2, 1, 0.1, 0.925),
    ],
)
def test_the_difference_is_covered_over_seeds_and_examples(
    monkeypatch: pytest.MonkeyPatch, seeds: int, baseline_seeds: int, by_seed: float, claimed: float
) -> None:
    """500 simulations each of 100 examples; from no seed noise to one that is several times the examples' own."""
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, runs, hits = np.random.default_rng(int(1000 * by_seed) + seeds), 500, 0
    for index in range(runs):
        difficulty = rng.normal(0, 0.3, 100)
        baseline = scores(rng, baseline_seeds, difficulty, by_seed)
        arm = scores(rng, seeds, difficulty + rng.normal(0, 0.3, 100), by_seed)
        found = replicated_difference(baseline, arm, index).difference
        hits += covers(found.low, 0.0, found.high)
    assert at_least(hits, runs, claimed)


def test_three_seeds_that_scatter_defeat_the_plain_two_level_bootstrap_and_one_level_even_more() -> None:
    rng, runs, plain, ignoring = np.random.default_rng(1), 250, 0, 0
    for _ in range(runs):
        difficulty = rng.normal(0, 0.3, 200)
        baseline, arm = scores(rng, 1, difficulty, 0.0), scores(rng, 3, difficulty, 0.1)
        low, high = plain_two_level(rng, baseline, arm)
        plain += low <= 0 <= high
        difference = arm.mean(axis=0) - baseline[0]
        ignoring += abs(difference.mean()) <= 1.96 * difference.std() / np.sqrt(200)
    assert plain < 0.88 * runs
    assert ignoring < 0.6 * runs


def test_rates_of_arms_whose_seeds_scatter_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 simulations of 3 seeds each on 150 examples, rates scattering by 4 points; p errs no more often."""
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, runs, hits, rejected = np.random.default_rng(2), 500, 0, 0
    for index in range(runs):
        both = simulate(rng, [0.5, 0.5], 150, seeds=3, by_seed=0.01)
        found = replicated_difference(both[0], both[1], index).difference
        hits += covers(found.low, 0.0, found.high)
        rejected += found.p <= 0.05
    assert at_least(hits, runs, 0.95)
    assert at_most(rejected, runs, 0.05)


def test_one_seed_each_misses_the_noise_that_it_says_is_not_measured() -> None:
    rng, runs, hits = np.random.default_rng(8), 400, 0
    for index in range(runs):
        both = simulate(rng, [0.5, 0.5], 600, agreement=0.8, by_seed=0.01)
        found = replicated_difference(both[0], both[1], index).difference
        hits += covers(found.low, 0.0, found.high)
    assert hits < 0.7 * runs


def test_seed_sd_and_example_error_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    difficulty = rng.normal(0, 0.4, 4000)
    arm = difficulty + rng.normal(0, 0.05, (40, 1)) + rng.normal(0, 0.1, (40, 4000))
    found = replicated_difference(np.zeros((1, 4000)), arm, 0, baseline_has_seeds=False)
    assert found.noise is not None
    assert found.noise.sd == pytest.approx(arm.mean(axis=1).std(ddof=1))
    assert found.noise.sd == pytest.approx(0.05, rel=0.4)
    assert found.noise.excess == pytest.approx(found.noise.sd**2 / 40, rel=0.01)
    assert found.example_error == pytest.approx(0.4 / np.sqrt(4000), rel=0.05)
    assert found.baseline_noise is None
    assert "not measured" not in found.difference.method


def test_one_seed_is_the_ordinary_comparison_and_says_what_is_not_measured() -> None:
    rng = np.random.default_rng(4)
    before, after = (rng.random((2, 1, 200)) < 0.5).astype(float)
    found = replicated_difference(before, after, 7)
    ordinary = paired_difference(before[0].tolist(), after[0].tolist(), 7)
    assert (found.noise, found.baseline_noise) == (None, None)
    assert (found.difference.low, found.difference.high) == pytest.approx((ordinary.low, ordinary.high))
    assert found.difference.p == ordinary.p
    assert found.difference.method.endswith("seed noise of the arm and the baseline not measured")
    prompt = replicated_difference(before, after, 7, baseline_has_seeds=False)
    assert prompt.difference.method.endswith("seed noise of the arm not measured")


def test_seeds_that_agree_add_nothing() -> None:
    row = (np.random.default_rng(5).random(100) < 0.4).astype(float)
    noise = seed_noise(np.stack([row, row, row]))
    assert noise is not None
    assert (noise.sd, noise.excess) == pytest.approx((0.0, 0.0), abs=1e-15)
    assert seed_noise(row[None, :]) is None
    assert seed_noise(np.ones((3, 1))) is None


def test_seed_noise_moves_both_ends_outward_and_more_so_for_many_arms() -> None:
    rng = np.random.default_rng(6)
    arm = rng.random((3, 100)) + np.array([[0.0], [0.1], [0.2]])
    noise = seed_noise(arm)
    assert noise is not None
    ordinary = paired_difference([0.5] * 100, arm.mean(axis=0).tolist(), 0)
    one, many = with_seed_noise(ordinary, [noise]), with_seed_noise(ordinary, [noise], 20)
    assert many[0] < one[0] < ordinary.low < ordinary.high < one[1] < many[1]
    assert with_seed_noise(ordinary, []) == pytest.approx((ordinary.low, ordinary.high))
    found = replicated_difference(np.full((1, 100), 0.5), arm, 0).difference
    assert found.p > ordinary.p
    assert (found.p <= 0.05) == (not covers(found.low, 0.0, found.high))


@pytest.mark.parametrize("shapes", [((1, 3), (1, 4)), ((0, 3), (2, 3)), ((3,), (1, 3))])
def test_scores_of_other_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="shape"):
        replicated_difference(np.zeros(shapes[0]), np.zeros(shapes[1]), 0)


def test_nothing_to_resample_has_no_interval() -> None:
    found = replicated_difference(np.zeros((1, 1)), np.ones((2, 1)), 0)
    assert (found.difference.estimate, found.difference.low, found.noise, found.example_error) == (
        1.0,
        None,
        None,
        None,
    )
    assert replicated_difference(np.zeros((1, 0)), np.zeros((1, 0)), 0).difference.estimate is None
