"""Metrics of a classification task: is the answer the right label, is it a label at all, and per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ftlab.evaluate.metrics.base import Answer, Direction, Unit
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.evaluate.metrics.parsing import PARSING_VERSION
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    import numpy as np

    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult


LABELLED: frozenset[TaskType] = frozenset({"classification"})


class _LabelRate(MeanMetric):
    """The share of examples whose output was read as a label of some kind."""

    tasks: ClassVar[frozenset[TaskType]] = LABELLED

    def read(self, answer: Answer) -> str | None:
        return answer.parsed


class Accuracy(_LabelRate):
    """The share of examples whose output was read as the target."""

    name: ClassVar[str] = "accuracy"
    version: ClassVar[str] = f"1.{PARSING_VERSION}"

    def score(self, answer: Answer) -> float | None:
        return float(answer.parsed == answer.target)


class ValidFormat(_LabelRate):
    """The share of outputs that are a label at all."""

    name: ClassVar[str] = "valid_format"
    version: ClassVar[str] = f"1.{PARSING_VERSION}"

    def score(self, answer: Answer) -> float | None:
        return float(answer.parsed is not None)


class MacroF1:
    """The mean over all labels of F1; a label that is neither a target nor an output counts as 0, as in scikit-learn.

    Outputs that are no label count against the recall of their target and against no label's precision.
    """

    name: ClassVar[str] = "macro_f1"
    version: ClassVar[str] = f"1.{PARSING_VERSION}"
    direction: Direction = "higher"
    unit: Unit = "share"
    tasks: ClassVar[frozenset[TaskType]] = LABELLED
    corpus: ClassVar[bool] = True
    Options: ClassVar[type[MetricOptions]] = MetricOptions

    def __init__(self, options: MetricOptions | None = None) -> None:
        self.options = self.Options() if options is None else options

    def read(self, answer: Answer) -> str | None:
        return answer.parsed

    def score(self, answer: Answer) -> float | None:
        return None

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        from sklearn.metrics import f1_score

        if not answers:
            return None
        targets, predicted = encode(answers, labels)
        return float(f1_score(targets, predicted, labels=range(len(labels)), average="macro", zero_division=0.0))

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        from ftlab.statistics.intervals import bootstrap_counts

        targets, predicted = encode(answers, labels)
        size = len(labels)
        side = size + 1
        return bootstrap_counts(targets * side + predicted, side**2, lambda counts: macro_f1_of(counts, size), seed)

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        from ftlab.statistics.paired import paired_counts

        size = len(labels)
        side = size + 1
        targets, before = encode(baseline, labels)
        _, after = encode(other, labels)

        def difference(counts: np.ndarray) -> np.ndarray:
            tables = counts.reshape(-1, side, side, side)  # draw, target, baseline's output, other's output
            return macro_f1_of(tables.sum(axis=2), size) - macro_f1_of(tables.sum(axis=3), size)

        outcomes = (targets * side + before) * side + after
        return paired_counts(outcomes, side**3, difference, before == targets, after == targets, seed)


def encode(answers: Sequence[Answer], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Targets and parsed outputs as label numbers, each `(n,)`; what is no label gets the number `len(labels)`."""
    import numpy as np

    number = {label: index for index, label in enumerate(labels)}
    none = len(labels)
    targets = np.array([number.get(answer.target, none) for answer in answers], dtype=np.int64)
    parsed = np.array([number.get(answer.parsed or "", none) for answer in answers], dtype=np.int64)
    return targets, parsed


def macro_f1_of(counts: np.ndarray, size: int) -> np.ndarray:
    """Macro F1 of confusion counts: `(..., (size + 1)**2)` or `(..., size + 1, size + 1)`, targets first, to `(...)`.

    F1 = 2 TP / (targets + outputs), and 0 for a label with neither; the last row and column (no label) only add to
    the sums.
    """
    import numpy as np

    side = size + 1
    tables = np.asarray(counts).reshape(-1, side, side)
    hits = np.diagonal(tables, axis1=1, axis2=2)[:, :size]
    total = (tables.sum(axis=2) + tables.sum(axis=1))[:, :size]
    f1 = np.divide(2.0 * hits, total, out=np.zeros(hits.shape), where=total > 0)
    return f1.mean(axis=1)


def per_class(answers: Sequence[Answer], labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support of every label. Undefined precision or recall (nothing to divide by) is
    None."""
    from sklearn.metrics import confusion_matrix

    if not answers:
        return {}
    targets, parsed = encode(answers, labels)
    table = confusion_matrix(targets, parsed, labels=range(len(labels) + 1))
    rows: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(labels):
        hits, outputs, support = (int(table[index, index]), int(table[:, index].sum()), int(table[index].sum()))
        rows[label] = {
            "precision": hits / outputs if outputs else None,
            "recall": hits / support if support else None,
            "f1": 2 * hits / (outputs + support) if outputs + support else None,
            "hits": hits,
            "outputs": outputs,
            "support": support,
        }
    return rows


def confusion(answers: Sequence[Answer], labels: Sequence[str]) -> dict[str, Any]:
    """Counts by target (rows) and parsed output (columns). The last column counts outputs that are no label."""
    from sklearn.metrics import confusion_matrix

    if not answers:
        return {"labels": list(labels), "counts": []}
    targets, parsed = encode(answers, labels)
    table = confusion_matrix(targets, parsed, labels=range(len(labels) + 1))
    return {"labels": list(labels), "counts": table[: len(labels)].tolist()}
