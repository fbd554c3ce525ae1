"""What a searcher is: a function of what is known that says what to try next.

A searcher keeps nothing between two calls. Whoever asks hands over every earlier proposal with what came of it, read
from the experiment's own files, so that a search that was killed goes on as if nothing had happened. Implementations
are named in `ftlab.catalog.SEARCHERS`; the contract that each must pass is
`ftlab.testing.searcher_contract.SearcherContract`.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from ftlab.plan.identity import canonical_json
from ftlab.spec.searches import MAX_POINTS, Dimension, space_size

Direction = Literal["maximize", "minimize"]
ASKS = 20
"""How often a searcher is asked for a point that is new before one is drawn at random."""
DRAWS = 1000
"""How many points of an endless space are drawn at random until one is new."""


class State(StrEnum):
    """What came of a proposal."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point of the space."""

    values: dict[str, Any]
    """By the field of each active dimension."""
    notes: dict[str, int] = field(default_factory=dict)
    """What the searcher must be told again about this point, the generation it belongs to, say."""


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier proposal and what came of it."""

    proposal: Proposal
    state: State
    objectives: tuple[float, ...] | None = None
    """One for each direction; None unless complete."""
    excess: tuple[float, ...] = ()
    """How far each constraint is broken; zero or less where it is kept."""
    losses: tuple[float, ...] = ()
    """The validation loss at each evaluation of its training, as far as it came."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a searcher is made for."""

    dimensions: tuple[Dimension, ...]
    """Those without a condition first."""
    directions: tuple[Direction, ...]
    constraints: int = 0
    """How many there are."""
    arms: int = 20
    """How many arms will be tried at most."""


class Searcher(Protocol):
    """Proposes points. Built as `Class(space)`."""

    def propose(self, past: Sequence[Past], seed: int) -> Proposal | None:
        """The next point after those of `past`, in the order they were proposed; None when there is none left.

        Equal arguments give equal answers. A point may be one that was proposed before.
        """


def seed_of(search_id: str, seed: int, number: int, turn: int = 0) -> int:
    """A seed of 32 bits for one proposal of one search."""
    return int.from_bytes(hashlib.sha256(f"{search_id}/{seed}/{number}/{turn}".encode()).digest()[:4], "big")


def propose_new(searcher: Searcher, space: Space, past: Sequence[Past], search_id: str, seed: int) -> Proposal | None:
    """A point that was never proposed before; None when the whole space was."""
    seen = {canonical_json(one.proposal.values) for one in past}
    for turn in range(ASKS):
        proposal = searcher.propose(past, seed_of(search_id, seed, len(past), turn))
        if proposal is None:
            return None
        if canonical_json(proposal.values) not in seen:
            return proposal
    chance = random.Random(seed_of(search_id, seed, len(past), ASKS))
    size = space_size(space.dimensions)
    if size is not None and size <= MAX_POINTS:
        left = [values for values in all_points(space.dimensions) if canonical_json(values) not in seen]
        return Proposal(chance.choice(left)) if left else None
    for _ in range(DRAWS):
        values = random_point(space.dimensions, chance)
        if canonical_json(values) not in seen:
            return Proposal(values)
    return None


def all_points(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Every distinct point of a finite space; the last dimension turns fastest."""
    seen = set()
    for chosen in itertools.product(*(dimension.values() for dimension in dimensions)):
        values: dict[str, Any] = {}
        for dimension, value in zip(dimensions, chosen, strict=True):
            if dimension.active(values):
                values[dimension.field] = value
        if (text := canonical_json(values)) not in seen:
            seen.add(text)
            yield values


def random_point(dimensions: Sequence[Dimension], chance: random.Random) -> dict[str, Any]:
    """One point, evenly drawn; evenly over orders of magnitude where a dimension says so."""
    values: dict[str, Any] = {}
    for dimension in dimensions:
        if dimension.active(values):
            values[dimension.field] = scaled(dimension, chance.random())
    return values


def scaled(dimension: Dimension, share: float) -> Any:
    """The value at a share, 0 to 1, of a dimension's range."""
    count = dimension.count()
    if count is not None and not dimension.log:
        if dimension.choices is not None:
            return dimension.choices[min(int(share * count), count - 1)]
        return dimension.low + min(int(share * count), count - 1) * (dimension.step or 1)  # type: ignore[operator]
    low, high = float(dimension.low or 0), float(dimension.high or 0)
    value = low * (high / low) ** share if dimension.log else low + (high - low) * share
    value = min(max(value, low), high)
    return round(value) if dimension.whole else value
