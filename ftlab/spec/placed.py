"""Problems that show up after a spec was checked (in its data, its model) told with their place in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ftlab.errors import Fault, Problem, SpecError, UsageError
from ftlab.spec.load import LoadedSpec
from ftlab.spec.tree import dotted
from ftlab.text import one_line

MAX_MESSAGE = 1000
"""Characters of one message."""


@contextmanager
def placed(loaded: LoadedSpec | None) -> Iterator[None]:
    """Turn errors of the block that blame a part of the spec into a SpecError with file, line and column.

    Without a spec (a stored plan is resumed) errors pass as they are.
    """
    try:
        yield
    except SpecError:
        raise
    except UsageError as error:
        if loaded is None or not any(fault.at for fault in error.faults):
            raise
        raise SpecError([problem_of(loaded, fault) for fault in error.faults]) from error


def problem_of(loaded: LoadedSpec, fault: Fault) -> Problem:
    """A fault with its place: of the blamed value, or of the nearest thing above it that the spec has."""
    # Where there is no spec at hand a message names the part itself; beside the path it would do so twice.
    message = fault.message.removeprefix(f"{dotted(fault.at)}: ").removeprefix(f"{dotted(fault.at[-1:])}: ")
    # Column names and labels come from data: none may begin a line of its own.
    return loaded.tree.place_of(fault.at).problem(fault.at, one_line(message, MAX_MESSAGE))
