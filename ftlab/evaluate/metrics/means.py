"""Metrics whose value is the mean of the examples' scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ftlab.evaluate.metrics.base import Answer, Direction, Unit, sign_of
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult


class MeanMetric:
    """Give `score`. Scores of 0 and 1 alone get Wilson's interval, others a BCa bootstrap of their mean."""

    direction: Direction = "higher"
    unit: Unit = "share"
    corpus: ClassVar[bool] = False
    tasks: ClassVar[frozenset[TaskType]]
    Options: ClassVar[type[MetricOptions]] = MetricOptions

    def __init__(self, options: MetricOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    def read(self, answer: Answer) -> str | None:
        """The output itself; a metric that reads something out of it says what."""
        return answer.output.strip()

    def score(self, answer: Answer) -> float | None:
        """One example's score, or None where it has none."""
        raise NotImplementedError

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        """The mean of the scores there are."""
        scores = self._scores(answers)
        return math.fsum(scores) / len(scores) if scores else None

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        """Over the choice of the examples that have a score."""
        from ftlab.statistics.intervals import bootstrap_mean, wilson

        scores = self._scores(answers)
        if all(score in (0.0, 1.0) for score in scores) and self.unit == "share":
            return wilson(int(sum(scores)), len(scores))
        return bootstrap_mean(scores, seed)

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        """On the examples that both have a score for."""
        from ftlab.statistics.paired import paired_difference

        sign = sign_of(self.direction)
        scores = [(self.score(one), self.score(two)) for one, two in zip(baseline, other, strict=True)]
        both = [(sign * one, sign * two) for one, two in scores if one is not None and two is not None]
        return paired_difference([one for one, _ in both], [two for _, two in both], seed)

    def _scores(self, answers: Sequence[Answer]) -> list[float]:
        return [score for answer in answers if (score := self.score(answer)) is not None]
