"""Worker processes on this machine, kept from run to run.

Importing torch and loading a base model cost more than many a run, so a worker that did its run well, or whose run
was given up, is given the next one. One that failed, ran out of memory or died is not trusted again: a fresh process
takes its place. Processes are spawned, never forked, each the leader of a process group of its own, so that Ctrl-C
reaches the coordinator alone."""

from __future__ import annotations

import selectors
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftlab.events import Status
from ftlab.execute.base import Finished, Handle
from ftlab.execute.process import WorkerProcess, worker_command
from ftlab.execute.provenance import usable_cores, visible_gpus
from ftlab.execute.share import share_gpus, share_threads, worker_environment
from ftlab.spec.execution import ExecuteSpec

CLEAN = (Status.COMPLETE, Status.PRUNED)
"""Ends that leave a worker as it was: the base is loaded and carries nothing."""


class LocalExecutor:
    """Up to `workers` processes, started when there is work for them."""

    def __init__(
        self,
        results: Path,
        pipeline: str,
        workers: int,
        *,
        gpus: float | None = None,
        cpus: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`pipeline` is the `module:Object` that workers build; `env` is added to their environment.

        `gpus` and `cpus` are what each run has, as `execute:` says it.
        """
        self._results = results
        self._pipeline = pipeline
        self._slots: list[WorkerProcess | None] = [None] * workers
        self._each = (gpus, cpus)
        self._env = dict(env or {})
        self._selector = selectors.DefaultSelector()

    def prepare(self) -> None:
        self._shares()

    @property
    def capacity(self) -> int:
        return len(self._slots)

    @property
    def warm(self) -> Sequence[str]:
        return [slot.base for slot in self._slots if slot is not None and slot.handle is None and slot.base is not None]

    def submit(self, attempt: Path, base: str) -> Handle:
        handle = Handle(attempt, base)
        self._place(base).start(handle)
        return handle

    def poll(self, timeout: float) -> list[Finished]:
        finished = []
        for key, _ in self._selector.select(timeout):
            process: WorkerProcess = key.data
            news = process.read()
            if news is not None:
                finished.append(news)
            if process.ended or (news is not None and news.status not in CLEAN):
                self._remove(process)
        return finished

    def cancel(self) -> None:
        for process in self._slots:
            if process is not None and process.handle is not None:
                process.cancel()

    def close(self) -> None:
        for process in self._slots:
            if process is not None:
                self._remove(process)

    def _place(self, base: str) -> WorkerProcess:
        """The idle worker that suits best: one that has the base loaded, a fresh one, or else any."""
        idle = [process for process in self._slots if process is not None and process.handle is None]
        for process in idle:
            if process.base == base:
                return process
        if None in self._slots:
            return self._spawn(self._slots.index(None))
        if not idle:
            raise RuntimeError(f"all {self.capacity} workers are busy")
        return idle[0]

    def _spawn(self, slot: int) -> WorkerProcess:
        threads, gpus = self._shares()
        command = worker_command(self._results, self._pipeline, threads)
        process = WorkerProcess(command, worker_environment(threads, gpus[slot]) | self._env)
        self._slots[slot] = process
        self._selector.register(process.answers, selectors.EVENT_READ, process)
        return process

    def _shares(self) -> tuple[int, list[str | None]]:
        """The threads of each worker, and the GPUs of each slot."""
        gpus, cpus = self._each
        workers = len(self._slots)
        return share_threads(usable_cores(), workers, cpus), share_gpus(visible_gpus(), workers, gpus)

    def _remove(self, process: WorkerProcess) -> None:
        self._selector.unregister(process.answers)
        self._slots[self._slots.index(process)] = None
        process.kill()


def open_local(results: Path, pipeline: str, execute: ExecuteSpec) -> LocalExecutor:
    """What `execute.executor: local` stands for."""
    return LocalExecutor(results, pipeline, execute.workers, gpus=execute.gpus, cpus=execute.cpus)
