"""Something read out of an output by a pattern: the last number, or what a regular expression finds."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftlab.errors import UsageError
from ftlab.evaluate.metrics.base import TEXT_TASKS, Answer
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

_NUMBER = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|[-+\u2212]?\.\d+")
_SECONDS = 2.0
"""How long a pattern may take on one output."""


def last_number(text: str) -> Decimal | None:
    """The last number of a text: `1,234.5`, `-3e4`; None when there is none.

    A minus counts as a sign unless a letter, a digit or a closing bracket stands before it (`10-20` ends in 20). Commas
    group digits, points are decimal. Fractions, words and currencies are not read.
    """
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = found[-1]
    digits = last.group().replace(",", "").replace("\u2212", "-")
    before = text[last.start() - 1] if last.start() else ""
    if before.isalnum() or before in (")", "]"):
        digits = digits.lstrip("+-")
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


class NumericOptions(MetricOptions):
    """Options of `numeric`."""

    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far off is still right, in the number's own unit."""
    relative: Annotated[float, Field(ge=0)] = 0.0
    """How far off is still right, as a share of the target."""


class Numeric(MeanMetric):
    """The share of outputs whose last number is the target's last number. A target without a number has no score."""

    name: ClassVar[str] = "numeric"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    Options: ClassVar[type[MetricOptions]] = NumericOptions
    options: NumericOptions

    def read(self, answer: Answer) -> str | None:
        number = last_number(answer.output)
        return None if number is None else str(number)

    def score(self, answer: Answer) -> float | None:
        target = last_number(answer.target)
        if target is None:
            return None
        number = last_number(answer.output)
        if number is None:
            return 0.0
        room = max(Decimal(str(self.options.tolerance)), Decimal(str(self.options.relative)) * abs(target))
        return float(abs(number - target) <= room)


class RegexOptions(MetricOptions):
    """Options of `regex`."""

    pattern: Annotated[str, Field(min_length=1, max_length=10_000)]
    """A regular expression, in the syntax of Python's `re`."""
    match: Literal["anywhere", "whole"] = "anywhere"
    """Whether the pattern may be found anywhere or must be the whole output, blanks at its ends apart."""
    ignore_case: bool = False
    """Whether case does not count."""


class Regex(MeanMetric):
    """The share of outputs that a regular expression fits."""

    name: ClassVar[str] = "regex"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    Options: ClassVar[type[MetricOptions]] = RegexOptions
    options: RegexOptions

    def __init__(self, options: RegexOptions) -> None:
        super().__init__(options)
        self._pattern = _compiled(options)

    @staticmethod
    def check(options: RegexOptions, root: Path) -> tuple[str, str] | None:
        """(option, what is wrong with it) for a pattern that is not valid."""
        import regex

        try:
            _compiled(options)
        except (regex.error, ValueError, RecursionError, OverflowError) as error:
            return "pattern", f"expected a regular expression, found one that cannot be read ({error})"
        return None

    def read(self, answer: Answer) -> str | None:
        found = self._found(answer)
        return None if found is None else found.group()

    def score(self, answer: Answer) -> float | None:
        return float(self._found(answer) is not None)

    def _found(self, answer: Answer) -> Any:
        find = self._pattern.search if self.options.match == "anywhere" else self._pattern.fullmatch
        try:
            return find(answer.output.strip(), timeout=_SECONDS)
        except TimeoutError as error:
            raise UsageError(
                f"task.metrics: the pattern {self.options.pattern!r} takes more than {_SECONDS:g} s on the output of "
                f"example {answer.example_id}; write it without nested repetition"
            ) from error


def _compiled(options: RegexOptions) -> Any:
    """By the `regex` library, which reads the syntax of `re` and can be stopped."""
    import regex

    return regex.compile(options.pattern, regex.IGNORECASE if options.ignore_case else 0)
