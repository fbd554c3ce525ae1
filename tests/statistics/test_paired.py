"""Paired differences: coverage by simulation, and what must hold for all data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ftlab.statistics import intervals
from ftlab.statistics.paired import PairedResult, align, mcnemar_p, paired_counts, paired_difference
from ftlab.testing.simulations import about, at_least, covers

BITS = st.sampled_from([0.0, 1.0])


def pairs(values: st.SearchStrategy[float], most: int = 60) -> st.SearchStrategy[list[tuple[float, float]]]:
    return st.lists(st.tuples(values, values), min_size=0, max_size=most)


@pytest.mark.parametrize(
    ("n", "fixed", "broke"),
    [(300, 0.10, 0.05), (300, 0.02, 0.02), (200, 0.01, 0.0), (100, 0.2, 0.2), (50, 0.3, 0.1), (1000, 0.04, 0.01)],
)
def test_the_binary_interval_covers_the_true_difference(n: int, fixed: float, broke: float) -> None:
    """1,500 simulations each."""
    rng = np.random.default_rng(int(1000 * fixed) + n)
    runs, hits = 1500, 0
    known: dict[tuple[int, int], PairedResult] = {}
    for _ in range(runs):
        won, lost, rest = rng.multinomial(n, [fixed, broke, 1 - fixed - broke]).tolist()
        if (won, lost) not in known:
            before = [0.0] * won + [1.0] * lost + [1.0] * rest
            after = [1.0] * won + [0.0] * lost + [1.0] * rest
            known[won, lost] = paired_difference(before, after, 0)
        result = known[won, lost]
        hits += covers(result.low, fixed - broke, result.high)
    # Rare changes make any such interval a little too careful.
    assert at_least(hits, runs, 0.95)


@pytest.mark.parametrize("n", [10, 60])
def test_the_mean_interval_covers_the_true_difference(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """600 simulations each; the p value errs as often as the interval."""
    monkeypatch.setattr(intervals, "RESAMPLES", 999)
    rng = np.random.default_rng(4)
    runs, hits, rejected = 600, 0, 0
    for seed in range(runs):
        before = rng.normal(0.5, 0.2, n)
        after = before + rng.normal(0.0, 0.1, n)
        result = paired_difference(before.tolist(), after.tolist(), seed)
        hits += covers(result.low, 0.0, result.high)
        rejected += result.p <= 0.05
    assert about(hits, runs, 0.95)
    assert about(rejected, runs, 0.05)


def flip(result: PairedResult) -> PairedResult:
    assert result.estimate is not None
    low = None if result.high is None else -result.high
    high = None if result.low is None else -result.low
    return replace(result, estimate=-result.estimate, low=low, high=high, fixed=result.broke, broke=result.fixed)


def assert_close(one: PairedResult, other: PairedResult, tolerance: float) -> None:
    for name in ("estimate", "low", "high", "p"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=tolerance)
    assert (one.n, one.fixed, one.broke, one.method) == (other.n, other.fixed, other.broke, other.method)


@settings(deadline=None)
@given(pairs(BITS).filter(bool))
def test_binary_differences_are_antisymmetric(data: list[tuple[float, float]]) -> None:
    a, b = [pair[0] for pair in data], [pair[1] for pair in data]
    assert_close(paired_difference(b, a, 0), flip(paired_difference(a, b, 0)), 1e-12)


@settings(deadline=None, max_examples=15)
@given(pairs(st.floats(-2, 2), most=20).filter(bool))
def test_mean_differences_are_antisymmetric(data: list[tuple[float, float]]) -> None:
    a, b = [pair[0] for pair in data], [pair[1] for pair in data]
    result = paired_difference(a, b, 0)
    if result.estimate:  # at exactly zero either sign may be resampled
        assert_close(paired_difference(b, a, 0), flip(result), 1e-9)


@settings(deadline=None, max_examples=40)
@given(pairs(st.one_of(BITS, st.floats(-2, 2)), most=15), st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(data: list[tuple[float, float]], chance: object) -> None:
    shuffled = list(data)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        paired_difference([pair[0] for pair in order], [pair[1] for pair in order], 5) for order in (data, shuffled)
    )
    assert_close(one, other, 1e-12)


@settings(deadline=None)
@given(pairs(BITS))
def test_binary_results_stay_in_bounds(data: list[tuple[float, float]]) -> None:
    result = paired_difference([pair[0] for pair in data], [pair[1] for pair in data], 0)
    assert result.n == len(data)
    assert result.fixed + result.broke <= result.n
    for name in ("estimate", "low", "high", "p"):
        value = getattr(result, name)
        assert value is None or math.isfinite(value)
    if result.low is not None:
        assert result.high is not None
        assert result.estimate is not None
        assert result.p is not None
        assert -1.0 <= result.low <= result.estimate <= result.high <= 1.0
        assert 0.0 <= result.p <= 1.0


def test_nothing_changed_hands_still_has_an_interval_that_shrinks_with_n() -> None:
    small = paired_difference([1.0] * 20, [1.0] * 20, 0)
    large = paired_difference([1.0] * 500, [1.0] * 500, 0)
    for result in (small, large):
        assert (result.estimate, result.p, result.fixed, result.broke) == (0.0, 1.0, 0, 0)
        assert result.low is not None
        assert result.high == pytest.approx(-result.low)
        assert result.low < 0
    assert small.low is not None
    assert large.low is not None
    assert small.low < 4 * large.low < 0


@pytest.mark.parametrize(
    ("a", "b", "estimate", "reason"),
    [
        ([], [], None, "no examples"),
        ([0.0], [1.0], 1.0, "no interval: one example"),
        ([0.2, 0.3], [0.7, 0.8], 0.5, "no interval: all differences are equal"),
    ],
)
def test_too_little_to_say_has_no_interval_and_says_why(
    a: list[float], b: list[float], estimate: float | None, reason: str
) -> None:
    result = paired_difference(a, b, 0)
    assert result.estimate == pytest.approx(estimate)
    assert (result.low, result.high, result.p, result.method) == (None, None, None, reason)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 and 3"):
        paired_difference([0.0, 1.0], [0.0, 1.0, 1.0], 0)


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_the_exact_sign_test_of_the_changes(fixed: int, broke: int) -> None:
    expected = binomtest(fixed, fixed + broke).pvalue if fixed + broke else 1.0
    assert mcnemar_p(fixed, broke) == pytest.approx(expected)
    assert mcnemar_p(fixed, broke) == pytest.approx(mcnemar_p(broke, fixed))


def test_align_joins_on_ids_and_counts_the_dropped() -> None:
    a, b, dropped = align({"x": 1.0, "y": 0.0, "z": 1.0}, {"z": 0.0, "x": 1.0, "w": 1.0})
    assert (a, b, dropped) == ([1.0, 1.0], [1.0, 0.0], 2)
    assert align({}, {"x": 1.0}) == ([], [], 1)


def test_paired_counts_agrees_with_the_mean_where_both_apply() -> None:
    rng = np.random.default_rng(6)
    before, after = rng.random(400) < 0.5, rng.random(400) < 0.6
    outcomes = 2 * before.astype(int) + after.astype(int)

    def gain(counts: np.ndarray) -> np.ndarray:
        return (counts[:, 1] - counts[:, 2]) / counts.sum(axis=1)

    counted = paired_counts(outcomes, 4, gain, before, after, 0)
    direct = paired_difference(before.astype(float).tolist(), after.astype(float).tolist(), 0)
    assert counted.estimate == pytest.approx(direct.estimate)
    assert (counted.fixed, counted.broke) == (direct.fixed, direct.broke)
    assert counted.low == pytest.approx(direct.low, abs=0.01)
    assert counted.high == pytest.approx(direct.high, abs=0.01)
    assert counted.p == pytest.approx(direct.p, abs=0.02)


def test_paired_counts_of_equal_systems_has_no_interval() -> None:
    outcomes = np.array([0, 3, 3])
    right = np.array([False, True, True])
    result = paired_counts(outcomes, 4, lambda counts: np.zeros(len(counts)), right, right, 0)
    assert (result.estimate, result.low, result.p) == (0.0, None, None)
    assert "no resample differs" in result.method
