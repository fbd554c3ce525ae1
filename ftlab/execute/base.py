"""What an executor is: something that takes attempt directories in and says when each has ended.

The coordinator decides what runs and in which order, and reads what happened from the journals; an executor only places
work on processes or machines. Implementations: `ftlab.catalog.EXECUTORS`. The contract that each must pass is
`ftlab.testing.executor_contract.ExecutorContract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ftlab.catalog import EXECUTORS
from ftlab.events import Status
from ftlab.spec.execution import ExecuteSpec

CANCELLED_REASON = "stopped by the user"


@dataclass(frozen=True, slots=True)
class Handle:
    """A submitted attempt. Equal handles mean the same submission."""

    attempt: Path
    """The attempt's directory, `.../runs/<run_id>/a<n>`."""
    base: str
    """What the worker has to load for it: the base model's revision."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a submission, as far as the executor can tell. The journal is the truth; this is the news."""

    handle: Handle
    status: Status
    """How it ended. When the process died by itself: `killed` for a signal from outside, else `failed`."""
    reason: str | None
    """In words, for every status but `complete`."""
    died: bool = False
    """The process is gone, so the journal may lack its end: the coordinator writes it."""
    fatal: bool = False
    """No other run can do better (the disk is full, say): the sweep stops."""
    settled: bool = False
    """Another try of the same run would end the same: it is not tried again in this session."""


class Executor(Protocol):
    """Runs attempts somewhere. Used by one thread."""

    @property
    def capacity(self) -> int:
        """How many attempts can run at once."""

    @property
    def warm(self) -> Sequence[str]:
        """The bases that idle workers have loaded: a run of one of these starts at once."""

    def prepare(self) -> None:
        """Make sure that a run can be placed at all; called before anything is written. Raises UsageError, in one
        sentence, when none ever could, MissingExtraError when a package is missing."""

    def submit(self, attempt: Path, base: str) -> Handle:
        """Start an attempt, on a worker that has `base` loaded if one is idle. Raises RuntimeError beyond capacity."""

    def poll(self, timeout: float) -> list[Finished]:
        """What ended since the last call; waits up to `timeout` seconds for the first. Each end is reported once."""

    def cancel(self) -> None:
        """Ask every running attempt to stop at its next step. Their ends arrive through `poll`."""

    def close(self) -> None:
        """End every process at once, working or not. Nothing that was started outlives this call. May be repeated."""


def open_executor(results: Path, pipeline: str, execute: ExecuteSpec) -> Executor:
    """The executor that a spec asks for. Starts nothing yet."""
    executor: Executor = EXECUTORS.load(execute.executor)(results, pipeline, execute)
    return executor
