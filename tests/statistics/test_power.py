"""Power: published numbers, simulation, and the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ftlab.statistics import power
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.power import (
    MOST,
    alpha_of,
    examples_needed,
    examples_needed_planned,
    quick_effect,
    smallest_effect,
    smallest_effect_planned,
    spread_of_interval,
)


def test_the_table_of_the_module_is_what_the_functions_say() -> None:
    rows = [line.split() for line in (power.__doc__ or "").splitlines() if line.strip()[:3].strip("0123456789") == "%"]
    assert len(rows) == 4
    for share, *effects in rows:
        found = [smallest_effect_planned(n, int(share[:-1]) / 100).effect for n in (100, 300, 800, 2000)]
        assert [f"{100 * value:.1f}" for value in found] == effects


def test_the_effect_and_the_examples_needed_are_each_others_inverse() -> None:
    for n in (20, 300, 5000):
        assert examples_needed(smallest_effect(n, 0.45).effect, 0.45) == pytest.approx(n, abs=1)
        planned = smallest_effect_planned(n, 0.4)
        assert planned.effect is not None
        assert examples_needed_planned(planned.effect, 0.4) == pytest.approx(n, abs=1)
    assert examples_needed(0.02, 0.45) == 3976


def test_the_smallest_effect_is_shown_in_four_of_five_studies() -> None:
    """4,000 simulations each of the paired t-test; scores of 0 and 1 have the power of it, about."""
    from scipy.stats import ttest_1samp

    rng, runs = np.random.default_rng(0), 4000
    error = 3 * np.sqrt(0.8 * 0.2 / runs)
    measured = smallest_effect(200, 0.3).effect
    p = ttest_1samp(rng.normal(measured, 0.3, (runs, 200)), 0.0, axis=1).pvalue
    assert (p <= 0.05).mean() == pytest.approx(0.8, abs=error)
    planned = smallest_effect_planned(300, 0.2).effect
    assert planned is not None
    share = [(0.2 + planned) / 2, (0.2 - planned) / 2, 0.8]
    shown = 0
    known: dict[tuple[int, int], bool] = {}
    for won, lost, rest in rng.multinomial(300, share, runs).tolist():
        if (won, lost) not in known:
            after = [1.0] * won + [0.0] * lost + [0.0] * rest
            low = paired_difference([0.0] * won + [1.0] * lost + [0.0] * rest, after, 0).low
            known[won, lost] = low is not None and low > 0
        shown += known[won, lost]
    # The interval for 0/1 scores is a little careful.
    assert shown / runs == pytest.approx(0.8, abs=error + 0.02)


def test_more_arms_more_agreement_and_fewer_examples_all_count() -> None:
    alone = smallest_effect_planned(300).effect
    assert smallest_effect_planned(300, alpha=alpha_of(20)).effect > 1.3 * alone
    assert smallest_effect_planned(300, 0.1).effect < alone < smallest_effect_planned(100).effect
    assert smallest_effect_planned(300, power=0.9).effect > alone
    assert smallest_effect_planned(300).basis == "20% of the examples assumed to differ"


def test_a_handful_of_examples_can_show_nothing() -> None:
    found = smallest_effect_planned(5)
    assert found.effect is None
    assert found.basis == "20% of the examples assumed to differ: too few of 5 to show any difference"
    assert smallest_effect_planned(1).effect is None
    assert smallest_effect(1, 0.3).effect is None
    assert smallest_effect(0, 0.3).basis == "fewer than two examples"
    assert smallest_effect(2, 0.3).effect == pytest.approx(0.3 * 11.55, abs=0.01)


def test_examples_needed_at_the_edges() -> None:
    assert examples_needed(0.0, 0.5) is None
    assert examples_needed(0.1, 0.0) is None
    assert examples_needed(1e-6, 0.5) == MOST
    assert examples_needed(5.0, 0.5) == 3
    assert examples_needed_planned(0.3, 0.2) is None
    assert examples_needed_planned(0.0) is None
    assert examples_needed_planned(1.0, 1.0) == 3


def test_an_interval_gives_back_its_spread() -> None:
    values = np.random.default_rng(1).normal(0.0, 0.4, 2000)
    found = paired_difference([0.0] * 2000, values.tolist(), 0)
    assert spread_of_interval(found.low, found.high, found.n) == pytest.approx(0.4, rel=0.05)
    assert spread_of_interval(None, 0.1, 10) is None
    assert spread_of_interval(0.1, 0.1, 10) is None
    assert spread_of_interval(-0.1, 0.1, 0) is None


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_lies_above_zero_and_at_most_at_one(share: float) -> None:
    with pytest.raises(ValueError, match="share above 0"):
        smallest_effect_planned(100, share)
    with pytest.raises(ValueError, match="share above 0"):
        examples_needed_planned(0.1, share)


def test_impossible_spreads_and_arms_are_refused() -> None:
    with pytest.raises(ValueError, match="standard deviation above 0"):
        smallest_effect(100, 0.0)
    with pytest.raises(ValueError, match="at least one arm"):
        alpha_of(0)


@pytest.mark.parametrize("discordant", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 20])
def test_the_quick_effect_is_the_exact_one_s_within_what_it_says(discordant: float, alpha: float) -> None:
    for n, below in ((100, 0.021), (500, 0.005), (2000, 0.002)):
        exact = smallest_effect_planned(n, discordant, alpha=alpha).effect
        quick = quick_effect(n, discordant, alpha=alpha)
        if exact is None:
            assert (n, quick) == (100, None)
        else:
            assert quick is not None
            assert (1 - below) * exact <= quick <= exact
    assert quick_effect(1) is None


def test_an_effect_is_found_for_every_number_of_pairs():
    """For some numbers (120 pairs) statsmodels' first root finder gives up, and its answer has another form."""
    found = [smallest_effect(n, 1.0).effect for n in range(100, 140)]
    assert all(one is not None and two is not None and one > two for one, two in itertools.pairwise(found))
