"""What every executor must do. Inherit `ExecutorContract`, implement `make`, and pytest runs the rest.

class TestLocalExecutor(ExecutorContract):
    def make(self, results, workers):
        return LocalExecutor(results, FAKE_PIPELINE, workers)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.execute.attempts import close_attempt, close_dead_attempts, create_attempt, hold_lease, read_end
from ftlab.execute.base import Executor, Finished, Handle
from ftlab.plan.run import RunConfig
from ftlab.store.journal import read_events
from ftlab.testing.fake_pipeline import DAY, read_work
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

    def kill_node(self, attempt: Path) -> None:
        """Take away the machine that works on an attempt, with all that runs there; the worker alone, if it is all."""
        os.killpg(self.pid_of(attempt), signal.SIGKILL)

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

    def config(self, name: str, **fields: Any) -> RunConfig:
        """A fake run of its own."""
        return fake_plan({name: {"type": "fake_prompt", **fields}}, name=name, benchmarks=()).runs[0]

    def submit(self, executor: Executor, results: Path, name: str, **fields: Any) -> Handle:
        """Submit a fake run of its own."""
        return executor.submit(create_attempt(results, self.config(name, **fields)), BASE)

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

    def wait_for_lease(self, attempt: Path) -> None:
        """Wait until nobody works on an attempt: its lease goes with the process, a moment after the news."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            with hold_lease(attempt) as free:
                if free:
                    return
            time.sleep(0.02)
        raise AssertionError(f"somebody still works on {attempt}")

    def types(self, attempt: Path) -> list[str]:
        """The types of the events that were told, in their order."""
        return [str(event["type"]) for event in read_events(attempt / "events.jsonl")[0]]

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
        self.wait_for_lease(dead.attempt)
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
        assert not is_alive(pid)
        executor.close()

    def test_a_node_that_goes_down_ends_its_run_which_can_be_tried_again(
        self, executor: Executor, results: Path
    ) -> None:
        config = self.config("doomed", fault="hang", fault_times=1)
        handle = executor.submit(create_attempt(results, config), BASE)
        self.wait_for_stage(handle.attempt, "predictions")
        self.kill_node(handle.attempt)
        (end,) = self.wait(executor)
        assert (end.handle, end.status, end.died) == (handle, Status.KILLED, True)
        assert end.reason
        self.wait_for_lease(handle.attempt)
        close_attempt(handle.attempt, end.status, end.reason)
        again = executor.submit(create_attempt(results, config), BASE)
        (end,) = self.wait(executor)
        assert (end.handle, end.status) == (again, Status.COMPLETE)

    def test_a_driver_that_is_killed_takes_its_workers_along_and_another_goes_on(self, results: Path) -> None:
        config = self.config("orphan", fault="hang", fault_times=1)
        attempt = create_attempt(results, config)
        driver = multiprocessing.get_context("spawn").Process(target=_drive, args=(type(self), results, attempt))
        driver.start()
        self.wait_for_stage(attempt, "predictions")
        pid = self.pid_of(attempt)
        driver.kill()
        driver.join()
        assert close_dead_attempts(results, config, patience=self.patience) == 1
        assert not is_alive(pid)
        end = read_end(attempt)
        assert end is not None
        assert end.status is Status.KILLED
        executor = self.make(results, 1)
        try:
            executor.submit(create_attempt(results, config), BASE)
            (news,) = self.wait(executor)
        finally:
            executor.close()
        assert news.status is Status.COMPLETE

    def test_an_attempt_that_is_delivered_twice_is_executed_once(self, executor: Executor, results: Path) -> None:
        attempt = create_attempt(results, self.config("twice", seconds=0.5))
        executor.submit(attempt, BASE)
        executor.submit(attempt, BASE)
        first, second = sorted(self.wait(executor, 2), key=lambda end: end.status)
        assert (first.status, second.status) == (Status.COMPLETE, Status.FAILED)
        assert "another worker has the attempt, or it has ended already" in (second.reason or "")
        assert self.types(attempt).count("attempt_started") == 1
        assert self.types(attempt).count("attempt_finished") == 1
        begun = [line for line in read_work(results) if line["what"] == "begin" and line["kind"] == "predictions"]
        assert len(begun) == 1

    def test_what_a_worker_tells_after_it_was_given_up_is_not_heard(self, executor: Executor, results: Path) -> None:
        handle = self.submit(executor, results, "late", type="fake_trained", seconds=1)
        self.wait_for_stage(handle.attempt, "weights")
        close_attempt(handle.attempt, Status.KILLED, "its node was lost")
        heard = (handle.attempt / "events.jsonl").read_bytes()
        self.wait(executor)
        assert (handle.attempt / "events.jsonl").read_bytes() == heard
        end = read_end(handle.attempt)
        assert end is not None
        assert (end.status, end.reason) == (Status.KILLED, "its node was lost")

    def test_a_worker_whose_clock_is_wrong_is_believed_in_the_order_of_its_words(
        self, executor: Executor, results: Path
    ) -> None:
        handle = self.submit(executor, results, "skewed", fault="clock", type="fake_trained")
        (end,) = self.wait(executor)
        assert end.status is Status.COMPLETE
        events, _ = read_events(handle.attempt / "events.jsonl")
        assert events[-1]["ts"] < events[0]["ts"] - DAY / 2, "the clock did jump"
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        written = read_end(handle.attempt)
        assert written is not None
        assert written.status is Status.COMPLETE

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


def is_alive(pid: int) -> bool:
    """Whether a process works; one that nobody has reaped yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _drive(contract: type[ExecutorContract], results: Path, attempt: Path) -> None:
    """A driver for a test to kill."""
    executor = contract().make(results, 1)
    executor.submit(attempt, BASE)
    while True:
        executor.poll(0.1)


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
