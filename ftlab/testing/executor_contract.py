"""What every executor must do. Inherit `ExecutorContract`, implement `make`, and pytest runs the rest.

class TestLocalExecutor(ExecutorContract):
    def make(self, results, workers):
        return LocalExecutor(results, FAKE_PIPELINE, workers)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.execute.attempts import create_attempt, hold_lease, read_end
from ftlab.execute.base import Executor, Finished, Handle
from ftlab.store.journal import read_events
from ftlab.testing.fakes import fake_plan

FAKE_PIPELINE = "ftlab.testing.fakes:FakePipeline"
"""The pipeline whose runs the contract executes."""
BASE = "base"


class ExecutorContract:
    """Executes fake runs and looks at what becomes of them."""

    patience: float = 30.0
    """Seconds that an end may take to arrive."""

    def make(self, results: Path, workers: int) -> Executor:
        """The executor under test, running FAKE_PIPELINE."""
        raise NotImplementedError

    def make_impossible(self, results: Path) -> Executor:
        """The executor, asked for more than there is where it runs."""
        raise NotImplementedError

    @pytest.fixture
    def results(self, tmp_path: Path) -> Path:
        """The results folder."""
        return tmp_path

    @pytest.fixture
    def executor(self, results: Path) -> Iterator[Executor]:
        """Two workers, closed after the test."""
        executor = self.make(results, 2)
        yield executor
        executor.close()

    def submit(self, executor: Executor, results: Path, name: str, **fields: Any) -> Handle:
        """Submit a fake run of its own."""
        plan = fake_plan({name: {"type": "fake_prompt", **fields}}, name=name, benchmarks=())
        return executor.submit(create_attempt(results, plan.runs[0]), BASE)

    def wait(self, executor: Executor, count: int = 1) -> list[Finished]:
        """The next `count` ends."""
        ends: list[Finished] = []
        deadline = time.monotonic() + self.patience
        while len(ends) < count:
            assert time.monotonic() < deadline, f"{len(ends)} of {count} ends came"
            ends += executor.poll(0.1)
        return ends

    def wait_for_stage(self, attempt: Path, kind: str) -> None:
        """Wait until the run has begun a stage."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if (attempt / "events.jsonl").exists():
                events, _ = read_events(attempt / "events.jsonl")
                if any(event["type"] == "stage_started" and event["kind"] == kind for event in events):
                    return
            time.sleep(0.02)
        raise AssertionError(f"{attempt} never reached its stage {kind}")

    def pid_of(self, attempt: Path) -> int:
        """The process that worked on an attempt."""
        events, _ = read_events(attempt / "events.jsonl")
        return int(events[0]["pid"])

    def test_a_run_is_executed_and_its_end_told_once(self, executor: Executor, results: Path) -> None:
        handle = self.submit(executor, results, "good")
        (end,) = self.wait(executor)
        assert (end.handle, end.status, end.reason) == (handle, Status.COMPLETE, None)
        written = read_end(handle.attempt)
        assert written is not None
        assert written.status is Status.COMPLETE
        assert executor.poll(0.1) == []

    def test_poll_waits_no_longer_than_it_is_told(self, executor: Executor) -> None:
        began = time.monotonic()
        assert executor.poll(0.1) == []
        assert time.monotonic() - began < 2

    def test_capacity_is_what_runs_at_once(self, executor: Executor, results: Path) -> None:
        assert executor.capacity == 2
        first = self.submit(executor, results, "one", seconds=0.5)
        second = self.submit(executor, results, "two", seconds=0.5)
        self.wait_for_stage(first.attempt, "predictions")
        self.wait_for_stage(second.attempt, "predictions")
        with pytest.raises(RuntimeError, match="busy"):
            self.submit(executor, results, "three")
        assert {end.handle for end in self.wait(executor, 2)} == {first, second}

    def test_a_failure_comes_with_its_reason_and_the_next_run_works(self, executor: Executor, results: Path) -> None:
        bad = self.submit(executor, results, "bad", fault="error")
        (end,) = self.wait(executor)
        assert (end.status, end.reason) == (Status.FAILED, "RuntimeError: the fake was told to fail")
        written = read_end(bad.attempt)
        assert written is not None
        assert "the fake was told to fail" in (written.error or "")
        self.submit(executor, results, "good")
        (end,) = self.wait(executor)
        assert end.status is Status.COMPLETE

    def test_out_of_memory_has_a_status_of_its_own(self, executor: Executor, results: Path) -> None:
        self.submit(executor, results, "large", fault="oom")
        (end,) = self.wait(executor)
        assert end.status is Status.OOM
        assert "memory" in (end.reason or "")

    def test_a_full_disk_is_fatal(self, executor: Executor, results: Path) -> None:
        self.submit(executor, results, "full", fault="disk")
        (end,) = self.wait(executor)
        assert end.fatal
        assert "disk is full" in (end.reason or "")

    @pytest.mark.parametrize(
        ("fault", "status", "word"), [("exit", Status.FAILED, "exit code 7"), ("kill", Status.KILLED, "SIGKILL")]
    )
    def test_a_process_that_dies_is_noticed_and_replaced(
        self, executor: Executor, results: Path, fault: str, status: Status, word: str
    ) -> None:
        dead = self.submit(executor, results, "dead", fault=fault)
        (end,) = self.wait(executor)
        assert (end.handle, end.status, end.died) == (dead, status, True)
        assert word in (end.reason or "")
        with hold_lease(dead.attempt) as free:
            assert free, "the lease goes with the process"
        self.submit(executor, results, "good")
        (end,) = self.wait(executor)
        assert end.status is Status.COMPLETE

    def test_cancel_ends_a_run_at_its_next_step(self, executor: Executor, results: Path) -> None:
        handle = self.submit(executor, results, "long", seconds=5)
        self.wait_for_stage(handle.attempt, "predictions")
        executor.cancel()
        (end,) = self.wait(executor)
        assert end.status is Status.CANCELLED
        written = read_end(handle.attempt)
        assert written is not None
        assert (written.status, written.reason) == (Status.CANCELLED, end.reason)

    def test_close_leaves_no_process_and_may_be_repeated(self, executor: Executor, results: Path) -> None:
        handle = self.submit(executor, results, "stuck", fault="hang")
        self.wait_for_stage(handle.attempt, "predictions")
        pid = self.pid_of(handle.attempt)
        executor.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        executor.close()

    def test_an_impossible_request_is_one_sentence_before_anything_is_started(self, results: Path) -> None:
        executor = self.make_impossible(results)
        try:
            with pytest.raises(UsageError) as error:
                executor.prepare()
        finally:
            executor.close()
        assert error.value.exit_code == 2
        assert len(str(error.value).splitlines()) == 1
        assert not list(results.iterdir())


class KeptWorkersContract:
    """Inherited beside `ExecutorContract` by an executor whose workers live from run to run."""

    def test_a_worker_is_kept_for_the_next_run_of_its_base(self: Any, executor: Executor, results: Path) -> None:
        first = self.submit(executor, results, "first")
        self.wait(executor)
        assert list(executor.warm) == [BASE]
        second = self.submit(executor, results, "second")
        self.wait(executor)
        assert self.pid_of(first.attempt) == self.pid_of(second.attempt)

    def test_a_worker_is_replaced_after_a_failure(self: Any, executor: Executor, results: Path) -> None:
        bad = self.submit(executor, results, "bad", fault="error")
        self.wait(executor)
        assert list(executor.warm) == []
        good = self.submit(executor, results, "good")
        self.wait(executor)
        assert self.pid_of(bad.attempt) != self.pid_of(good.attempt)
