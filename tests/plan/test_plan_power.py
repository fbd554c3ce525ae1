"""What the rows can show, said before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from ftlab.plan.power import sights
from ftlab.plan.run import Plan


def test_each_split_is_judged_by_what_is_compared_there(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    candidates = [arm for arm in plan.arms if arm.family in ("prompt", "adapter", "full")]
    trained = {arm.method_name for arm in candidates if arm.family != "prompt"}
    validation, test = sights(plan, {"train": 500, "validation": 400, "test": 400})
    assert (validation.split, validation.compared) == ("validation", len(candidates) - 1)
    assert (test.split, test.compared) == ("test", len(trained))
    assert validation.effect is not None
    assert test.effect is not None
    assert validation.effect > test.effect, "more arms compared need a larger difference"
    # One arm: (1.96 + 0.84) * sqrt(0.2 / 400) = 0.0626, and the sealed rows have at least one.
    assert test.effect >= 2.8 * math.sqrt(0.2 / 400) - 0.001


def test_more_rows_show_less(make_plan: Callable[..., Plan]) -> None:
    effects = [sights(make_plan(), {"validation": rows})[0].effect for rows in (400, 1600, 6400)]
    assert effects[0] is not None
    assert effects[1] == pytest.approx(effects[0] / 2, rel=0.02)
    assert effects[2] == pytest.approx(effects[0] / 4, rel=0.02)


def test_rows_too_few_for_anything_are_said_to_be_so(make_plan: Callable[..., Plan]) -> None:
    (sight,) = sights(make_plan(), {"validation": 5, "test": 0})
    assert sight.effect is None
    assert sight.words.startswith("5 validation rows are too few to show any difference")
