"""The chance to be best: shares that add up, agree with the intervals' draws, and treat equal arms alike."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics.best import probability_best
from ftlab.statistics.resampling import resampled_means
from ftlab.testing.simulations import simulate


def test_two_arms_share_as_the_normal_law_says() -> None:
    from scipy.special import ndtr

    differences = np.random.default_rng(0).normal([0.0, 0.05], 0.5, (400, 2))
    found = probability_best(differences, 0)
    gap = differences[:, 1] - differences[:, 0]
    assert found.shares[1] == pytest.approx(ndtr(gap.mean() / gap.std() * 20), abs=0.02)
    assert found.shares.sum() == pytest.approx(1.0)
    assert found.baseline is None


def test_a_clear_winner_is_best_and_a_clear_baseline_beats_all() -> None:
    rng = np.random.default_rng(1)
    scores = simulate(rng, [0.5, 0.5, 0.8], 300)[:, 0]
    found = probability_best((scores[1:] - scores[0]).T, 0, against_baseline=True)
    assert found.shares[1] > 0.99
    assert found.baseline is not None
    assert found.baseline < 0.01
    worse = probability_best((scores[:1] - scores[2]).T, 0, against_baseline=True)
    assert worse.baseline == pytest.approx(1.0)


def test_equal_arms_tie_and_on_average_get_equal_shares() -> None:
    same = np.repeat(np.random.default_rng(2).random((50, 1)), 3, axis=1)
    assert probability_best(same, 0).shares == pytest.approx([1 / 3] * 3)
    assert probability_best(np.zeros((50, 1)), 0, against_baseline=True).baseline == pytest.approx(0.5)
    rng = np.random.default_rng(3)
    shares = [probability_best(simulate(rng, [0.5] * 4, 200)[:, 0].T, index, draws=300).shares for index in range(300)]
    error = np.std(shares, axis=0) / np.sqrt(300)
    assert (np.abs(np.mean(shares, axis=0) - 0.25) <= 3.5 * error).all()


def test_the_draws_are_those_of_the_intervals() -> None:
    differences = np.random.default_rng(4).normal(0, 1, (60, 3))
    differences[:10, 1] = np.nan
    clusters = np.repeat(np.arange(20), 3)
    for groups in (None, clusters):
        means, units = resampled_means(differences, 5, 1000, groups)
        winners = np.bincount(means.argmax(axis=1), minlength=3) / 1000
        found = probability_best(differences, 5, draws=1000, clusters=groups)
        assert found.shares == pytest.approx(winners)
        assert units == (60 if groups is None else 20)


def test_clusters_make_the_winner_less_sure() -> None:
    rng = np.random.default_rng(6)
    clusters = np.repeat(np.arange(15), 20)
    differences = rng.normal(0.02, 0.1, (300, 2)) + rng.normal(0, 0.3, (15, 2))[clusters]
    ordinary, clustered = (probability_best(differences, 0, clusters=groups) for groups in (None, clusters))
    assert 0.5 < clustered.shares.max() < ordinary.shares.max()


@pytest.mark.parametrize("bad", [np.zeros((0, 2)), np.zeros(3), np.full((3, 1), np.nan)])
def test_nothing_to_compare_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected differences"):
        probability_best(bad, 0)
