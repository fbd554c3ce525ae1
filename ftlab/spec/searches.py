"""What a search may be told, the space that it searches, and which of both go together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import Field

from ftlab.spec.block import Block
from ftlab.spec.pruning import PrunerName, PrunerSpec, pruner_problem

DEFAULT_ARMS = 20
"""How many arms a search tries when nothing bounds it."""
MAX_POINTS = 10_000
"""The largest space that is listed point by point."""

Path = tuple[str | int, ...]
Number = int | float


class SearchSpec(Block):
    """A search over a method's ranges."""

    sampler: Literal["tpe", "random", "gp", "cmaes", "nsga2", "grid"] = "tpe"
    """Proposes the next arm."""
    arms: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many arms to try, failed and pruned ones included; 20 when nothing else bounds the search."""
    pruner: PrunerName | PrunerSpec = "none"
    """Ends hopeless arms early: a name, or `{type: hyperband, reduction_factor: 4}`."""
    budget_hours: Annotated[float, Field(gt=0)] | None = None
    """Propose nothing more once the arms of this search have worked for so many hours."""
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    """Propose nothing more once the arms of this search have cost so much: their hours at `prices.machine_hour`."""
    stop_at: float | None = None
    """Propose nothing more once an arm is this good on validation."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Propose nothing more after so many measured arms without a better one."""
    objectives: Annotated[list[str], Field(min_length=1, max_length=4)] = Field(default=["quality"])
    """What is made better: `quality` (the deciding metric on validation), `forgetting` (the worst loss against the base
    over the benchmarks, in shares), `train_seconds`, `train_tokens`,
    `peak_memory_bytes`, `artifact_bytes`, `seconds_per_1k`."""
    constraints: list[str] = Field(default_factory=list)
    """What an arm must keep to: a metric of the task, `forgetting` or a cost, e.g. `valid_format >= 0.98`,
    `forgetting <= 0.02`."""
    seed: int = 0
    """Makes the proposals repeatable."""

    @property
    def pruning(self) -> PrunerSpec:
        """The pruner with its settings."""
        return self.pruner if isinstance(self.pruner, PrunerSpec) else PrunerSpec(type=self.pruner)


COSTS = ("train_seconds", "train_tokens", "peak_memory_bytes", "artifact_bytes", "seconds_per_1k")
"""Objectives that the summaries of a run's stages hold; less is better."""
FORGETTING = "forgetting"
OBJECTIVES = ("quality", FORGETTING, *COSTS)
SEVERAL_OBJECTIVES = ("tpe", "random", "nsga2", "grid")
WITH_CONSTRAINTS = ("tpe", "gp", "nsga2")
NEEDS = {"gp": ("torch", "pip install torch"), "cmaes": ("cmaes", "pip install 'ftlab[cmaes]'")}
"""The package that a sampler cannot do without, and how to get it."""

_CONSTRAINT = re.compile(r"\s*([A-Za-z][\w/@.-]*)\s*(<=|>=)\s*(-?[0-9.]+(?:e-?[0-9]+)?)\s*")


class Constraint(Block):
    """`name <= limit` or `name >= limit`."""

    name: str
    sign: Literal["<=", ">="]
    limit: float

    def excess(self, value: float) -> float:
        """How far `value` breaks it; zero or less where it is kept."""
        return value - self.limit if self.sign == "<=" else self.limit - value


def parse_constraint(text: str) -> Constraint | None:
    """The constraint that a text says, or None for what is none."""
    match = _CONSTRAINT.fullmatch(text)
    try:
        return Constraint(name=match[1], sign=match[2], limit=float(match[3])) if match else None
    except ValueError:
        return None


class Dimension(Block):
    """One field that a search gives a value."""

    path: tuple[str | int, ...]
    """Where the field stands in its method."""
    choices: list[Any] | None = None
    """The values to choose from; None for an interval."""
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None
    when: dict[str, list[Any]] = Field(default_factory=dict)
    """Proposed only where each of these fields has one of these values."""

    @property
    def field(self) -> str:
        """The path with dots."""
        return ".".join(map(str, self.path))

    @property
    def whole(self) -> bool:
        """Whether an interval holds whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether the field gets a value next to these."""
        return all(field in values and values[field] in allowed for field, allowed in self.when.items())

    def count(self) -> int | None:
        """How many values there are; None for a continuum."""
        if self.choices is not None:
            return len(self.choices)
        if self.low is None or self.high is None or not (self.whole or self.step):
            return None
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def values(self) -> list[Any]:
        """Every value of a dimension that has a `count`, rising or as given."""
        if self.choices is not None:
            return list(self.choices)
        count, low, step = self.count(), self.low, self.step or 1
        if count is None or low is None:
            raise ValueError(f"'{self.field}' has no finite number of values")
        return [low + index * step for index in range(count)]


