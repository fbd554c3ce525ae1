"""The fields that a method's search or grid varies: what was tried, and on what kind of axis it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftlab.decide.fairness import is_number
from ftlab.plan.identity import canonical_json
from ftlab.spec.searches import Dimension

WIDE = 20.0
"""A grid's positive numbers are drawn on a logarithmic axis once the largest is so many times the smallest."""


@dataclass(frozen=True, slots=True)
class SweepField:
    """A field that differs among the arms of a method."""

    name: str
    values: tuple[Any, ...]
    """What was tried, numbers rising; of choices all that may be."""
    log: bool
    """Whether the space, or the grid's width, calls for a logarithmic axis."""
    dimension: Dimension

    @property
    def numeric(self) -> bool:
        """Whether it is drawn along an axis of numbers."""
        return all(is_number(value) for value in self.values)


def sweep_fields(varied: Sequence[Mapping[str, Any]], dimensions: Iterable[Dimension]) -> tuple[SweepField, ...]:
    """Those of the search, then those that the arms differ in besides: the model, say, or all of a grid's."""
    spaces = {one.field: one for one in dimensions}
    fields = []
    for name in dict.fromkeys([*spaces, *(name for values in varied for name in values)]):
        tried = list({canonical_json(values[name]): values[name] for values in varied if name in values}.values())
        space = spaces.get(name)
        if space is not None and space.choices is None and all(map(is_number, tried)):
            fields.append(_interval(name, space, tried))
        elif space is not None or len(tried) > 1:
            fields.append(_choices(name, space, tried))
    return tuple(fields)


def _interval(name: str, space: Dimension, tried: list[Any]) -> SweepField:
    """An earlier plan's arms may lie outside what the spec says today: the axis and Optuna take them in."""
    reach = [one for one in (space.low, space.high, *tried) if one is not None]
    wider = {"low": min(reach), "high": max(reach)}
    dimension = space.model_copy(update=wider if min(reach) != space.low or max(reach) != space.high else {})
    return SweepField(name, tuple(sorted(tried)), space.log, dimension)


def _choices(name: str, space: Dimension | None, tried: list[Any]) -> SweepField:
    offered = space.choices if space is not None and space.choices is not None else []
    values = list({canonical_json(value): value for value in [*offered, *tried]}.values())
    numeric = all(is_number(value) for value in values)
    if numeric:
        values.sort()
    log = numeric and bool(values) and values[0] > 0 and values[-1] / values[0] >= WIDE
    when = space.when if space is not None else {}
    path = space.path if space is not None else tuple(name.split("."))
    return SweepField(name, tuple(values), log, Dimension(path=path, choices=values, when=when))
