"""Metrics of a whole corpus: computed from sums over the examples, so that a resample costs one weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ftlab.evaluate.metrics.base import Answer, Direction, Unit, sign_of
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    import numpy as np

    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult


class CorpusMetric:
    """Give `table` and `of_draws`: what an example adds to the sums, and the metric of the sums.

    The interval is a percentile bootstrap over the examples; comparisons draw the same examples for both systems.
    """

    direction: Direction = "higher"
    unit: Unit = "share"
    corpus: ClassVar[bool] = True
    tasks: ClassVar[frozenset[TaskType]]
    Options: ClassVar[type[MetricOptions]] = MetricOptions

    def __init__(self, options: MetricOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    def read(self, answer: Answer) -> str | None:
        """The output itself; a metric that reads something out of it says what."""
        return answer.output.strip()

    def score(self, answer: Answer) -> float | None:
        """The metric of one example by itself, for showing; the value is not their mean."""
        return self.aggregate([answer], ())

    def table(self, answers: Sequence[Answer]) -> np.ndarray:
        """`(n, k)`: what each example adds to the k sums."""
        raise NotImplementedError

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        """The metric of sums `(draws, k)`, as `(draws,)`; NaN where there is nothing to divide by."""
        raise NotImplementedError

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        """The metric of the sums over all answers."""
        import math

        if not answers:
            return None
        value = float(self.of_sums(self.table(answers).sum(axis=0, keepdims=True))[0])
        return value if math.isfinite(value) else None

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        """Over the choice of examples."""
        from ftlab.statistics.intervals import bootstrap_weighted

        table = _in_order(self.table(answers)) if answers else None
        return bootstrap_weighted(len(answers), lambda weights: self.of_sums(weights @ table), seed)

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        """Over the choice of pairs. What changed hands is told by the scores of single examples."""
        import numpy as np

        from ftlab.statistics.paired import paired_weighted

        n, sign = len(baseline), sign_of(self.direction)
        if n == 0:
            return paired_weighted(0, lambda weights: weights, seed, fixed=0, broke=0)
        before, after = self.table(baseline), self.table(other)
        width = before.shape[1]
        both = _in_order(np.hstack([before, after]))

        def difference(weights: np.ndarray) -> np.ndarray:
            sums = weights @ both
            return sign * (self.of_sums(sums[:, width:]) - self.of_sums(sums[:, :width]))

        changes = [sign * change for change in self._changes(before, after)]
        fixed, broke = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
        return paired_weighted(n, difference, seed, fixed=fixed, broke=broke)

    def _changes(self, before: np.ndarray, after: np.ndarray) -> list[float]:
        """How much each example's own value rose, where both have one."""
        import numpy as np

        change = self.of_sums(after) - self.of_sums(before)
        return change[np.isfinite(change) & (np.abs(change) > 1e-12)].tolist()


def _in_order(table: np.ndarray) -> np.ndarray:
    """The rows in an order of their own, so that the order of the examples changes no resample."""
    import numpy as np

    return table[np.lexsort(table.T[::-1])]


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """`top / bottom`, NaN where `bottom` is 0."""
    import numpy as np

    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0)
