"""The words that a run speaks while it works: statuses, event types, and the way to report one.

This module is the lowest common ground of training, evaluation, execution and the store, so it imports none of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol


class Status(StrEnum):
    """Where a run or an attempt stands. Each end other than `complete` carries a reason in words."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    OOM = "oom"
    CANCELLED = "cancelled"
    KILLED = "killed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to an attempt in this status."""
        return self not in (Status.WAITING, Status.RUNNING)

    @property
    def needs_reason(self) -> bool:
        """Whether a record in this status must say why."""
        return self.is_final and self is not Status.COMPLETE


class EventType(StrEnum):
    """The type of one line in a journal."""

    ATTEMPT_STARTED = "attempt_started"
    """run_id, attempt, pid, host, provenance: packages, commit, device."""
    PROGRESS = "progress"
    """phase, done, total, unit, and what the terminal shows: loss, tokens_per_second. Never stored in the ledger."""
    CURVE = "curve"
    """step and values: {"train/loss": 2.1, ...}; with a validation loss also scores, that of every validation row."""
    STAGE_STARTED = "stage_started"
    """kind, name, key."""
    STAGE = "stage"
    """kind, name, key, cached, seconds, bytes, summary: one stage of the run stands complete on disk."""
    METRICS = "metrics"
    """split and rows: [{key, value, low, high, n, unit, direction, interval}]."""
    WARNING = "warning"
    """code, message, step."""
    ATTEMPT_FINISHED = "attempt_finished"
    """status, reason, error (traceback for the log)."""


class RunCancelled(BaseException):
    """Somebody asked this run to stop. Raised out of the reporter, at the next progress of whatever works.

    Not an `Exception`: code that survives failures of its own must not survive this.
    """


class RunPruned(RunCancelled):
    """The search that this run belongs to has given it up: what was trained so far is of no use. Says why."""


class Reporter(Protocol):
    """Takes one event. Implementations: the journal writer of an attempt, a list in a test, `ignore`."""

    def __call__(self, type: EventType, **fields: Any) -> None: ...  # noqa: A002  the journal's own word


def ignore(type: EventType, **fields: Any) -> None:  # noqa: A002
    """A reporter for callers who do not listen."""
