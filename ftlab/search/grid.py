"""Every point of a finite space, in the order of the spec."""

from __future__ import annotations

from collections.abc import Sequence

from ftlab.plan.identity import canonical_json
from ftlab.search.base import Past, Proposal, Space, all_points


class Grid:
    """The first point that was not proposed yet."""

    def __init__(self, space: Space) -> None:
        self._dimensions = space.dimensions

    def propose(self, past: Sequence[Past], seed: int) -> Proposal | None:
        """Does without the seed."""
        seen = {canonical_json(one.proposal.values) for one in past}
        fresh = (values for values in all_points(self._dimensions) if canonical_json(values) not in seen)
        values = next(fresh, None)
        return None if values is None else Proposal(values)
