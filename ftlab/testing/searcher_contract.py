"""What every searcher must do. Inherit, set `sampler`, and pytest does the rest."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ftlab.catalog import SEARCHERS
from ftlab.plan.identity import canonical_json
from ftlab.search.base import Past, Searcher, Space, State, propose_new
from ftlab.spec.searches import Dimension

RATE = Dimension(path=("learning_rate",), low=1e-5, high=1e-1, log=True)
RANK = Dimension(path=("r",), low=1, high=8)


def quality(values: dict[str, Any]) -> float:
    """1 at a learning rate of 1e-3 and a rank of 6, falling away from there."""
    return 1 - (math.log10(values.get("learning_rate", 1e-3)) + 3) ** 2 / 8 - (values.get("r", 6) - 6) ** 2 / 100


class SearcherContract:
    """The promises of a searcher."""

    sampler: ClassVar[str]
    dimensions: ClassVar[tuple[Dimension, ...]] = (RATE, RANK)
    arms: ClassVar[int] = 24

    def _space(self) -> Space:
        return Space(self.dimensions, ("maximize",), arms=self.arms)

    def _searcher(self) -> Searcher:
        searcher: Searcher = SEARCHERS.load(self.sampler)(self._space())
        return searcher

    def _search(self, failing: int = 0) -> list[Past]:
        """A whole search; the first `failing` arms fail."""
        past: list[Past] = []
        while len(past) < self.arms:
            proposal = propose_new(self._searcher(), self._space(), past, "s1", 0)
            if proposal is None:
                break
            if len(past) < failing:
                past.append(Past(proposal, State.FAILED))
            else:
                past.append(Past(proposal, State.COMPLETE, (quality(proposal.values),)))
        return past

    def test_every_value_is_in_its_range(self) -> None:
        """Whole numbers stay whole."""
        for one in self._search():
            for dimension in self.dimensions:
                value = one.proposal.values[dimension.field]
                assert dimension.low is not None
                assert dimension.high is not None
                assert dimension.low <= value <= dimension.high
                assert isinstance(value, int) == dimension.whole

    def test_nothing_is_proposed_twice(self) -> None:
        """Failed arms are tried again by whoever runs them, not by another proposal."""
        past = self._search(failing=3)
        assert len({canonical_json(one.proposal.values) for one in past}) == len(past) > 3

    def test_equal_records_give_equal_proposals(self) -> None:
        """So a search that was killed goes on as if it had not been."""
        assert self._search() == self._search()

    def test_the_optimum_is_come_near(self) -> None:
        """Within a tenth of the best there is."""
        assert max(one.objectives[0] for one in self._search() if one.objectives) > 0.9

    def test_running_arms_are_no_obstacle(self) -> None:
        """Several workers ask before the first has ended."""
        past: list[Past] = []
        for _ in range(4):
            proposal = propose_new(self._searcher(), self._space(), past, "s1", 0)
            assert proposal is not None
            past.append(Past(proposal, State.RUNNING))
        assert len({canonical_json(one.proposal.values) for one in past}) == 4
