"""The worker's own parts: how an end is worded, where output goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.errors import DataError, OutOfMemoryError, TrainingError
from ftlab.events import RunCancelled, Status
from ftlab.execute.attempts import create_attempt, hold_lease, read_end
from ftlab.execute.pruning import Verdict, write_verdict
from ftlab.execute.worker import REASON_CHARACTERS, Worker, describe_end
from ftlab.testing.fakes import FakePipeline, fake_plan

CudaError = type("OutOfMemoryError", (RuntimeError,), {})
"""What torch raises on a GPU, told by its name alone: the worker imports no torch to know it."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, Status.COMPLETE, None),
        (DataError("rows.csv:3 has no column 'label'"), Status.FAILED, "rows.csv:3 has no column 'label'"),
        (KeyError("x"), Status.FAILED, "KeyError: 'x'"),
        (ValueError(), Status.FAILED, "ValueError: no message"),
        (RuntimeError("first line\nsecond line"), Status.FAILED, "RuntimeError: first line"),
        (MemoryError(), Status.OOM, "the run needed more memory than there is"),
        (OutOfMemoryError("lower batch_size"), Status.OOM, "lower batch_size"),
        (CudaError("CUDA out of memory"), Status.OOM, "CUDA out of memory"),
        (RuntimeError("not enough memory: you tried to allocate 9 bytes"), Status.OOM, None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), Status.OOM, None),
        (OSError(12, "Cannot allocate memory"), Status.OOM, None),
        (ValueError("not enough memory cells in the table"), Status.FAILED, None),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x"), Status.OOM, None),
        (RunCancelled(), Status.CANCELLED, "stopped by the user"),
    ],
)
def test_every_end_has_a_status_and_a_sentence(error: BaseException | None, status: Status, reason: str | None) -> None:
    found, words = describe_end(error)
    assert found is status
    assert reason is None or words == reason
    assert bool(words) == status.needs_reason


def test_a_reason_is_never_long() -> None:
    _, reason = describe_end(RuntimeError("x" * 10_000))
    assert len(reason or "") == REASON_CHARACTERS


class Loud(FakePipeline):
    """Prints in every way there is."""

    def dataset(self, *args, **kwargs):
        print("from python")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        print("to stderr", file=sys.stderr)
        return super().dataset(*args, **kwargs)


def test_what_libraries_print_goes_to_the_log_and_not_to_the_protocol(tmp_path: Path, capfd) -> None:
    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0])
    answer = Worker(tmp_path, Loud, 1).execute(attempt)
    assert answer == {"attempt": str(attempt), "status": "complete", "reason": None, "fatal": False, "settled": False}
    log = (attempt / "log.txt").read_text()
    assert "from a child" in log
    assert "from a child" not in capfd.readouterr().out


def test_a_traceback_is_in_the_log_and_its_end_in_the_journal(tmp_path: Path) -> None:
    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt", "fault": "error"}}).runs[0])
    answer = Worker(tmp_path, FakePipeline, 1).execute(attempt)
    assert (answer["status"], answer["reason"]) == ("failed", "RuntimeError: the fake was told to fail")
    end = read_end(attempt)
    assert end is not None
    assert (end.error or "").startswith("Traceback")
    assert "_go_wrong" in (end.error or "")


@pytest.mark.parametrize(("error", "settled"), [(TrainingError("diverged"), True), (RuntimeError("a glitch"), False)])
def test_a_training_that_diverged_would_do_so_again(tmp_path: Path, error: Exception, settled: bool) -> None:
    class Diverging(FakePipeline):
        def weights(self, *args, **kwargs):
            raise error

    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_trained"}}).runs[0])
    answer = Worker(tmp_path, Diverging, 1).execute(attempt)
    assert (answer["status"], answer["settled"]) == ("failed", settled)


def test_an_attempt_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0])
    with hold_lease(attempt):
        assert Worker(tmp_path, FakePipeline, 1).execute(attempt)["status"] == "failed"
    assert not (attempt / "events.jsonl").exists()


def test_an_attempt_that_has_ended_is_not_executed_again(tmp_path: Path) -> None:
    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0])
    worker = Worker(tmp_path, FakePipeline, 1)
    assert worker.execute(attempt)["status"] == "complete"
    before = (attempt / "events.jsonl").read_bytes()
    assert worker.execute(attempt)["status"] == "failed"
    assert (attempt / "events.jsonl").read_bytes() == before


def test_who_is_given_up_while_being_stopped_is_given_up(tmp_path: Path) -> None:
    class Stopped(FakePipeline):
        def weights(self, *args, **kwargs):
            write_verdict(attempt, Verdict(1, "hopeless"))
            worker.cancel()
            return super().weights(*args, **kwargs)

    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_trained"}}).runs[0])
    worker = Worker(tmp_path, Stopped, 1)
    assert worker.execute(attempt)["status"] == "pruned"
    end = read_end(attempt)
    assert end is not None
    assert (end.status, end.reason) == (Status.PRUNED, "stopped at step 1: hopeless")


def test_a_worker_without_its_parent_ends_at_once() -> None:
    options = ["--results", ".", "--pipeline", "x:Y", "--threads", "1", "--parent", "1"]
    command = [sys.executable, "-m", "ftlab.execute.worker", *options]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=False).returncode == 1
