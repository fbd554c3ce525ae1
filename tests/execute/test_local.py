"""LocalExecutor passes the contract, and divides the machine among its workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ftlab.events import Status
from ftlab.execute import local
from ftlab.execute.attempts import create_attempt
from ftlab.execute.local import SPINS, LocalExecutor, describe_death
from ftlab.store.journal import read_events
from ftlab.testing.executor_contract import FAKE_PIPELINE, ExecutorContract
from ftlab.testing.fakes import fake_plan


class TestLocalExecutor(ExecutorContract):
    def make(self, results: Path, workers: int) -> LocalExecutor:
        return LocalExecutor(results, FAKE_PIPELINE, workers)


def test_threads_are_divided_and_each_worker_has_one_gpu(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 9)
    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "1"])
    executor = LocalExecutor(tmp_path, FAKE_PIPELINE, 4)
    environments = [executor._environment(slot) for slot in range(4)]
    assert {env["OMP_NUM_THREADS"] for env in environments} == {"2"}
    assert [env["CUDA_VISIBLE_DEVICES"] for env in environments] == ["0", "1", "0", "1"]
    assert environments[0]["TOKENIZERS_PARALLELISM"] == "false"


def test_a_worker_never_has_less_than_one_thread(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 1)
    assert LocalExecutor(tmp_path, FAKE_PIPELINE, 8)._environment(0)["OMP_NUM_THREADS"] == "1"


def test_threads_of_a_worker_soon_sleep_while_they_wait_unless_the_user_says_otherwise(
    monkeypatch, tmp_path: Path
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    executor = LocalExecutor(tmp_path, FAKE_PIPELINE, 1)
    assert executor._environment(0)["GOMP_SPINCOUNT"] == SPINS
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in executor._environment(0)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert executor._environment(0)["GOMP_SPINCOUNT"] == "7"


def test_a_pipeline_that_cannot_be_built_fails_the_run_with_its_reason(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path, "no_such_module:Pipeline", 1)
    try:
        attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0])
        executor.submit(attempt, "base")
        ends = []
        while not ends:
            ends = executor.poll(1)
    finally:
        executor.close()
    assert ends[0].status is Status.FAILED
    assert "no_such_module" in (ends[0].reason or "")
    events, _ = read_events(attempt / "events.jsonl")
    assert [event["type"] for event in events] == ["attempt_started", "attempt_finished"]


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path, FAKE_PIPELINE, 1, env={"PYTHONHOME": "/nowhere"})
    try:
        executor.submit(create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0]), "base")
        ends = []
        while not ends:
            ends = executor.poll(1)
    finally:
        executor.close()
    assert (ends[0].status, ends[0].died) == (Status.FAILED, True)
    assert "exit code 1" in (ends[0].reason or "")


@pytest.mark.parametrize(
    ("code", "oom_killed", "status", "words"),
    [
        (-signal.SIGKILL, True, Status.OOM, "memory ran out"),
        (-signal.SIGKILL, False, Status.KILLED, "possibly out of memory"),
        (-signal.SIGTERM, False, Status.KILLED, "SIGTERM"),
        (-signal.SIGSEGV, False, Status.FAILED, "crashed with SIGSEGV"),
        (3, False, Status.FAILED, "exit code 3"),
    ],
)
def test_deaths_are_told_apart(code: int, oom_killed: bool, status: Status, words: str) -> None:
    found, reason = describe_death(code, oom_killed=oom_killed)
    assert found is status
    assert words in reason
