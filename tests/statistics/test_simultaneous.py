"""Intervals that hold together: checked against the ordinary one, against simulation, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics.paired import paired_difference
from ftlab.statistics.simultaneous import mean_differences, widening


def _null_sweep(rng: np.random.Generator, arms: int, n: int) -> np.ndarray:
    """Differences of `arms` arms from a baseline when all are equally good: hard and easy examples, shared by all."""
    difficulty = rng.beta(0.6, 0.4, size=n)
    right = rng.random((n, arms + 1)) < difficulty[:, None]
    return right[:, 1:].astype(float) - right[:, :1]


def test_twenty_equal_arms_rarely_show_a_gain_although_the_naive_interval_often_does():
    rng = np.random.default_rng(20261122)
    simulations, n = 200, 300
    naive = joint = 0
    for index in range(simulations):
        differences = _null_sweep(rng, arms=20, n=n)
        best = int(differences.mean(axis=0).argmax())
        column = differences[:, best]
        naive += column.mean() - 1.96 * column.std(ddof=1) / np.sqrt(n) > 0
        joint += bool((mean_differences(differences, index, draws=600).low > 0).any())
    assert naive / simulations > 0.15, "the simulation must be one in which the naive interval fails"
    # At most 5% is claimed, and about half of that is expected: the intervals have two sides.
    assert joint / simulations <= 0.05 + 0.015


def test_all_true_differences_are_covered_together():
    rng = np.random.default_rng(7)
    truth = np.linspace(-0.1, 0.1, 8)
    cuts = _threshold(0.5 + truth)
    missed = 0
    for index in range(200):
        uniform = rng.random((250, 1))
        baseline = uniform < 0.5
        arms = (0.6 * uniform + 0.4 * rng.random((250, 8))) < cuts
        found = mean_differences(arms.astype(float) - baseline, index, draws=500)
        missed += bool(((found.low > truth) | (found.high < truth)).any())
    assert missed / 200 <= 0.085


def _threshold(rate: np.ndarray) -> np.ndarray:
    """The cut of 0.6 U + 0.4 V below which a share `rate` lies, by inverting its distribution numerically."""
    grid = np.random.default_rng(0)
    sample = np.sort(0.6 * grid.random(400_000) + 0.4 * grid.random(400_000))
    return sample[(rate * (sample.size - 1)).astype(int)]


def test_one_arm_gets_its_ordinary_interval():
    rng = np.random.default_rng(3)
    a, b = (rng.random(400) < 0.5).astype(float), (rng.random(400) < 0.6).astype(float)
    joint = mean_differences((b - a)[:, None], seed=1)
    single = paired_difference(a.tolist(), b.tolist(), seed=1)
    assert joint.critical == pytest.approx(1.96, abs=0.12)
    assert joint.estimates[0] == pytest.approx(single.estimate)
    assert joint.low[0] == pytest.approx(single.low, abs=0.006)
    assert joint.high[0] == pytest.approx(single.high, abs=0.006)


def test_more_arms_widen_every_interval():
    differences = _null_sweep(np.random.default_rng(5), arms=12, n=300)
    alone = mean_differences(differences[:, :1], seed=0)
    among = mean_differences(differences, seed=0)
    assert among.critical > alone.critical + 0.3
    assert among.low[0] < alone.low[0]
    assert among.high[0] > alone.high[0]


def test_an_arm_that_always_agrees_still_has_a_width():
    found = mean_differences(np.zeros((200, 2)), seed=0)
    assert found.estimates.tolist() == [0.0, 0.0]
    assert (found.low < -0.005).all()
    assert (found.high > 0.005).all()


def test_missing_scores_count_for_no_arm():
    differences = _null_sweep(np.random.default_rng(6), arms=3, n=200)
    differences[:50, 1] = np.nan
    found = mean_differences(differences, seed=0)
    assert found.estimates[1] == pytest.approx(differences[50:, 1].mean())
    assert np.isfinite(found.low).all()
    assert found.high[1] - found.low[1] > found.high[0] - found.low[0]


def test_the_seed_decides_and_nothing_else():
    differences = np.random.default_rng(8).uniform(-1, 1, size=(100, 4))
    first, again, other = (mean_differences(differences, seed=seed) for seed in (1, 1, 2))
    assert first.low.tolist() == again.low.tolist()
    assert first.critical != other.critical


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(5), np.full((4, 2), np.nan)])
def test_nothing_to_compare_is_refused(bad: np.ndarray):
    with pytest.raises(ValueError, match="expected differences"):
        mean_differences(bad, seed=0)


def test_bonferroni_widens_with_the_number_of_arms():
    assert widening(1) == pytest.approx(1.0)
    assert widening(20) == pytest.approx(3.0233 / 1.95996, abs=1e-3)
    with pytest.raises(ValueError, match="at least one"):
        widening(0)
