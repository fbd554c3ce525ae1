"""Which arms are worth a look: those that no other arm of them beats in quality at about the same cost or a lower one.

Costs are measured times, and times of one machine differ by a tenth from one measurement to the next, so costs within
`COST_TOLERANCE` of each other count as equal. Being about equal does not carry over: a costs about as much as b and b
as c, and still a may cost clearly more than c. Taking "nobody dominates it" for the front would then drop a c whose
only dominator is a b that is itself dominated by an a too dear to stand in for c. So the front is the one set in which
no arm dominates another and from which every arm outside is dominated: the kernel of the relation. It exists and is
unique because the relation has no circle (quality never falls along it, and at equal quality the cost does), and with
a tolerance of 1 it is the ordinary Pareto front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COST_TOLERANCE = 1.1
"""Costs within a tenth of each other are equal: repeated measurements on one machine differ by as much."""


@dataclass(frozen=True, slots=True)
class Point:
    """One arm as two numbers. `quality`: more is better; `cost`: less is better, at least 0."""

    name: str
    quality: float
    cost: float


def dominates(a: Point, b: Point, tolerance: float = COST_TOLERANCE) -> bool:
    """Whether `a` is better than `b` and at most about as dear, or as good and clearly cheaper."""
    if a.quality > b.quality:
        return a.cost <= tolerance * b.cost
    return a.quality == b.quality and tolerance * a.cost < b.cost


def front(points: Sequence[Point], tolerance: float = COST_TOLERANCE) -> set[str]:
    """The names of the points on the front: none of them dominates another, each point outside has a dominator here.

    Never empty where there are points; points that are equal in both are on it together or not at all.
    """
    return {point.name for point in _front(points, tolerance)}


def _front(points: Sequence[Point], tolerance: float) -> list[Point]:
    """The points of the front, the best first and of equals the cheapest. Takes time for sorting only."""
    chosen: list[Point] = []
    cheapest_better: Point | None = None
    cheapest_equal: Point | None = None
    # Whoever dominates a point comes before it, so that one pass decides; and of those that are better on the front the
    # cheapest dominates whatever any of them does, as does the cheapest of those that are as good.
    for point in sorted(points, key=lambda point: (-point.quality, point.cost)):
        if cheapest_equal is not None and point.quality < cheapest_equal.quality:
            if cheapest_better is None or cheapest_equal.cost < cheapest_better.cost:
                cheapest_better = cheapest_equal
            cheapest_equal = None
        if not any(other and dominates(other, point, tolerance) for other in (cheapest_better, cheapest_equal)):
            chosen.append(point)
            cheapest_equal = cheapest_equal or point
    return chosen


def dominators(points: Sequence[Point], tolerance: float = COST_TOLERANCE) -> dict[str, str]:
    """For each point off the front the best point of the front that dominates it; of equals the cheapest, the first."""
    chosen = _front(points, tolerance)
    on_front = {point.name for point in chosen}
    # Of points that are as good, the cheapest dominates whatever any of them does.
    leading: dict[float, Point] = {}
    for point in chosen:
        leading.setdefault(point.quality, point)
    return {
        point.name: next(other.name for other in leading.values() if dominates(other, point, tolerance))
        for point in points
        if point.name not in on_front
    }
