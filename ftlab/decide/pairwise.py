"""Two fields of a search together: plain means, no model.

Optuna measures the importance of single fields and has no figure for two together. Here each field is cut in two,
numbers at their median and choices by their value, and the mean of every combination stands beside how many arms it
rests on. Where two halves each are left, the interaction is how much more a step in one field brings on one side of
the other than on the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from ftlab.decide.sweep import MethodSweep, SweepArm
from ftlab.decide.sweep_fields import SweepField
from ftlab.plan.identity import canonical_json

MOST_GROUPS = 6
"""Choices with more values than this are not tabled against each other."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some of a field's values."""

    over: float | None
    """Numbers above this; None for the others."""
    up_to: float | None
    """Numbers up to this; None for the others."""
    value: Any = None
    """The one choice of the group, where it is no half."""

    def holds(self, value: Any) -> bool:
        """Whether a value belongs to it."""
        if self.up_to is not None:
            return bool(value <= self.up_to)
        if self.over is not None:
            return bool(value > self.over)
        return canonical_json(value) == canonical_json(self.value)


@dataclass(frozen=True, slots=True)
class Cell:
    """The arms of one combination."""

    mean: float | None
    """None without an arm."""
    arms: int


@dataclass(frozen=True, slots=True)
class Pairwise:
    """The means of the deciding metric over two fields."""

    rows: tuple[Group, ...]
    columns: tuple[Group, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def interaction(self) -> float | None:
        """What stepping from the first to the second column brings more in the second row than in the first.

        None unless both fields have two groups and every combination has an arm.
        """
        means = [cell.mean for row in self.cells for cell in row]
        if len(self.rows) != 2 or len(self.columns) != 2 or any(mean is None for mean in means):
            return None
        a, b, c, d = (mean or 0.0 for mean in means)
        return (d - c) - (b - a)


def pairwise(method: MethodSweep, row: SweepField, column: SweepField) -> Pairwise | None:
    """Over the measured arms that have both fields; None where a field has one group, or too many."""
    arms = [arm for arm in method.measured if row.name in arm.values and column.name in arm.values]
    rows, columns = groups(row, arms), groups(column, arms)
    if not all(2 <= len(found) <= MOST_GROUPS for found in (rows, columns)):
        return None
    cells = tuple(
        tuple(
            _cell([arm for arm in arms if one.holds(arm.values[row.name]) and other.holds(arm.values[column.name])])
            for other in columns
        )
        for one in rows
    )
    return Pairwise(rows, columns, cells)


def groups(field: SweepField, arms: Sequence[SweepArm]) -> tuple[Group, ...]:
    """The halves of numbers, or the single choices, that these arms have."""
    tried = [arm.values[field.name] for arm in arms]
    if not tried:
        return ()
    if not field.numeric:
        return tuple(Group(None, None, one) for one in {canonical_json(value): value for value in tried}.values())
    middle = median(tried)
    below = [value for value in tried if value <= middle]
    if len(below) == len(tried):  # more than half of them are the largest
        below = [value for value in tried if value < middle]
    return (Group(None, max(below)), Group(max(below), None)) if below else ()


def _cell(arms: Sequence[SweepArm]) -> Cell:
    values = [arm.value for arm in arms if arm.value is not None]
    return Cell(fmean(values) if values else None, len(values))
