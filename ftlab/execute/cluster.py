"""Runs as the jobs of a cluster, one job for each attempt. What jobs are, `ftlab.execute.slurm` and `ray` know.

The results folder is on a disk that the cluster's machines have under the same name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ftlab.events import Status
from ftlab.execute.attempts import ask_to_end, hold_lease
from ftlab.execute.base import CANCELLED_REASON, Finished, Handle
from ftlab.execute.provenance import package_versions
from ftlab.execute.remote import Order, Pulse

PATIENCE_SECONDS = 120.0
"""A coordinator that has not beaten for so long is dead: its pulse is every 2 s, and shared disks take some to show."""
GRACE_SECONDS = 60.0
"""As the coordinator's own: a step on a slow machine and its checkpoint take no longer."""
CLOSE_SECONDS = 20.0
"""How long `close` waits until the cluster has ended the jobs."""


class Jobs(Protocol):
    """A cluster, as far as an executor needs one. A job is whatever its `start` returned."""

    def prepare(self) -> None:
        """Make sure that a job can be placed at all. Raises UsageError when none ever could."""

    def start(self, order: Order) -> Any:
        """Have `ftlab.execute.remote.carry_out(order)` called on some machine, once."""

    def ended(self, jobs: Sequence[Any], timeout: float) -> list[Any]:
        """Those of `jobs` that have ended; waits up to `timeout` seconds for the first."""

    def outcome(self, job: Any, handle: Handle) -> Finished:
        """What came of a job that has ended: what `carry_out` returned, or in words why it could not."""

    def kill(self, job: Any) -> None:
        """End a job, waiting or working."""

    def close(self) -> None:
        """Let go of the cluster. May be repeated."""


class ClusterExecutor:
    """Up to `workers` jobs at a time."""

    def __init__(
        self,
        results: Path,
        pipeline: str,
        jobs: Jobs,
        workers: int,
        threads: int,
        *,
        patience: float = PATIENCE_SECONDS,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`pipeline` is the `module:Object` that workers build, with `threads` CPU threads each.

        `patience` and `grace` are in seconds; see `Order`.
        """
        self._results = results.absolute()
        self._pipeline = pipeline
        self._jobs = jobs
        self._workers = workers
        self._threads = threads
        self._patience, self._grace = patience, grace
        self._running: list[tuple[Handle, Any]] = []
        self._never_began: list[Handle] = []
        self._pulse: Pulse | None = None

    @property
    def capacity(self) -> int:
        return self._workers

    @property
    def warm(self) -> Sequence[str]:
        return ()

    def prepare(self) -> None:
        self._jobs.prepare()

    def submit(self, attempt: Path, base: str) -> Handle:
        if len(self._running) >= self._workers:
            raise RuntimeError(f"all {self._workers} workers are busy")
        self._jobs.prepare()
        if self._pulse is None:
            self._pulse = Pulse(self._results)
        handle = Handle(attempt, base)
        order = Order(
            results=self._results,
            attempt=attempt.absolute(),
            base=base,
            pipeline=self._pipeline,
            threads=self._threads,
            packages=package_versions(),
            patience=self._patience,
            grace=self._grace,
        )
        self._running.append((handle, self._jobs.start(order)))
        return handle

    def poll(self, timeout: float) -> list[Finished]:
        never, self._never_began = self._never_began, []
        told = [Finished(handle, Status.CANCELLED, CANCELLED_REASON, died=True) for handle in never]
        if not self._running:
            time.sleep(0 if told else timeout)
            return told
        return told + self._take_ends(0 if told else timeout)

    def cancel(self) -> None:
        for handle, job in list(self._running):
            if (handle.attempt / "events.jsonl").exists():
                ask_to_end(handle.attempt, Status.CANCELLED, CANCELLED_REASON)
            else:
                self._jobs.kill(job)
                self._running.remove((handle, job))
                self._never_began.append(handle)

    def close(self) -> None:
        attempts = [handle.attempt for handle, _ in self._running]
        for handle, job in self._running:
            ask_to_end(handle.attempt, Status.KILLED, CANCELLED_REASON, now=True)
            if not (handle.attempt / "events.jsonl").exists():
                self._jobs.kill(job)
        self._wait_for_ends(CLOSE_SECONDS / 2)
        for _, job in self._running:
            self._jobs.kill(job)
        self._wait_for_ends(CLOSE_SECONDS / 2)
        for attempt in attempts:
            _wait_for_lease(attempt, CLOSE_SECONDS / 2)
        self._running.clear()
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        self._jobs.close()

    def _take_ends(self, timeout: float) -> list[Finished]:
        by_job = {id(job): (handle, job) for handle, job in self._running}
        ends = []
        for job in self._jobs.ended([job for _, job in self._running], timeout):
            handle, _ = by_job[id(job)]
            self._running.remove((handle, job))
            ends.append(replace(self._jobs.outcome(job, handle), handle=handle))
        return ends

    def _wait_for_ends(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:
            self._take_ends(0.1)


def _wait_for_lease(attempt: Path, seconds: float) -> None:
    """The worker's lease goes with its process, a moment after its job."""
    deadline = time.monotonic() + seconds
    while attempt.is_dir() and time.monotonic() < deadline:
        with hold_lease(attempt) as free:
            if free:
                return
        time.sleep(0.05)
