"""CMA-ES (extra `cmaes`). Its state is grown anew from what is known: Optuna would have it in a pickle."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftlab.search.base import Past, Proposal, Space, State, scaled
from ftlab.spec.searches import Dimension

SIGMA = 1 / 6
"""The first spread, as a share of the range: Optuna's own."""


class CmaEs:
    """Works on the unit cube, one side for each field."""

    def __init__(self, space: Space) -> None:
        self._dimensions = space.dimensions
        self._sign = -1.0 if space.directions[0] == "maximize" else 1.0

    def propose(self, past: Sequence[Past], seed: int) -> Proposal | None:
        """See `Searcher`."""
        import numpy as np
        from cmaes import CMA  # type: ignore[import-untyped]

        count = len(self._dimensions)
        # In one dimension the method is not defined; a second one that means nothing makes it so.
        sides = max(2, count)
        bounds = np.tile([0.0, 1.0], (sides, 1))
        optimizer = CMA(mean=np.full(sides, 0.5), sigma=SIGMA, bounds=bounds, seed=seed)
        told = [
            (np.array(self._shares(one.proposal.values) + [0.5] * (sides - count)), self._sign * one.objectives[0])
            for one in past
            if one.state is State.COMPLETE and one.objectives is not None
        ]
        size = optimizer.population_size
        for start in range(0, len(told) - size + 1, size):
            optimizer.tell(told[start : start + size])
        point = optimizer.ask()
        values = zip(self._dimensions, point[:count], strict=True)
        return Proposal({dimension.field: scaled(dimension, float(share)) for dimension, share in values})

    def _shares(self, values: dict[str, float]) -> list[float]:
        return [_share(dimension, float(values[dimension.field])) for dimension in self._dimensions]


def _share(dimension: Dimension, value: float) -> float:
    low, high = float(dimension.low or 0), float(dimension.high or 0)
    if dimension.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
