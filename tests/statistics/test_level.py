"""The level in force reaches every interval, and quantiles have ends where there are enough values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.statistics.clusters import clustered_difference
from ftlab.statistics.equivalence import equivalence, non_inferiority
from ftlab.statistics.intervals import bootstrap_mean, wilson
from ftlab.statistics.level import ALPHA, alpha, at_alpha, confidence
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.power import alpha_of, examples_needed, quick_effect, spread_of_interval
from ftlab.statistics.quantiles import quantile
from ftlab.statistics.replicates import replicated_difference
from ftlab.statistics.simultaneous import mean_differences, widening

DRAW = np.random.default_rng(3)
BEFORE, AFTER = DRAW.random(80), DRAW.random(80)
RIGHT_BEFORE, RIGHT_AFTER = (BEFORE > 0.5).astype(float), (AFTER > 0.4).astype(float)


def test_it_is_95_percent_until_a_block_says_otherwise_and_again_after_it() -> None:
    assert (alpha(), confidence()) == (ALPHA, 0.95)
    with at_alpha(0.01):
        assert confidence() == pytest.approx(0.99)
    with pytest.raises(RuntimeError), at_alpha(0.01):
        raise RuntimeError
    assert alpha() == ALPHA
    for wrong in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"), at_alpha(wrong):
            pass


@pytest.mark.parametrize(
    "ends",
    [
        lambda: wilson(30, 80),
        lambda: bootstrap_mean(BEFORE.tolist(), 0),
        lambda: paired_difference(BEFORE.tolist(), AFTER.tolist(), 0),
        lambda: paired_difference(RIGHT_BEFORE.tolist(), RIGHT_AFTER.tolist(), 0),
        lambda: replicated_difference(BEFORE[None], np.stack([AFTER, AFTER**2]), 0).difference,
        lambda: clustered_difference(BEFORE.tolist(), AFTER.tolist(), [place // 4 for place in range(80)], 0)[0],
        lambda: equivalence(BEFORE.tolist(), AFTER.tolist(), 0.1),
        lambda: quantile(BEFORE.tolist(), 0.5),
    ],
)
def test_a_smaller_risk_makes_every_interval_wider(ends) -> None:  # type: ignore[no-untyped-def]
    usual = ends()
    with at_alpha(0.01):
        careful = ends()
    assert careful.low < usual.low < usual.high < careful.high


def test_simultaneous_ends_bounds_and_plans_follow_it_too() -> None:
    differences = (AFTER - BEFORE)[:, None]
    usual = mean_differences(differences, 0)
    bound = non_inferiority(BEFORE.tolist(), AFTER.tolist(), 0.1).bound
    with at_alpha(0.01):
        careful = mean_differences(differences, 0)
        assert careful.level == pytest.approx(0.99)
        assert careful.low[0] < usual.low[0]
        assert non_inferiority(BEFORE.tolist(), AFTER.tolist(), 0.1).bound < bound
        assert widening(5) == pytest.approx(widening(5, 0.99))
        assert alpha_of(4) == pytest.approx(0.0025)
        assert quick_effect(200) == pytest.approx(quick_effect(200, alpha=0.01))
        assert examples_needed(0.1, 0.5) == examples_needed(0.1, 0.5, alpha=0.01)
        assert spread_of_interval(-0.1, 0.1, 100) == pytest.approx(0.1 / 2.575829 * 10)


def test_a_high_percentile_needs_72_values_for_an_upper_end() -> None:
    few, enough = quantile(range(71), 0.95), quantile(range(72), 0.95)
    assert few.high is None
    assert enough.high == 71.0
    assert few.low is not None
    assert quantile([], 0.5).value is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], 1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([0.1, 0.5, 0.95]))
def test_a_quantile_lies_between_its_ends_and_they_are_values(values: list[float], p: float) -> None:
    found = quantile(values, p)
    assert min(values) <= found.value <= max(values)
    for end in (found.low, found.high):
        assert end is None or end in values
    assert found.low is None or found.low <= found.value * (1 + 1e-12)
    assert found.high is None or found.high >= found.value * (1 - 1e-12)


def test_a_percentile_s_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Exponential times, 200 of them, the 95th percentile: 95% within the Monte Carlo error of 1,000 draws (0.7%)."""
    truth, draw = -np.log(0.05), np.random.default_rng(11)
    found = [quantile(draw.exponential(size=200).tolist(), 0.95) for _ in range(1000)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.95 - 3 * 0.007 <= covered <= 0.99
