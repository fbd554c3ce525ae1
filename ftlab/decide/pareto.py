"""Which arms are worth a look: those that no other arm beats in both quality and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One arm as two numbers. `quality`: more is better; `cost`: less is better."""

    name: str
    quality: float
    cost: float


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is at least as good and at least as cheap as `b`, and better in one of the two."""
    return a.quality >= b.quality and a.cost <= b.cost and (a.quality > b.quality or a.cost < b.cost)


def front(points: Sequence[Point]) -> set[str]:
    """The names of the points that no other point dominates; points that are equal in both are all on it."""
    on_front: set[str] = set()
    best = float("-inf")
    last: Point | None = None
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        equal = last is not None and (point.quality, point.cost) == (last.quality, last.cost)
        if point.quality > best or equal:
            on_front.add(point.name)
            best, last = max(best, point.quality), point
    return on_front


def dominators(points: Sequence[Point]) -> dict[str, str]:
    """For each dominated point the best point that dominates it; of equally good ones the cheapest, then the first."""
    found: dict[str, str] = {}
    for point in points:
        above = [other for other in points if dominates(other, point)]
        if above:
            found[point.name] = max(above, key=lambda other: (other.quality, -other.cost)).name
    return found
