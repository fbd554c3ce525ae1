"""What a choice costs in money: arithmetic on measured seconds and tokens, so that a page can do it again at once.

Amounts are in the currency of the prices; None wherever a price or a measurement is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.decide.view import ArmView, Cost, Economics, MethodBudget
from ftlab.spec.schema import HostedPrice, PriceSpec

HOUR = 3600.0
MILLION = 1e6


def economics(arm: ArmView, baseline: ArmView | None, prices: PriceSpec, horizon_requests: int | None) -> Economics:
    """What one arm costs, alone and against the best prompt.

    `horizon_requests` is how many requests the decision is to hold for; None when nobody said.
    """
    training = training_price(arm.cost, prices, prices.hosted.get(arm.method_name))
    per_1k = price_per_1k(arm.cost, prices, prices.hosted.get(arm.method_name))
    once = None if training is None else training * _trainings(prices)
    total = None if once is None else _over(once, per_1k, horizon_requests)
    if baseline is None or baseline.arm_id == arm.arm_id:
        return Economics(training=training, per_1k=per_1k, total=total)
    theirs = price_per_1k(baseline.cost, prices, prices.hosted.get(baseline.method_name))
    spent, mine, other = once, per_1k, theirs
    if spent is None or mine is None or other is None:
        # Where everything runs on one machine its hour cancels: time is a currency that needs no price.
        spent, mine, other = _in_seconds(arm, baseline, prices)
    return Economics(
        training=training,
        per_1k=per_1k,
        total=total,
        break_even_requests=_break_even(spent, mine, other),
        cheaper_per_request=None if mine is None or other is None else mine < other,
        per_extra_correct=_per_extra_correct(arm, total, _over(0.0, theirs, horizon_requests), horizon_requests),
    )


def search_price(budget: MethodBudget, prices: PriceSpec) -> float | None:
    """What finding a method's best arm cost, the arms that lost included: the machine's time for all of it."""
    return None if prices.machine_hour is None else budget.search_seconds / HOUR * prices.machine_hour


def price_per_1k(cost: Cost, prices: PriceSpec, hosted: HostedPrice | None) -> float | None:
    """What 1,000 requests cost: by tokens at a hosted model's price, else by the machine's time."""
    if hosted is not None:
        if cost.prompt_tokens_per_request is None or cost.output_tokens_per_request is None:
            return None
        per_request = cost.prompt_tokens_per_request * hosted.input + cost.output_tokens_per_request * hosted.output
        return 1000 * per_request / MILLION
    if prices.machine_hour is None or cost.seconds_per_1k_requests is None:
        return None
    return cost.seconds_per_1k_requests / HOUR * prices.machine_hour


def training_price(cost: Cost, prices: PriceSpec, hosted: HostedPrice | None) -> float | None:
    """What training once costs: by tokens at a hosted service's price, else by the machine's time. 0 for a prompt."""
    if cost.train_seconds == 0:
        return 0.0
    if hosted is not None:
        return None if cost.train_tokens is None else cost.train_tokens * hosted.training / MILLION
    if prices.machine_hour is None or cost.train_seconds is None:
        return None
    return cost.train_seconds / HOUR * prices.machine_hour


def with_economics(views: Sequence[ArmView], prices: PriceSpec, horizon_requests: int | None) -> list[ArmView]:
    """The arms of a view, each with its economics against the baseline among them."""
    baseline = next((view for view in views if view.is_baseline), None)
    return [
        view.model_copy(update={"economics": economics(view, baseline, prices, horizon_requests)}) for view in views
    ]


def _trainings(prices: PriceSpec) -> float:
    """The first training and those that repeat it."""
    return 1.0 + prices.retrain_per_year * prices.horizon_years


def _over(once: float, per_1k: float | None, requests: int | None) -> float | None:
    return None if per_1k is None or requests is None else once + per_1k * requests / 1000


def _in_seconds(arm: ArmView, baseline: ArmView, prices: PriceSpec) -> tuple[float | None, float | None, float | None]:
    if {arm.method_name, baseline.method_name} & set(prices.hosted) or arm.cost.train_seconds is None:
        return None, None, None
    spent = arm.cost.train_seconds * _trainings(prices)
    return spent, arm.cost.seconds_per_1k_requests, baseline.cost.seconds_per_1k_requests


def _break_even(once: float | None, mine: float | None, theirs: float | None) -> float | None:
    """After how many requests the training has paid for itself. None when a request saves nothing."""
    if once is None or mine is None or theirs is None or mine >= theirs:
        return None
    return once / ((theirs - mine) / 1000)


def _per_extra_correct(arm: ArmView, total: float | None, theirs: float | None, requests: int | None) -> float | None:
    """What each case costs that is right and would have been wrong, over the horizon; below 0 when it saves money.

    None where the arm is not better: there are no such cases.
    """
    gain = arm.difference.estimate.value if arm.difference is not None else None
    if total is None or theirs is None or requests is None or gain is None or gain <= 0:
        return None
    return (total - theirs) / (gain * requests)