def read_dimensions(fields: Mapping[str, Any], found: Sequence[tuple[Path, str]]) -> list[Dimension]:
    """The dimensions of a method's checked form, those without a condition first."""
    dimensions = []
    for path, kind in found:
        value: Any = fields
        for part in path:
            value = value[part]
        when = {field: one if isinstance(one, list) else [one] for field, one in value.get("when", {}).items()}
        if kind == "choice":
            dimensions.append(Dimension(path=path, choices=value["choice"], when=when))
        else:
            interval = {key: value[key] for key in ("low", "high", "log", "step") if value.get(key) is not None}
            dimensions.append(Dimension(path=path, when=when, **interval))
    return sorted(dimensions, key=lambda dimension: bool(dimension.when))


def space_size(dimensions: Sequence[Dimension]) -> int | None:
    """How many points a space has at most, conditions not counted; None for a continuum."""
    counts = [dimension.count() for dimension in dimensions]
    return None if None in counts else math.prod(count for count in counts if count is not None)


Finding = tuple[Path, str]


def search_problems(
    search: SearchSpec, dimensions: Sequence[Dimension], evaluations: object = None
) -> Iterator[Finding]:
    """What in a search cannot be, each with its place below the method; `evaluations` is the method's field."""
    yield from _sampler_problems(search, dimensions)
    yield from _aim_problems(search)
    if (problem := pruner_problem(search.pruning, evaluations, search.objectives)) is not None:
        yield ("search", "pruner"), problem
    free = {dimension.field: dimension for dimension in dimensions if not dimension.when}
    for dimension in dimensions:
        for field, allowed in dimension.when.items():
            place = (*dimension.path, "when", field)
            other = free.get(field)
            if len(dimension.path) > 1:
                yield place, "expected a condition on a field of the method itself, not on one inside a block"
            elif other is None:
                yield place, f"expected a searched field without a condition of its own, found '{field}'"
            elif other.choices is not None and (odd := [value for value in allowed if value not in other.choices]):
                yield place, f"expected values that '{field}' can have, found {odd[0]!r}"


def _sampler_problems(search: SearchSpec, dimensions: Sequence[Dimension]) -> Iterator[Finding]:
    place = ("search", "sampler")
    package, install = NEEDS.get(search.sampler, ("", ""))
    if package and find_spec(package) is None:
        yield place, f"the sampler '{search.sampler}' needs the package {package}: {install}"
    if search.sampler in ("gp", "cmaes"):
        if search.sampler == "gp" and all(dimension.choices is not None for dimension in dimensions):
            yield place, "'gp' needs a {low, high} range to search over; for choices alone use tpe"
        if any(dimension.when for dimension in dimensions):
            yield place, f"'{search.sampler}' searches no fields with 'when'; use tpe, random or nsga2"
    if search.sampler == "cmaes":
        for dimension in dimensions:
            if dimension.choices is not None:
                yield dimension.path, "'cmaes' searches numbers alone; give low and high, or use tpe"
    if search.sampler == "grid":
        for dimension in dimensions:
            if dimension.count() is None:
                yield dimension.path, "a grid needs a finite range; add 'step', give {choice: [...]}, or use random"
        size = space_size(dimensions)
        if size is not None and size > MAX_POINTS:
            yield place, f"expected a grid of at most {MAX_POINTS:,} points, found {size:,}"


def _aim_problems(search: SearchSpec) -> Iterator[Finding]:
    for index, objective in enumerate(search.objectives):
        if objective not in OBJECTIVES:
            known = ", ".join(OBJECTIVES)
            yield ("search", "objectives", index), f"unknown objective '{objective}' (known: {known})"
        elif objective in search.objectives[:index]:
            yield ("search", "objectives", index), f"expected each objective once, found '{objective}' again"
    if len(search.objectives) > 1:
        if search.sampler not in SEVERAL_OBJECTIVES:
            able = ", ".join(SEVERAL_OBJECTIVES)
            yield ("search", "sampler"), f"'{search.sampler}' has one objective; for several use one of {able}"
        for key in ("stop_at", "patience"):
            if getattr(search, key) is not None:
                yield ("search", key), f"'{key}' needs a single objective, found {len(search.objectives)}"
    for index, text in enumerate(search.constraints):
        if parse_constraint(text) is None:
            yield ("search", "constraints", index), f"expected 'name <= number' or 'name >= number', found '{text}'"
    if search.constraints and search.sampler not in WITH_CONSTRAINTS:
        able = ", ".join(WITH_CONSTRAINTS)
        yield ("search", "constraints"), f"'{search.sampler}' heeds no constraints; use one of {able}"
