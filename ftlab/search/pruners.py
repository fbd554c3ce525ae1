"""When an arm of a search is hopeless. What is compared is the validation loss at equal shares of the training.

Decisions are those of Optuna's pruners of the same names, in words besides; the tests hold both side by side. A pruner
keeps nothing between two calls, as a searcher does. Implementations are named in `ftlab.catalog.PRUNERS`; the contract
that each must pass is `ftlab.testing.pruner_contract.PrunerContract`.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Protocol

from ftlab.spec.pruning import PrunerSpec


@dataclass(frozen=True, slots=True)
class Course:
    """What the training of one arm has shown so far."""

    losses: tuple[float, ...] = ()
    """The validation loss at each evaluation, the first first."""
    scores: tuple[tuple[float, ...] | None, ...] = ()
    """At each evaluation the loss of every validation row in the order of the rows; None where it is not known."""
    complete: bool = False
    """Whether the training came to its planned end."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a pruner is made for."""

    search_id: str
    evaluations: int
    """How many a whole training has."""


class Pruner(Protocol):
    """Ends hopeless arms. Built as `Class(spec, field)`."""

    def hopeless(self, courses: Sequence[Course], number: int) -> str | None:
        """Why arm `number` is to be ended after its newest evaluation, or None. `courses` has every arm by number.

        Equal arguments give equal answers.
        """


class Median:
    """Worse than half of the finished arms were at the same point."""

    def __init__(self, spec: PrunerSpec, field: Field) -> None:
        self._spec = spec

    def hopeless(self, courses: Sequence[Course], number: int) -> str | None:
        """See `Pruner`. The best loss so far counts, so that one bad evaluation ends nothing."""
        losses = courses[number].losses
        turn = len(losses)
        others = [one.losses[turn - 1] for one in courses if one.complete and len(one.losses) >= turn]
        if turn < self._spec.min_evaluations or sum(one.complete for one in courses) < self._spec.startup_arms:
            return None
        if not others or min(losses) <= (middle := median(others)):
            return None
        return f"a validation loss of {min(losses):.4g}, above the median of {len(others)} finished arms, {middle:.4g}"


class Halving:
    """Asynchronous successive halving: at each rung, only the best 1 in `reduction_factor` go on."""

    def __init__(self, spec: PrunerSpec, field: Field) -> None:
        self._spec = spec

    def hopeless(self, courses: Sequence[Course], number: int) -> str | None:
        """See `Pruner`."""
        return self.at_rung(courses, number, 0)

    def at_rung(self, courses: Sequence[Course], number: int, late: int) -> str | None:
        """The same with the first rung `late` rungs later."""
        losses, factor = courses[number].losses, self._spec.reduction_factor
        rung = self._spec.min_evaluations * factor**late
        while rung < len(losses):
            rung *= factor
        if rung != len(losses):
            return None
        rivals = sorted(one.losses[rung - 1] for one in courses if len(one.losses) >= rung)
        go_on = max(1, len(rivals) // factor)
        if losses[-1] <= rivals[go_on - 1]:
            return None
        place = rivals.index(losses[-1]) + 1
        at = f"evaluation {rung}" if rung > 1 else "the first evaluation"
        return f"a validation loss of {losses[-1]:.4g}, number {place} of {len(rivals)} arms at {at}; {go_on} may go on"


class Hyperband:
    """Several halvings side by side that differ in how long an arm is left in peace."""

    def __init__(self, spec: PrunerSpec, field: Field) -> None:
        self._halving = Halving(spec, field)
        self._search_id = field.search_id
        factor, rungs = spec.reduction_factor, 1
        while spec.min_evaluations * factor**rungs <= field.evaluations:
            rungs += 1
        # The shares of arms as in the paper (arXiv:1603.06560), algorithm 1.
        self._shares = [math.ceil(rungs * factor**left / (left + 1)) for left in reversed(range(rungs))]

    def bracket(self, number: int) -> int:
        """The halving that an arm belongs to: how many rungs later its first one is. It depends on nothing else."""
        place = binascii.crc32(f"{self._search_id}_{number}".encode()) % sum(self._shares)
        for bracket, share in enumerate(self._shares):
            if place < share:
                return bracket
            place -= share
        raise AssertionError("a remainder is less than the sum")

    def hopeless(self, courses: Sequence[Course], number: int) -> str | None:
        """See `Pruner`."""
        mine = self.bracket(number)
        rivals = [place for place in range(len(courses)) if self.bracket(place) == mine]
        return self._halving.at_rung([courses[place] for place in rivals], rivals.index(number), mine)


class Wilcoxon:
    """Worse on the same validation rows than the best finished arm was at the same point."""

    def __init__(self, spec: PrunerSpec, field: Field) -> None:
        self._spec = spec

    def hopeless(self, courses: Sequence[Course], number: int) -> str | None:
        """See `Pruner`. An arm whose mean is no worse is never ended, whatever the ranks say."""
        from scipy.stats import wilcoxon

        turn = len(courses[number].losses)
        finished = [one for one in courses if one.complete and one.losses]
        if turn < self._spec.min_evaluations or len(finished) < self._spec.startup_arms:
            return None
        best = min(finished, key=lambda one: one.losses[-1])
        mine, theirs = _scores(courses[number], turn), _scores(best, turn)
        if mine is None or theirs is None or len(mine) != len(theirs) or len(mine) < 2 or fmean(mine) <= fmean(theirs):
            return None
        differences = [own - other for own, other in zip(mine, theirs, strict=True)]
        p = float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)
        if p >= self._spec.p:
            return None
        worse = sum(difference > 0 for difference in differences)
        return f"worse than the best arm on {worse} of {len(mine)} validation rows (signed-rank test, p = {p:.2g})"


def _scores(course: Course, turn: int) -> tuple[float, ...] | None:
    return course.scores[turn - 1] if len(course.scores) >= turn else None
