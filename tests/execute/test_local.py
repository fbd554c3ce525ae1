"""LocalExecutor passes the contract, and divides the machine among its workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.execute import local
from ftlab.execute.attempts import create_attempt
from ftlab.execute.base import Finished
from ftlab.execute.local import LocalExecutor, open_local
from ftlab.execute.process import describe_death
from ftlab.spec.execution import ExecuteSpec
from ftlab.store.journal import read_events
from ftlab.testing.executor_contract import FAKE_PIPELINE, ExecutorContract, KeptWorkersContract
from ftlab.testing.fakes import fake_plan


class TestLocalExecutor(ExecutorContract, KeptWorkersContract):
    def make(self, results: Path, workers: int) -> LocalExecutor:
        return LocalExecutor(results, FAKE_PIPELINE, workers)

    def make_impossible(self, results: Path) -> LocalExecutor:
        return LocalExecutor(results, FAKE_PIPELINE, 1, cpus=100_000)


def test_each_run_has_gpus_and_threads_of_its_own(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(local, "usable_cores", lambda: 6)
    executor = LocalExecutor(tmp_path, FAKE_PIPELINE, 2)
    plan = fake_plan({name: {"type": "fake_prompt", "seconds": 1.0} for name in ("a", "b")}, benchmarks=())
    attempts = [create_attempt(tmp_path, config) for config in plan.runs]
    try:
        for attempt in attempts:
            executor.submit(attempt, "base")
        ends: list[Finished] = []
        while len(ends) < 2:
            ends += executor.poll(1)
    finally:
        executor.close()
    told = [read_events(attempt / "events.jsonl")[0][0]["provenance"]["environment"] for attempt in attempts]
    assert sorted(env["CUDA_VISIBLE_DEVICES"] for env in told) == ["4", "7"]
    assert {env["OMP_NUM_THREADS"] for env in told} == {"3"}


def test_more_workers_than_gpus_are_refused_with_the_mend(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError, match=r"workers is 3 .* this machine has 2; set execute.workers to at most 2"):
        open_local(tmp_path, FAKE_PIPELINE, ExecuteSpec(workers=3)).prepare()
    open_local(tmp_path, FAKE_PIPELINE, ExecuteSpec(workers=3, gpus=0.5)).prepare()
    open_local(tmp_path, FAKE_PIPELINE, ExecuteSpec(workers=3, gpus=0)).prepare()


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
