"""What every pruner must do. Inherit, set `pruner`, and pytest does the rest."""

from __future__ import annotations

import random
from typing import ClassVar

from ftlab.catalog import PRUNERS
from ftlab.search.pruners import Course, Field, Pruner
from ftlab.spec.pruning import PrunerName, PrunerSpec

EVALUATIONS = 9
ROWS = 30


class PrunerContract:
    """The promises of a pruner."""

    pruner: ClassVar[PrunerName]

    def _pruner(self, search_id: str = "s1") -> Pruner:
        pruner: Pruner = PRUNERS.load(self.pruner)(PrunerSpec(type=self.pruner), Field(search_id, EVALUATIONS))
        return pruner

    def _course(self, level: float, seen: int = EVALUATIONS) -> Course:
        """A training that falls towards a level, as far as `seen` evaluations."""
        draw = random.Random(level)
        losses = tuple(level + 1 / turn for turn in range(1, seen + 1))
        scores = tuple(tuple(loss + draw.gauss(0, 0.05) for _ in range(ROWS)) for loss in losses)
        return Course(losses, scores, complete=seen == EVALUATIONS)

    def _ended(self, level: float, others: list[Course], search_id: str = "s1") -> int | None:
        """After which evaluation an arm of this level is ended beside others; None when never."""
        for seen in range(1, EVALUATIONS):
            if self._pruner(search_id).hopeless([*others, self._course(level, seen)], len(others)) is not None:
                return seen
        return None

    def _searches(self, level: float, others: list[float]) -> list[int | None]:
        """The same in twelve searches: a pruner may spare some arms by chance, but not all."""
        return [self._ended(level, [self._course(one) for one in others], f"s{place}") for place in range(12)]

    def test_the_only_arm_goes_on(self) -> None:
        """There is nothing to be worse than."""
        assert self._ended(5.0, []) is None

    def test_the_best_arm_is_never_ended(self) -> None:
        """Nor one as good as the best."""
        for level in (0.5, 1.0):
            assert set(self._searches(level, [1.0, 2.0, 3.0, 4.0])) == {None}

    def test_a_hopeless_arm_is_ended_early(self) -> None:
        """In most searches before the half."""
        ended = self._searches(9.0, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
        assert sum(one is not None and one <= EVALUATIONS // 2 for one in ended) > len(ended) / 2

    def test_equal_records_give_equal_verdicts(self) -> None:
        """So a search that was killed judges as if it had not been."""
        assert self._searches(2.0, [1.0, 3.0, 1.5]) == self._searches(2.0, [1.0, 3.0, 1.5])

    def test_arms_without_a_course_are_no_obstacle(self) -> None:
        """Several workers begin before the first has been evaluated; others failed before they were."""
        courses = [Course(), self._course(1.0), Course(), self._course(1.0, 1)]
        assert self._pruner().hopeless(courses, 3) is None

    def test_the_reason_is_a_clause_with_figures(self) -> None:
        """It stands behind `stopped at step N:` wherever the arm is shown."""
        others = [self._course(level) for level in (1.0, 1.1, 1.2, 1.3)]
        for place in range(12):
            for seen in range(1, EVALUATIONS):
                pruner = self._pruner(f"s{place}")
                if (reason := pruner.hopeless([*others, self._course(9.0, seen)], len(others))) is not None:
                    assert any(sign.isdigit() for sign in reason)
                    assert "\n" not in reason
                    assert len(reason) < 200
                    return
        raise AssertionError("a hopeless arm was never ended")
