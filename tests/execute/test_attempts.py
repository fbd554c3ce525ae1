"""Attempt directories: numbered, closed when dead, continued from where the last one was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.errors import StoreBusyError
from ftlab.events import EventType, Status
from ftlab.execute.attempts import (
    asked_to_end,
    close_attempt,
    close_dead_attempts,
    create_attempt,
    hold_lease,
    list_attempts,
    number,
    read_config,
    read_end,
    run_folder,
)
from ftlab.plan.run import RunConfig
from ftlab.store.journal import EventWriter, read_events
from ftlab.testing.fakes import fake_plan


@pytest.fixture
def config() -> RunConfig:
    return fake_plan({"a": {"type": "fake_trained"}}).runs[0]


def types(attempt: Path) -> list[str]:
    return [event["type"] for event in read_events(attempt / "events.jsonl")[0]]


def test_attempts_are_numbered_from_one_in_order(tmp_path: Path, config: RunConfig) -> None:
    made = [create_attempt(tmp_path, config) for _ in range(11)]
    assert [attempt.name for attempt in made] == [f"a{n}" for n in range(1, 12)]
    assert list_attempts(run_folder(tmp_path, config)) == made, "a10 comes after a9"
    assert number(made[-1]) == 11
    assert read_config(made[0]) == config


def test_the_next_attempt_takes_over_the_checkpoints(tmp_path: Path, config: RunConfig) -> None:
    first = create_attempt(tmp_path, config)
    (first / "checkpoints").mkdir()
    (first / "checkpoints" / "step").write_text("3")
    second = create_attempt(tmp_path, config)
    assert (second / "checkpoints" / "step").read_text() == "3"
    assert not (first / "checkpoints").exists()


def test_checkpoints_of_another_training_are_left_alone(tmp_path: Path, config: RunConfig) -> None:
    first = create_attempt(tmp_path, config)
    (first / "checkpoints").mkdir()
    stages = tuple(stage.model_copy(update={"key": "f" * 32}) for stage in config.stages)
    second = create_attempt(tmp_path, config.model_copy(update={"stages": stages}))
    assert not (second / "checkpoints").exists()


def test_an_attempt_without_a_journal_has_no_end(tmp_path: Path, config: RunConfig) -> None:
    assert read_end(create_attempt(tmp_path, config)) is None


def test_the_end_is_read_behind_a_long_journal(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with EventWriter(attempt / "events.jsonl") as write:
        for step in range(3000):
            write(EventType.CURVE, step=step, values={"train/loss": 1.0})
        assert read_end(attempt) is None
        write(EventType.ATTEMPT_FINISHED, status=Status.FAILED, reason="it broke", error="Traceback " + "x" * 8000)
    end = read_end(attempt)
    assert end is not None
    assert (end.status, end.reason) == (Status.FAILED, "it broke")


def test_an_end_without_its_newline_is_no_end(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with EventWriter(attempt / "events.jsonl") as write:
        write(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
    whole = (attempt / "events.jsonl").read_bytes()
    (attempt / "events.jsonl").write_bytes(whole[:-1])
    assert read_end(attempt) is None


def test_closing_repairs_a_torn_line_and_says_why(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with EventWriter(attempt / "events.jsonl") as write:
        write(EventType.ATTEMPT_STARTED, run_id=config.run_id, attempt=1, pid=1, host="h", provenance={})
    with (attempt / "events.jsonl").open("ab") as journal:
        journal.write(b'{"v":1,"seq":2,"ts":1.0,"ty')
    close_attempt(attempt, Status.KILLED, "the machine went down")
    assert types(attempt) == ["attempt_started", "attempt_finished"]
    end = read_end(attempt)
    assert end is not None
    assert (end.status, end.reason) == (Status.KILLED, "the machine went down")


def test_closing_an_attempt_that_never_began_leaves_a_whole_journal(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    close_attempt(attempt, Status.FAILED, "the worker could not start")
    assert types(attempt) == ["attempt_started", "attempt_finished"]
    started = json.loads((attempt / "events.jsonl").read_text().splitlines()[0])
    assert (started["run_id"], started["attempt"]) == (config.run_id, 1)


def test_only_the_dead_are_closed(tmp_path: Path, config: RunConfig) -> None:
    dead, alive = create_attempt(tmp_path, config), create_attempt(tmp_path, config)
    with hold_lease(alive), pytest.raises(StoreBusyError, match="still works"):
        close_dead_attempts(tmp_path, config, patience=0.1)
    assert read_end(alive) is None
    end = read_end(dead)
    assert end is not None
    assert end.status is Status.KILLED
    assert close_dead_attempts(tmp_path, config) == 1
    assert close_dead_attempts(tmp_path, config) == 0, "once is enough"


def test_a_worker_that_still_works_is_asked_to_end(tmp_path: Path, config: RunConfig) -> None:
    alive = create_attempt(tmp_path, config)
    with hold_lease(alive), pytest.raises(StoreBusyError):
        close_dead_attempts(tmp_path, config, patience=0.1)
    asked = asked_to_end(alive)
    assert asked is not None
    assert (asked.status, asked.now) == (Status.KILLED, False)


def test_a_closed_attempt_lasted_as_long_as_its_own_clock_says(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    clock = iter([1000.0, 1060.0])
    with EventWriter(attempt / "events.jsonl", clock=lambda: next(clock)) as write:
        write(EventType.ATTEMPT_STARTED, run_id=config.run_id, attempt=1, pid=1, host="h", provenance={})
        write(EventType.CURVE, step=1, values={"train/loss": 1.0})
    close_attempt(attempt, Status.KILLED, "its node went down")
    end = read_end(attempt)
    assert end is not None
    assert end.ts == 1060.0


def test_a_closed_attempt_hears_nothing_more_and_loses_nothing_that_was_said(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with EventWriter(attempt / "events.jsonl") as write:
        write(EventType.CURVE, step=1, values={"train/loss": 1.0})
        before = (attempt / "events.jsonl").read_bytes()
        close_attempt(attempt, Status.KILLED, "its node went down")
        closed = (attempt / "events.jsonl").read_bytes()
        write(EventType.CURVE, step=2, values={"train/loss": 2.0})
        write(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
    assert closed.startswith(before)
    assert (attempt / "events.jsonl").read_bytes() == closed
    assert types(attempt) == ["curve", "attempt_finished"]


def test_an_end_that_came_before_the_fence_stands(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with EventWriter(attempt / "events.jsonl") as write:
        write(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
        close_attempt(attempt, Status.KILLED, "its node was not heard of")
    assert types(attempt) == ["attempt_finished"]
    end = read_end(attempt)
    assert end is not None
    assert end.status is Status.COMPLETE


def test_a_lease_is_held_by_one(tmp_path: Path, config: RunConfig) -> None:
    attempt = create_attempt(tmp_path, config)
    with hold_lease(attempt) as first, hold_lease(attempt) as second:
        assert (first, second) == (True, False)
    with hold_lease(attempt) as again:
        assert again
