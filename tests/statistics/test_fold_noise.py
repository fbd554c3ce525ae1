"""The interval of a cross-validated difference covers what it claims when folds' models scatter and are alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit

from ftlab.statistics import intervals
from ftlab.statistics.folds import alike, fold_error, with_folds
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.replicates import replicated_difference, with_seed_noise
from ftlab.testing.simulations import at_least, at_most, covers


def model_effects(rng: np.random.Generator, k: int, sd: float) -> np.ndarray:
    """What each fold's model is better by, alike as Nadeau and Bengio take them to be: a correlation of 1 / k."""
    return sd * (math.sqrt(1 / k) * rng.standard_normal() + math.sqrt(1 - 1 / k) * rng.standard_normal(k))


@pytest.mark.parametrize(
    ("k", "n", "sd"), [(5, 100, 0.0), (5, 100, 0.05), (5, 300, 0.15), (10, 200, 0.1), (3, 150, 0.05), (3, 150, 0.2)]
)
def test_the_pooled_difference_is_covered(monkeypatch: pytest.MonkeyPatch, k: int, n: int, sd: float) -> None:
    """500 simulations; from folds whose models do not scatter to ones that scatter several times as the examples do."""
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, runs, hits, ordinary, rejected = np.random.default_rng(k + n), 500, 0, 0, 0
    folds = np.arange(n) % k
    for index in range(runs):
        differences = rng.normal(0, 0.5, n) + model_effects(rng, k, sd)[folds]
        result = paired_difference([0.0] * n, differences.tolist(), index)
        found = fold_error(differences, folds)
        assert found is not None
        wide = with_folds(result, found)
        hits += covers(wide.low, 0.0, wide.high)
        ordinary += covers(result.low, 0.0, result.high)
        rejected += wide.p is not None and wide.p <= 0.05
    assert at_least(hits, runs, 0.95)
    assert at_most(rejected, runs, 0.05)
    if sd >= 0.1:
        assert ordinary < 0.85 * runs, "without the folds it claims too much"


def test_models_of_folds_that_all_answer_test_are_covered_though_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng, runs, hits, as_seeds = np.random.default_rng(5), 500, 0, 0
    for index in range(runs):
        difficulty = rng.normal(0, 0.3, 100)
        arm = difficulty + model_effects(rng, 5, 0.1)[:, None] + rng.normal(0, 0.3, (5, 100))
        found = replicated_difference(difficulty[None, :], arm, index, baseline_has_seeds=False)
        assert found.noise is not None
        as_seeds += covers(found.difference.low, 0.0, found.difference.high)
        low, high = with_seed_noise(found.difference, [alike(found.noise, 5)])
        hits += covers(low, 0.0, high)
    assert at_least(hits, runs, 0.95)
    assert as_seeds < hits


def test_the_error_is_the_corrected_one_and_ends_only_move_outward() -> None:
    folds = np.repeat(np.arange(4), 50)
    means = np.array([0.0, 0.2, 0.4, 0.6])
    differences = means[folds] + np.tile([0.1, -0.1], 100)
    found = fold_error(differences, folds)
    assert found is not None
    assert found.folds == 4
    assert found.error == pytest.approx(float(np.std(means, ddof=1)) * math.sqrt(1 / 4 + 1 / 3))
    result = paired_difference([0.0] * 200, differences.tolist(), 0)
    one, many = with_folds(result, found), with_folds(result, found, 20)
    assert one.high == pytest.approx(0.3 + float(stdtrit(3, 0.975)) * found.error)
    assert one.p == pytest.approx(2 * float(stdtr(3, -0.3 / found.error)))
    assert one.low is not None
    assert many.low is not None
    assert result.low is not None
    assert many.low < one.low < result.low
    bounded = with_folds(result, found, 20, most=1.0)
    assert (bounded.low, bounded.high) == (-1.0, 1.0)
    still = fold_error(np.tile([1.0, -1.0], 100), folds)
    assert still is not None
    assert with_folds(result, still).low == result.low, "folds that do not scatter move nothing"


def test_one_fold_says_nothing_about_folds() -> None:
    assert fold_error(np.ones(5), np.zeros(5, dtype=np.int64)) is None
