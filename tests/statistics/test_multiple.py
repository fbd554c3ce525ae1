"""Corrections over many p values, by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.statistics.multiple import benjamini_hochberg, holm
from ftlab.testing.simulations import at_most


@pytest.fixture
def many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels collects garbage at each of Holm's calls, which takes longer than the thousands of calls below."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def test_the_textbook_numbers() -> None:
    values = [0.01, 0.04, 0.03, 0.005]
    assert holm(values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(values) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_a_missing_value_stays_missing_and_counts_for_nothing() -> None:
    assert holm([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert benjamini_hochberg([None, 0.2]) == [None, pytest.approx(0.2)]
    assert holm([None, None]) == [None, None]
    assert benjamini_hochberg([]) == []


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_what_is_no_p_value_is_refused(adjust: object, bad: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        adjust([0.5, bad])  # type: ignore[operator]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusting_keeps_the_order_and_never_lowers(values: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        careful, exploring = holm(values), benjamini_hochberg(values)
    order = np.argsort(values, kind="stable")
    for adjusted in (careful, exploring):
        assert all(0 <= raw <= value <= 1 for raw, value in zip(values, adjusted, strict=True))
        assert (np.diff(np.array(adjusted)[order]) >= -1e-12).all()
    assert all(find <= claim + 1e-12 for find, claim in zip(exploring, careful, strict=True))


def test_ten_looks_at_nothing_claim_something_as_often_as_promised(many_calls: None) -> None:
    """2,000 families of ten true nulls: one uncorrected look in ten claims something 40% of the time."""
    draws = np.random.default_rng(1).random((2000, 10))
    assert (draws.min(axis=1) <= 0.05).mean() > 0.35
    for adjust in (holm, benjamini_hochberg):
        claims = sum(min(adjust(row.tolist())) <= 0.05 for row in draws)
        assert at_most(claims, len(draws), 0.05)


def test_the_share_of_false_finds_is_bounded_while_more_is_found(many_calls: None) -> None:
    """800 families of 20 questions, half of them with a real effect of three standard errors."""
    from scipy.stats import norm

    rng = np.random.default_rng(2)
    shares, finds = [], {"holm": 0, "bh": 0}
    for _ in range(800):
        values = norm.sf(rng.normal(size=20) + np.repeat([0.0, 3.0], 10)).tolist()
        found = np.array(benjamini_hochberg(values)) <= 0.1
        shares.append(found[:10].sum() / max(1, found.sum()))
        finds["bh"] += found.sum()
        finds["holm"] += (np.array(holm(values)) <= 0.1).sum()
    assert np.mean(shares) <= 0.1 + 3 * np.std(shares) / np.sqrt(len(shares))
    assert finds["bh"] > 1.2 * finds["holm"]
