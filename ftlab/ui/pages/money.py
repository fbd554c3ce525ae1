"""The costs on the decision page: prices that a reader changes, figures that follow at once, both in the URL."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ftlab.decide.economics import search_price, with_economics
from ftlab.decide.view import ArmView, DecisionView
from ftlab.report import format as fmt
from ftlab.report.assurance import PRICE_HEAD, price_rows
from ftlab.spec.schema import PriceSpec
from ftlab.ui import parts, state
from ftlab.ui.frame import Here

HIGHEST = {"hour": 1e6, "requests": 1e12, "retrain": 1e4}


def draw(here: Here, arms: Sequence[ArmView]) -> None:
    """The three inputs and the table of costs."""
    view = here.view
    parts.heading(
        "What it costs",
        "Change the prices: the figures follow, and the link to this page keeps them. Measured times, not list prices; "
        "searching for the best arm is told apart.",
    )
    if not any(arm.metrics for arm in arms):
        parts.markup('<p class="ft ft-muted">Nothing has been measured yet.</p>')
        return
    prices, requests = _inputs(view)
    shown = view.model_copy(
        update={
            "prices": prices,
            "horizon_requests": requests,
            "arms": with_economics(view.arms, prices, requests),
        }
    )
    wanted = {arm.arm_id for arm in arms}
    rows = price_rows(shown, [arm for arm in shown.arms if arm.arm_id in wanted])
    parts.listing("Costs of each method", [(name, index > 0) for index, name in enumerate(PRICE_HEAD)], rows)
    searched = [
        f"{fmt.one_line(budget.method_name)} {fmt.money(search_price(budget, prices), prices.currency)}"
        for budget in view.budgets
        if budget.search_seconds and prices.machine_hour
    ]
    if searched:
        said = f"Finding the best arm of each method, the arms that lost included, took: {', '.join(searched)}."
        parts.markup(f'<p class="ft ft-note">{parts.escape(said)}</p>')


def _inputs(view: DecisionView) -> tuple[PriceSpec, int | None]:
    """The prices as the reader set them, beginning with the spec's."""
    left, middle, right = st.columns(3)
    with left:
        hour = _number(
            f"An hour of the machine ({parts.plain(view.prices.currency)})", "hour", view.prices.machine_hour
        )
    with middle:
        requests = _number("Requests to serve", "requests", view.horizon_requests)
    with right:
        retrain = _number("Trainings repeated in that time", "retrain", _repeated(view.prices))
    prices = view.prices.model_copy(
        update={"machine_hour": hour, "retrain_per_year": retrain or 0.0, "horizon_years": 1.0}
    )
    return prices, round(requests) if requests else None


def _repeated(prices: PriceSpec) -> float:
    return prices.retrain_per_year * prices.horizon_years


def _number(label: str, name: str, default: float | None) -> float | None:
    """One input, empty where there is nothing to begin with."""
    highest = HIGHEST[name]
    state.seed(name, state.amount(highest), None if default is None else float(default))
    value = st.number_input(
        label, min_value=0.0, max_value=highest, key=state.widget_key(name), format="%g", placeholder="not given"
    )
    state.publish(name, None if value is None else f"{value:g}")
    return value
