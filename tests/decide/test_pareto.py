"""The front against its definition, with and without a tolerance for the noise of times."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.decide import verdict
from ftlab.decide.pareto import COST_TOLERANCE, Point, dominates, dominators, front

_COARSE = st.tuples(st.integers(0, 6), st.integers(0, 6).map(float))
_CLOSE = st.tuples(st.integers(0, 6), st.floats(1.0, 1.6))
_ANY = st.tuples(st.floats(0, 1), st.floats(0, 1e6))
_POINTS = st.lists(st.one_of(_COARSE, _CLOSE, _ANY), max_size=14).map(
    lambda pairs: [Point(str(index), float(quality), cost) for index, (quality, cost) in enumerate(pairs)]
)
_TOLERANCES = st.one_of(st.just(1.0), st.just(COST_TOLERANCE), st.floats(1.0, 3.0))


@given(_POINTS)
def test_without_a_tolerance_the_front_is_what_nothing_dominates(points: list[Point]):
    expected = {point.name for point in points if not any(dominates(other, point, 1.0) for other in points)}
    assert front(points, 1.0) == expected


@given(_POINTS, _TOLERANCES)
def test_the_front_is_empty_only_without_points(points: list[Point], tolerance: float):
    assert bool(front(points, tolerance)) == bool(points)


@given(_POINTS, _TOLERANCES)
def test_nobody_on_the_front_dominates_another_of_it(points: list[Point], tolerance: float):
    on_front = front(points, tolerance)
    chosen = [point for point in points if point.name in on_front]
    assert not [pair for pair in combinations(chosen, 2) if dominates(*pair, tolerance)]
    assert not [pair for pair in combinations(chosen, 2) if dominates(*reversed(pair), tolerance)]


@given(_POINTS, _TOLERANCES)
def test_everybody_else_is_dominated_by_somebody_on_the_front(points: list[Point], tolerance: float):
    found, on_front = dominators(points, tolerance), front(points, tolerance)
    assert set(found) == {point.name for point in points} - on_front
    assert set(found.values()) <= on_front
    by_name = {point.name: point for point in points}
    assert all(dominates(by_name[above], by_name[below], tolerance) for below, above in found.items())


@given(_POINTS, _TOLERANCES)
def test_the_best_and_what_is_clearly_cheaper_than_all_better_ones_are_on_it(points: list[Point], tolerance: float):
    on_front = front(points, tolerance)
    for point in points:
        better = [other for other in points if other.quality >= point.quality and other is not point]
        if all(other.cost > tolerance * point.cost for other in better):
            assert point.name in on_front


@given(_POINTS, _TOLERANCES, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(points: list[Point], tolerance: float, chance):
    shuffled = list(points)
    chance.shuffle(shuffled)
    assert front(shuffled, tolerance) == front(points, tolerance)


@given(_POINTS, _TOLERANCES)
def test_domination_has_no_circle(points: list[Point], tolerance: float):
    for a in points:
        for b in points:
            if dominates(a, b, tolerance):
                assert (a.quality, -a.cost) > (b.quality, -b.cost)


def test_equal_points_do_not_dominate_each_other():
    twins = [Point("a", 0.5, 1.0), Point("b", 0.5, 1.0)]
    assert front(twins) == {"a", "b"}
    assert dominators(twins) == {}


@pytest.mark.parametrize(("cost", "on_front"), [(1.0, {"good"}), (0.95, {"good"}), (0.85, {"good", "cheap"})])
def test_a_worse_arm_must_be_clearly_cheaper(cost: float, on_front: set[str]):
    assert front([Point("good", 0.6, 1.0), Point("cheap", 0.5, cost)]) == on_front


def test_equally_good_arms_within_the_noise_are_both_worth_a_look():
    assert front([Point("a", 0.6, 1.0), Point("b", 0.6, 1.05)]) == {"a", "b"}
    assert front([Point("a", 0.6, 1.0), Point("b", 0.6, 1.2)]) == {"a"}


def test_an_arm_is_not_dropped_for_one_that_is_dropped_itself():
    points = [Point("best", 0.9, 1.2), Point("middle", 0.8, 1.1), Point("cheap", 0.7, 1.0)]
    assert dominates(points[1], points[2])
    assert not dominates(points[0], points[2])
    assert front(points) == {"best", "cheap"}
    assert dominators(points) == {"middle": "best"}


def test_the_verdict_calls_the_same_costs_equal():
    assert verdict.COST_TOLERANCE is COST_TOLERANCE
