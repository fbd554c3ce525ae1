"""Conditions of `compare --fail-if`: one number of a comparison against a limit, for pipelines that must stop."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftlab.catalog import suggest
from ftlab.errors import UsageError

if TYPE_CHECKING:
    from ftlab.decide.view import PairedDifference

_FORM = re.compile(r"\s*([a-z_]+)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FIELDS = ("delta", "low", "high", "p", "fixed", "broke", "n")
"""The difference, the ends of its interval, its p value, examples fixed and broken, and examples compared."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`delta<0.02`."""

    text: str
    field: str
    sign: str
    limit: float

    def met_by(self, difference: PairedDifference) -> bool:
        """Whether a comparison meets the condition. What was not measured counts as met: a gate must not stay open."""
        value = self.value(difference)
        return value is None or _COMPARE[self.sign](value, self.limit)

    def value(self, difference: PairedDifference) -> float | None:
        """The number that the condition is about."""
        estimate = difference.estimate
        return {
            "delta": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "p": difference.p_value,
            "fixed": difference.fixed,
            "broke": difference.broke,
            "n": estimate.n,
        }[self.field]


def parse_condition(text: str) -> Condition:
    """Read a condition. Raises UsageError saying the form."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f'expected a condition like "delta<0.02" after --fail-if, found "{text}"')
    field, sign, written = match.groups()
    if field not in FIELDS:
        raise UsageError(f"--fail-if: unknown '{field}'{suggest(field, FIELDS)} (known: {', '.join(FIELDS)})")
    try:
        limit = float(written)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UsageError(f"--fail-if: expected a number after {sign}, found '{written}'")
    return Condition(f"{field}{sign}{written}", field, sign, limit)
