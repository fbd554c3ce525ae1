"""Intervals that hold together: checked against the ordinary one, against simulation, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics.clusters import cluster_mean
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.simultaneous import Simultaneous, mean_differences, widening
from ftlab.testing.simulations import at_least, at_most, simulate


def _null_sweep(rng: np.random.Generator, arms: int, n: int) -> np.ndarray:
    """Differences, shape (n, arms), of arms from a baseline that is as good as they are."""
    scores = simulate(rng, [0.55] * (arms + 1), n)[:, 0]
    return (scores[1:] - scores[0]).T


def _jointly(found: Simultaneous, truth: np.ndarray | float) -> bool:
    return bool(((found.low <= truth) & (truth <= found.high)).all())


@pytest.mark.parametrize(("n", "agreement"), [(30, 0.5), (100, 0.5), (300, 0.9)])
def test_all_true_differences_of_rates_are_covered_together(n: int, agreement: float):
    """600 simulations each of eight arms from 15 points worse to 20 better; about 95%, more for few examples."""
    rates = np.array([0.5, 0.35, 0.4, 0.45, 0.5, 0.5, 0.55, 0.6, 0.7])
    rng, runs, hits = np.random.default_rng(n), 600, 0
    for index in range(runs):
        scores = simulate(rng, rates.tolist(), n, agreement=agreement)[:, 0]
        found = mean_differences((scores[1:] - scores[0]).T, index, draws=600)
        hits += _jointly(found, rates[1:] - rates[0])
    assert at_least(hits, runs, 0.95)
    assert at_most(hits, runs, 0.985)


@pytest.mark.parametrize("n", [20, 100])
def test_all_true_differences_of_unbounded_scores_are_covered_together(n: int):
    """600 simulations each of eight arms that share the baseline's luck; 94% are claimed for as few as 20 examples."""
    rng, runs, hits = np.random.default_rng(n), 600, 0
    for index in range(runs):
        differences = rng.normal(size=(n, 1)) + rng.normal(size=(n, 8))
        hits += _jointly(mean_differences(differences, index, bounded=False, draws=600), 0.0)
    assert at_least(hits, runs, 0.95 if n > 50 else 0.94)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("sizes", [[6] * 12, [1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 5, 5, 4, 4, 3]])
def test_differences_that_cluster_are_covered_together(bounded: bool, sizes: list[int]):
    """400 simulations each of eight arms; resampling examples as if they were independent covers far less often."""
    rng, runs, hits, ignoring = np.random.default_rng(len(sizes)), 400, 0, 0
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    for index in range(runs):
        if bounded:
            scores = simulate(rng, [0.6] * 9, clusters.size, agreement=0.4, clusters=clusters, by_cluster=0.3)[:, 0]
            differences = (scores[1:] - scores[0]).T
        else:
            noise = 0.8 * rng.normal(size=(clusters.size, 9)) + 0.6 * rng.normal(size=(len(sizes), 9))[clusters]
            differences = noise[:, 1:] - noise[:, :1]
        found = mean_differences(differences, index, bounded=bounded, draws=600, clusters=clusters)
        hits += _jointly(found, 0.0)
        ignoring += _jointly(mean_differences(differences, index, bounded=bounded, draws=200), 0.0)
    assert found.clusters == len(sizes)
    assert at_least(hits, runs, 0.95)
    assert ignoring < 0.8 * runs


def test_clusters_of_one_example_change_nothing():
    differences = np.random.default_rng(9).normal(size=(80, 3))
    ordinary = mean_differences(differences, 1, bounded=False)
    clustered = mean_differences(differences, 1, bounded=False, clusters=np.arange(80))
    assert clustered.low == pytest.approx(ordinary.low, rel=0.02)
    assert (ordinary.clusters, clustered.clusters) == (None, 80)


def test_arms_with_missing_scores_cluster_as_well():
    rng = np.random.default_rng(10)
    clusters = np.repeat(np.arange(30), 4)
    differences = rng.normal(0.1, 0.5, (120, 2)) + rng.normal(0, 0.3, (30, 2))[clusters]
    differences[:40, 1] = np.nan
    found = mean_differences(differences, 0, bounded=False, clusters=clusters)
    assert found.estimates[1] == pytest.approx(differences[40:, 1].mean())
    alone = cluster_mean(differences[40:, 1], clusters[40:])
    assert found.high[1] - found.low[1] > alone.high - alone.low


@pytest.mark.parametrize("clusters", [np.zeros(20, dtype=int), np.arange(19)])
def test_one_cluster_or_a_missing_one_is_refused(clusters: np.ndarray):
    with pytest.raises(ValueError, match="at least two clusters"):
        mean_differences(np.ones((20, 2)), 0, clusters=clusters)


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
