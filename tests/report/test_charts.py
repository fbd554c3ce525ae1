"""The two charts: right places, one mark for each arm, nothing outside the frame."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.report.charts import NARROW, WIDE, Scale, forest, nice_ticks, scatter


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_round_inside_and_not_too_many(low: float, span: float, about: int):
    ticks = nice_ticks(low, low + span, about)
    assert len(ticks) <= about + 2
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)


def test_scales_map_their_ends():
    linear, log = Scale(-2, 8, 100, 300), Scale(1, 1000, 0, 30, log=True)
    assert (linear(-2), linear(8), linear(3)) == (100, 300, 200)
    assert log(10) == pytest.approx(10)


def _wide(markup: str) -> str:
    return markup.split('<div class="chart narrow">')[0]


def test_the_forest_has_a_row_for_each_difference(ordinary):
    view = ordinary.view
    arms = [arm for arm in view.arms if arm.difference]
    markup = str(forest(view))
    assert _wide(markup).count("<title>") == len(arms)
    for arm in arms:
        assert arm.label in markup
    circles = len(re.findall(r"<circle", _wide(markup)))
    assert circles == sum(arm.family == "prompt" for arm in arms)


@pytest.mark.parametrize("draw", [forest, scatter])
def test_nothing_lies_outside_the_frame(ordinary, draw):
    wide, narrow = str(draw(ordinary.view)).split('<div class="chart narrow">')
    for markup, width in ((wide, WIDE), (narrow, NARROW)):
        xs = [float(x) for x in re.findall(r'(?:\bx|x1|x2|cx)="(-?[\d.]+)"', markup)]
        assert min(xs) >= 0
        assert max(xs) <= width


def test_better_arms_are_drawn_further_right(ordinary):
    markup = _wide(str(forest(ordinary.view)))
    places = dict(re.findall(r"<title>([^:<]+):[^<]*</title>.*?<(?:circle cx|polygon points)=\"([\d.]+)", markup))
    arms = sorted(
        (arm for arm in ordinary.view.arms if arm.difference and arm.family == "prompt"),
        key=lambda arm: arm.difference.estimate.value,
    )
    xs = [float(places[arm.label]) for arm in arms]
    assert xs == sorted(xs)


def test_nothing_to_draw_is_nothing(ordinary):
    empty = ordinary.view.model_copy(update={"arms": ordinary.view.arms[:1]})
    assert forest(empty) == ""
    assert scatter(empty) == ""
