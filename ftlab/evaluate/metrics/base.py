"""What a metric is: one declaration of its name, version, direction, unit, per-example score, aggregate and interval.

Modules of this package import numpy, scipy and scikit-learn inside functions only: the planner loads the classes to
read `version`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ftlab.statistics.intervals import Interval
    from ftlab.statistics.paired import PairedResult

Direction = Literal["higher", "lower"]
Unit = Literal["share"]
"""`share`: a number from 0 to 1, whose differences are shown as points."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One example as a metric sees it."""

    example_id: str
    output: str
    """The model's text, untouched."""
    parsed: str | None
    """The label that the output was read as, or None when it is no label."""
    target: str


@runtime_checkable
class Metric(Protocol):
    """How well outputs fit their targets.

    A value is a finite float or None; None means that there is nothing to compute it from, never zero.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    """Part of the identity of scores: raise it when the same outputs can get another value."""
    direction: ClassVar[Direction]
    unit: ClassVar[Unit]

    def score(self, answer: Answer) -> float | None:
        """One example's score, or None for a metric that only exists over many examples (macro F1)."""

    def aggregate(self, answers: Sequence[Answer], labels: Sequence[str]) -> float | None:
        """The metric over all answers; `labels` is every label of the data set. None for no answers."""

    def interval(self, answers: Sequence[Answer], labels: Sequence[str], seed: int) -> Interval:
        """`aggregate`'s 95% interval over the choice of examples. Its value equals `aggregate`'s."""

    def compare(
        self, baseline: Sequence[Answer], other: Sequence[Answer], labels: Sequence[str], seed: int
    ) -> PairedResult:
        """`other` minus `baseline` on the same examples in the same order, positive when better."""
