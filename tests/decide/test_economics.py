"""Money by hand: every figure here can be checked with a pencil."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.decide.economics import economics, search_price, with_economics
from ftlab.decide.view import ArmView, Cost, Estimate, MethodBudget, PairedDifference
from ftlab.spec.schema import HostedPrice, PriceSpec

HOURLY = PriceSpec(machine_hour=3.6)
"""A thousandth of the currency for every second."""


def arm(name: str, *, gain: float | None = None, **cost: Any) -> ArmView:
    difference = None
    if gain is not None:
        difference = PairedDifference(estimate=Estimate(value=gain), p_value=None, fixed=0, broke=0, dropped=0)
    return ArmView(
        arm_id=name,
        run_ids=[],
        method_name=name,
        family="prompt" if name == "ask" else "adapter",
        label=name,
        status="complete",
        reason=None,
        seeds=[0],
        is_baseline=name == "ask",
        is_best_of_method=True,
        metrics={},
        difference=difference,
        benchmarks=[],
        cost=Cost(**cost),
        config={},
        varied={},
        on_front=False,
    )


ASK = arm(
    "ask", train_seconds=0.0, seconds_per_1k_requests=300.0, prompt_tokens_per_request=500, output_tokens_per_request=5
)
LORA = arm(
    "lora",
    gain=0.05,
    train_seconds=1000.0,
    train_tokens=2_000_000,
    seconds_per_1k_requests=100.0,
    prompt_tokens_per_request=50,
    output_tokens_per_request=5,
)


def test_the_machine_s_hour_prices_training_requests_and_what_they_save() -> None:
    found = economics(LORA, ASK, HOURLY, 100_000)
    assert found.training == pytest.approx(1.0)
    assert found.per_1k == pytest.approx(0.1)
    assert found.break_even_requests == pytest.approx(5000), "1.0 saved at 0.2 per 1,000 requests"
    assert found.cheaper_per_request is True
    assert found.total == pytest.approx(11.0)
    assert found.per_extra_correct == pytest.approx((11.0 - 30.0) / 5000), "it saves money, so each costs less than 0"


def test_retraining_counts_over_the_horizon() -> None:
    yearly = PriceSpec(machine_hour=3.6, retrain_per_year=2, horizon_years=1.5)
    found = economics(LORA, ASK, yearly, 100_000)
    assert found.training == pytest.approx(1.0), "once is once"
    assert found.total == pytest.approx(4.0 + 10.0)
    assert found.break_even_requests == pytest.approx(20_000)


def test_without_a_price_time_itself_says_when_it_pays_back() -> None:
    found = economics(LORA, ASK, PriceSpec(), 100_000)
    assert (found.training, found.per_1k, found.total, found.per_extra_correct) == (None, None, None, None)
    assert found.break_even_requests == pytest.approx(5000)


def test_a_hosted_model_is_priced_by_tokens() -> None:
    prices = PriceSpec(machine_hour=3.6, hosted={"lora": HostedPrice(input=2.0, output=10.0, training=3.0)})
    found = economics(LORA, ASK, prices, 1000)
    assert found.training == pytest.approx(6.0)
    assert found.per_1k == pytest.approx(1000 * (50 * 2.0 + 5 * 10.0) / 1e6)
    unmeasured = LORA.model_copy(update={"cost": Cost(train_seconds=1.0, seconds_per_1k_requests=1.0)})
    assert economics(unmeasured, ASK, prices, 1000).per_1k is None
    assert economics(unmeasured, ASK, PriceSpec(hosted=prices.hosted), 1000).break_even_requests is None


def test_a_dearer_arm_never_pays_back_and_a_worse_one_has_no_price_per_case() -> None:
    dear = arm("full", gain=-0.01, train_seconds=10.0, seconds_per_1k_requests=400.0)
    found = economics(dear, ASK, HOURLY, 1000)
    assert (found.break_even_requests, found.cheaper_per_request, found.per_extra_correct) == (None, False, None)


def test_the_baseline_is_compared_with_nothing() -> None:
    ask, lora = with_economics([ASK, LORA], HOURLY, None)
    assert ask.economics.training == 0.0
    assert ask.economics.per_1k == pytest.approx(0.3)
    assert ask.economics.break_even_requests is None
    assert lora.economics.total is None, "no horizon, no total"
    assert lora.economics.break_even_requests == pytest.approx(5000)


def test_a_search_costs_what_all_its_arms_took() -> None:
    budget = MethodBudget(
        method_name="lora", family="adapter", arms=3, measured=3, train_tokens=1, train_seconds=9e2, search_seconds=1e3
    )  # fmt: skip
    assert search_price(budget, HOURLY) == pytest.approx(1.0)
    assert search_price(budget, PriceSpec()) is None


@given(
    st.floats(0.01, 1e6), st.floats(0.001, 1e4), st.floats(0.001, 1e4), st.floats(0.01, 100), st.floats(0, 12)
)  # fmt: skip
def test_at_break_even_both_have_cost_the_same(
    train: float, mine: float, theirs: float, hour: float, retrainings: float
) -> None:
    prices = PriceSpec(machine_hour=hour, retrain_per_year=retrainings)
    lora = arm("lora", gain=0.1, train_seconds=train, seconds_per_1k_requests=mine)
    ask = arm("ask", train_seconds=0.0, seconds_per_1k_requests=theirs)
    found = economics(lora, ask, prices, None)
    assert (found.break_even_requests is None) == (mine >= theirs)
    if found.break_even_requests is not None and mine < 0.99 * theirs:
        spent = train * (1 + retrainings) + found.break_even_requests * mine / 1000
        assert spent == pytest.approx(found.break_even_requests * theirs / 1000, rel=1e-6)
