"""The front against a direct reading of its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftlab.decide.pareto import Point, dominates, dominators, front

_POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12).map(
    lambda pairs: [Point(str(index), float(quality), float(cost)) for index, (quality, cost) in enumerate(pairs)]
)


@given(_POINTS)
def test_the_front_is_what_nothing_dominates(points: list[Point]):
    expected = {point.name for point in points if not any(dominates(other, point) for other in points)}
    assert front(points) == expected


@given(_POINTS)
def test_every_other_point_has_a_dominator_on_the_front(points: list[Point]):
    found = dominators(points)
    assert set(found) == {point.name for point in points} - front(points)
    by_name = {point.name: point for point in points}
    assert all(dominates(by_name[above], by_name[below]) for below, above in found.items())


def test_equal_points_do_not_dominate_each_other():
    twins = [Point("a", 0.5, 1.0), Point("b", 0.5, 1.0)]
    assert front(twins) == {"a", "b"}
    assert dominators(twins) == {}
