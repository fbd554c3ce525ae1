"""Non-inferiority and equivalence: statsmodels' own numbers, and error rates at the margin."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics.equivalence import equivalence, non_inferiority
from ftlab.testing.simulations import at_least, at_most


def test_the_numbers_are_those_of_scipy_and_statsmodels() -> None:
    from scipy.stats import ttest_1samp
    from statsmodels.stats.weightstats import ttost_paired

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 0.2, 50), rng.normal(0.52, 0.2, 50)
    worse = non_inferiority(a.tolist(), b.tolist(), 0.1)
    expected = ttest_1samp(b - a, -0.1, alternative="greater")
    assert worse.p == pytest.approx(expected.pvalue)
    assert worse.bound == pytest.approx(ttest_1samp(b - a, 0, alternative="greater").confidence_interval(0.95).low)
    same = equivalence(a.tolist(), b.tolist(), 0.1)
    p, lower, upper = ttost_paired(b, a, -0.1, 0.1)
    assert (same.p, same.p_lower, same.p_upper) == pytest.approx((p, lower[1], upper[1]))
    assert (same.low, same.high) == pytest.approx(tuple(ttest_1samp(b - a, 0).confidence_interval(0.9)))
    assert same.estimate == pytest.approx((b - a).mean())


def rejections(n: int, fixed: float, broke: float, margin: float, runs: int = 600) -> tuple[int, int]:
    """How often b is shown no worse than the margin, and within it either way."""
    rng = np.random.default_rng(n)
    known: dict[tuple[int, int], tuple[bool, bool]] = {}
    total = np.zeros(2, dtype=int)
    for won, lost, rest in rng.multinomial(n, [fixed, broke, 1 - fixed - broke], runs).tolist():
        if (won, lost) not in known:
            a, b = [0.0] * won + [1.0] * (lost + rest), [1.0] * won + [0.0] * lost + [1.0] * rest
            known[won, lost] = (non_inferiority(a, b, margin).p <= 0.05, equivalence(a, b, margin).p <= 0.05)
        total += known[won, lost]
    return int(total[0]), int(total[1])


@pytest.mark.parametrize(
    ("n", "fixed", "broke"), [(300, 0.05, 0.10), (800, 0.08, 0.10), (600, 0.01, 0.03), (150, 0.05, 0.15)]
)
def test_a_loss_of_just_the_margin_is_rarely_called_none(n: int, fixed: float, broke: float) -> None:
    """600 simulations each, the true loss being exactly the margin."""
    worse, same = rejections(n, fixed, broke, broke - fixed)
    assert at_most(worse, 600, 0.05)
    assert same <= worse


def test_what_is_equal_is_shown_so_with_enough_examples() -> None:
    worse, same = rejections(1500, 0.04, 0.04, 0.04)
    assert at_least(worse, 600, 0.95)
    assert at_least(same, 600, 0.95)


def test_agreement_on_every_example_leaves_the_doubt_of_few_examples() -> None:
    few, many = (equivalence([1.0] * n, [1.0] * n, 0.02) for n in (40, 600))
    assert few.p > 0.05 > many.p
    assert few.low < -0.02 < many.low < 0 < many.high < 0.02
    assert non_inferiority([1.0] * 600, [1.0] * 600, 0.02).p < 0.05


@pytest.mark.parametrize(
    ("a", "b", "estimate", "reason"),
    [
        ([], [], None, "no examples"),
        ([0.4], [0.5], 0.1, "no test: one example"),
        ([0.2, 0.3], [0.3, 0.4], 0.1, "no test: all differences are equal"),
    ],
)
def test_too_little_to_test_says_why(a: list[float], b: list[float], estimate: float | None, reason: str) -> None:
    worse, same = non_inferiority(a, b, 0.02), equivalence(a, b, 0.02)
    assert (worse.p, worse.bound, worse.method) == (None, None, reason)
    assert (same.p, same.low, same.p_upper, same.method) == (None, None, None, reason)
    assert worse.estimate == same.estimate == pytest.approx(estimate)


@pytest.mark.parametrize("margin", [0.0, -0.02, float("nan"), float("inf")])
def test_a_margin_is_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin above 0"):
        non_inferiority([0.0, 1.0], [1.0, 1.0], margin)


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="found 1 and 2"):
        equivalence([0.0], [1.0, 1.0], 0.1)
