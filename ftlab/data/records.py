"""What data is once it is read: examples, the data set they form, and what was noticed about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task."""

    example_id: str
    """A hash of what the row holds: 20 hex digits, unique within a split."""
    position: int
    """Its place in its split, from 0."""
    text: str
    """The row as shown to people: its main text column. Prompts are no part of a data set, so none is rendered."""
    fields: dict[str, Any]
    """Every column by name; a column that the row does not have is None."""
    target: str
    """The right answer, never empty."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know before a run is paid for."""

    code: str
    """What it is, for programs: `duplicates_dropped`, `same_text_in_splits`, ..."""
    message: str
    """What it is and what can be done, in one sentence."""
    count: int
    """How many rows or labels it concerns."""
    example_ids: tuple[str, ...] = ()
    """A few of the rows."""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What happened while the rows became a data set."""

    dropped_duplicates: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of a task by split (`train`, `validation`, `test`)."""

    splits: dict[str, list[Example]]
    labels: list[str]
    """Every allowed answer, in the order in which prompts list them; empty for a task whose answers are no labels."""
    report: DatasetReport = DatasetReport()
