"""The level that intervals and tests are made at: 95% unless a decision asks for another.

It is a setting of a block and no argument, since it would go through every function between a decision's rule and a
quantile, and all that is computed for one decision is computed at one level. Light: the standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ALPHA = 0.05
"""The risk of an interval that misses the truth, where nobody says otherwise."""

_alpha: ContextVar[float] = ContextVar("alpha", default=ALPHA)


def alpha() -> float:
    """The risk in force, two-sided."""
    return _alpha.get()


def confidence() -> float:
    """How often an interval covers the truth: one minus `alpha()`."""
    return 1.0 - _alpha.get()


@contextmanager
def at_alpha(value: float) -> Iterator[None]:
    """Make every interval and test of the block at this level. Raises ValueError unless 0 < value < 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"expected an alpha between 0 and 1, found {value}")
    token = _alpha.set(value)
    try:
        yield
    finally:
        _alpha.reset(token)
