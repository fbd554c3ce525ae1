"""When a search has proposed enough."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ftlab.search.base import Past, Proposal, State
from ftlab.search.budget import enough
from ftlab.spec.searches import SearchSpec


def measured(*values: float) -> list[Past]:
    return [Past(Proposal({"x": value}), State.COMPLETE, (value,)) for value in values]


FAILED = [Past(Proposal({"x": number}), State.FAILED) for number in range(5)]


@pytest.mark.parametrize(
    ("told", "past", "hours", "tokens", "reason"),
    [
        ({"arms": 2}, measured(0.1, 0.2), 0, 0, "2 arms were tried"),
        ({"arms": 3}, measured(0.1, 0.2), 0, 0, None),
        ({"budget_hours": 1.5}, measured(0.1), 1.5, 0, "its 1.5 hours are used up"),
        ({"budget_hours": 1.5}, measured(0.1), 1.4, 0, None),
        ({"budget_usd": 3.0}, measured(0.1), 1.5, 0, "its budget of 3 is used up"),
        ({"budget_usd": 3.0}, measured(0.1), 1.4, 0, None),
        ({}, measured(0.1), 0, 1000, "its 1,000 training tokens are used up"),
        ({"stop_at": 0.9}, measured(0.9), 0, 0, "an arm reached 0.9"),
        ({"stop_at": 0.9}, measured(0.8), 0, 0, None),
        ({"patience": 2}, measured(0.3, 0.2, 0.3), 0, 0, "the last 2 arms were no better"),
        ({"patience": 2}, measured(0.3, 0.2, 0.4), 0, 0, None),
        ({"patience": 2}, [], 0, 0, None),
        ({}, [*measured(0.3), *FAILED], 0, 0, "the last 5 arms failed"),
        ({}, [*FAILED, *measured(0.3)], 0, 0, None),
    ],
)
def test_every_bound_ends_a_search_and_says_so(
    told: dict[str, Any], past: list[Past], hours: float, tokens: float, reason: str | None
) -> None:
    search: Any = SimpleNamespace(search=SearchSpec(**told), training_tokens=1000)
    assert enough(search, past, "maximize", hours, tokens, machine_hour=2.0) == reason


def test_less_can_be_better() -> None:
    search: Any = SimpleNamespace(search=SearchSpec(stop_at=0.2), training_tokens=None)
    assert enough(search, measured(0.3), "minimize", 0, 0) is None
    assert enough(search, measured(0.3, 0.1), "minimize", 0, 0) == "an arm reached 0.2"
