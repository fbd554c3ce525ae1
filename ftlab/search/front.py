"""What "best" means in a search with several objectives or constraints: the arms that none beats in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ftlab.search.base import Direction


@dataclass(frozen=True, slots=True)
class FrontArm:
    """An arm that keeps every constraint."""

    label: str
    values: tuple[float, ...]
    """One for each objective."""


@dataclass(frozen=True, slots=True)
class Front:
    """The best arms of one search."""

    method: str
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    arms: tuple[FrontArm, ...]
    """The best by the first objective first; none as long as no measured arm keeps the constraints."""
    broken: int
    """Measured arms that break a constraint."""


def non_dominated(arms: Iterable[FrontArm], directions: Sequence[Direction]) -> tuple[FrontArm, ...]:
    """The arms of which no other is at least as good in every objective and better in one."""
    signs = [1.0 if direction == "maximize" else -1.0 for direction in directions]
    points = [(tuple(sign * value for sign, value in zip(signs, arm.values, strict=True)), arm) for arm in arms]
    chosen = [
        (mine, arm)
        for mine, arm in points
        if not any(theirs != mine and all(a >= b for a, b in zip(theirs, mine, strict=True)) for theirs, _ in points)
    ]
    return tuple(arm for _, arm in sorted(chosen, key=lambda pair: pair[0], reverse=True))
