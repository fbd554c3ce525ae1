"""What a metric is: one declaration of its name, version, direction, unit, per-example score, aggregate and interval.

Modules of this package import numpy, scipy, scikit-learn and the scoring libraries inside functions only: checks and
the planner load the classes to read what they declare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult

Direction = Literal["higher", "lower", "none"]
"""Which values are better. `none` describes outputs without judging them (their length), so it can decide nothing."""
Unit = Literal["share", "ratio", "count", "nats", "perplexity", "score"]
"""How `ftlab.text` writes it. `share`: from 0 to 1, shown as a percentage, its differences as points. The others are
plain numbers from 0 or (`score`) of any size."""

TEXT_TASKS: frozenset[TaskType] = frozenset({"generation", "extraction"})
"""The types of task whose answer is no label."""

EXAMPLE = "/example"
"""What follows a corpus metric's key where its scores of single examples are stored: nobody may average those."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One example as a metric sees it."""

    example_id: str
    output: str
    """The model's text, untouched."""
    parsed: str | None
    """The label that the output was read as; None when it is no label, and for tasks without labels."""
    target: str
    row: Mapping[str, Any] | None = None
    """Every column of the row, where they are at hand."""
    target_nats: float | None = None
    """The mean negative log-likelihood of the target's tokens, where it was asked for."""


@runtime_checkable
class Metric(Protocol):
    """How well outputs fit their targets. Built as `Class(options)`, or `Class()` with the options' defaults.

    A value is a finite float or None; None means that there is nothing to compute it from, never zero.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    """Part of the identity of scores: raise it when the same outputs can get another value."""
    direction: Direction
    unit: Unit
    tasks: ClassVar[frozenset[TaskType]]
    """The types of task that it fits."""
    corpus: ClassVar[bool]
    """Whether the value is no mean of the examples' scores, so that differences of it need `compare` and all answers.
    Scores, if it has any, are then shown beside examples and not averaged."""
    Options: ClassVar[type[MetricOptions]]
    """What it can be told in a spec."""

    def read(self, answer: Answer) -> str | None:
        """What the output was taken for, shown beside the output; None when it could not be read."""

    def score(self, answer: Answer) -> float | None:
        """One example's score, or None where it has none."""

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        """The metric over all answers; `labels` is every label of the data set. None for no answers."""

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        """`aggregate`'s 95% interval over the choice of examples. Its value equals `aggregate`'s."""

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        """`other` minus `baseline` on the same examples in the same order, positive when better."""


def sign_of(direction: Direction) -> float:
    """What turns a difference of values into one that is positive when better."""
    return -1.0 if direction == "lower" else 1.0
