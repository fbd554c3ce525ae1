"""When a search has proposed enough."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from ftlab.plan.run import PlannedSearch
from ftlab.search.base import Direction, Past, State

FAILURES = 5
"""So many failed arms in a row are no accident: a search without a bound on its arms would never end."""


def enough(
    search: PlannedSearch,
    past: Sequence[Past],
    direction: Direction,
    hours: float,
    tokens: float,
    machine_hour: float | None = None,
) -> str | None:
    """Why nothing more is proposed, or None. `hours` and `tokens` are what all its arms took and trained on;
    `machine_hour` is what an hour costs."""
    told = search.search
    if told.arms is not None and len(past) >= told.arms:
        return f"{told.arms} arms were tried"
    if told.budget_hours is not None and hours >= told.budget_hours:
        return f"its {told.budget_hours:g} hours are used up"
    if told.budget_usd is not None and machine_hour is not None and hours * machine_hour >= told.budget_usd:
        return f"its budget of {told.budget_usd:g} is used up"
    if search.training_tokens is not None and tokens >= search.training_tokens:
        return f"its {search.training_tokens:,} training tokens are used up"
    ended = [one for one in past if one.state is not State.RUNNING]
    if len(list(takewhile(lambda one: one.state is State.FAILED, reversed(ended)))) >= FAILURES:
        return f"the last {FAILURES} arms failed"
    sign = 1.0 if direction == "maximize" else -1.0
    values = [sign * one.objectives[0] for one in past if one.objectives is not None]
    if told.stop_at is not None and values and max(values) >= sign * told.stop_at:
        return f"an arm reached {told.stop_at:g}"
    if told.patience is not None and values and len(values) - 1 - values.index(max(values)) >= told.patience:
        return f"the last {told.patience} arms were no better"
    return None
