"""How much the outputs of a run differ among each other. A model that collapsed says the same whatever it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ftlab.evaluate.metrics.base import TEXT_TASKS, Answer, Direction, Unit, sign_of
from ftlab.evaluate.metrics.sums import ratio
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    import numpy as np

    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult

MOST = 1000
"""Of more examples, so many are compared with each other: those whose ids hash lowest, the same for every run."""


class _PairMetric:
    """The mean of a number from 0 to 1 over all pairs of different examples (a U-statistic of order 2).

    A resample leaves out the pairs of an example with its own copy, which would look like sameness.
    """

    direction: Direction = "lower"
    unit: Unit = "share"
    version: ClassVar[str] = "1"
    corpus: ClassVar[bool] = True
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    Options: ClassVar[type[MetricOptions]] = MetricOptions

    def __init__(self, options: MetricOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    def read(self, answer: Answer) -> str | None:
        """The output itself."""
        return answer.output.strip()

    def score(self, answer: Answer) -> float | None:
        """None: one output has nothing to differ from."""
        return None

    def pairs(self, answers: Sequence[Answer]) -> np.ndarray:
        """`(n, n)`: the number of each pair; the diagonal does not count."""
        raise NotImplementedError

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        """The mean over pairs; None for fewer than two answers."""
        import numpy as np

        chosen = _chosen(answers)
        if len(chosen) < 2:
            return None
        return float(_mean(self._table([answers[place] for place in chosen]), np.ones((1, len(chosen))))[0])

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        """Over the choice of examples."""
        from ftlab.statistics.intervals import bootstrap_weighted

        chosen = _chosen(answers)
        table = self._table([answers[place] for place in chosen]) if chosen else None
        return bootstrap_weighted(len(chosen), lambda weights: _mean(table, weights), seed)

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        """Over the choice of pairs; no single example gets better or worse."""
        from ftlab.statistics.paired import paired_weighted

        chosen, sign = _chosen(baseline), sign_of(self.direction)
        if not chosen:
            return paired_weighted(0, lambda weights: weights, seed, fixed=0, broke=0)
        before, after = (self._table([part[place] for place in chosen]) for part in (baseline, other))
        return paired_weighted(
            len(chosen),
            lambda weights: sign * (_mean(after, weights) - _mean(before, weights)),
            seed,
            fixed=0,
            broke=0,
        )

    def _table(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np

        table = self.pairs(answers).astype(np.float64)
        np.fill_diagonal(table, 0.0)
        return table


class DistinctOutputs(_PairMetric):
    """The chance that the outputs to two different examples differ, case and blanks apart. 0 is one answer for all."""

    name: ClassVar[str] = "distinct_outputs"
    direction: Direction = "higher"

    def pairs(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np

        texts = [" ".join(answer.output.casefold().split()) for answer in answers]
        numbers = np.unique(np.array(texts, dtype=object), return_inverse=True)[1]
        return numbers[:, None] != numbers[None, :]


class SelfOverlap(_PairMetric):
    """The mean over pairs of examples of the words that both outputs have over those that one of them has (Jaccard)."""

    name: ClassVar[str] = "self_overlap"

    def pairs(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np
        from scipy.sparse import csr_array

        number: dict[str, int] = {}
        said = [
            sorted({number.setdefault(word, len(number)) for word in answer.output.casefold().split()})
            for answer in answers
        ]
        sizes = np.array([len(words) for words in said], dtype=np.float64)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        columns = np.array([word for words in said for word in words], dtype=np.int64)
        words = csr_array((np.ones(len(columns)), columns, starts), shape=(len(said), max(1, len(number))))
        shared = (words @ words.T).toarray()
        union = sizes[:, None] + sizes[None, :] - shared
        # Two empty outputs are the same.
        return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def _chosen(answers: Sequence[Answer]) -> list[int]:
    """The places of the answers that are compared, in an order of their own."""
    order = sorted((hashlib.sha256(answer.example_id.encode()).digest(), place) for place, answer in enumerate(answers))
    return [place for _, place in order[:MOST]]


def _mean(table: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """The mean over pairs of different examples, each as often as `weights` `(draws, n)` draw both; NaN for no pair."""
    total = ((weights @ table) * weights).sum(axis=1)
    return ratio(total, weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))
