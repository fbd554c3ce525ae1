"""How far a sweep is, from journals written by the test."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ftlab.events import EventType, Status
from ftlab.execute.attempts import create_attempt
from ftlab.execute.progress import Progress
from ftlab.plan.run import Plan, RunConfig
from ftlab.store.journal import EventWriter
from ftlab.testing.fakes import fake_plan

TRAINED = {"type": "fake_trained"}


@pytest.fixture
def plan() -> Plan:
    return fake_plan({name: {**TRAINED, "quality": n / 10} for n, name in enumerate("abc")}, benchmarks=())


def finish(progress: Progress, config: RunConfig, seconds: float) -> None:
    for stage in config.stages:
        progress.stage_complete(config, stage, seconds)
    progress.ended(config, Status.COMPLETE)


def test_nothing_is_estimated_before_something_is_measured(plan: Plan) -> None:
    state = Progress(plan, 1).state()
    assert (state.total, state.done, state.failed, state.running, state.seconds_left) == (3, 0, 0, (), None)


def test_time_left_counts_each_distinct_stage_once_and_divides_among_workers(plan: Plan) -> None:
    one, two = Progress(plan, 1), Progress(plan, 2)
    for progress in (one, two):
        finish(progress, plan.runs[0], 2.0)
    # Left are weights, predictions and scores of two runs; the data set is shared and done.
    assert one.state().seconds_left == pytest.approx(12.0)
    assert two.state().seconds_left == pytest.approx(6.0)


def test_a_sweep_that_is_over_has_no_time_left(plan: Plan) -> None:
    progress = Progress(plan, 1)
    finish(progress, plan.runs[0], 2.0)
    progress.ended(plan.runs[1], Status.FAILED)
    progress.ended(plan.runs[2], Status.OOM)
    state = progress.state()
    assert (state.done, state.failed, state.seconds_left) == (1, 2, 0.0)


def test_a_running_run_is_followed_through_its_journal(plan: Plan, tmp_path: Path) -> None:
    config = plan.runs[0]
    attempt = create_attempt(tmp_path, config)
    progress = Progress(plan, 1)
    progress.started(config, attempt)
    assert progress.state().running[0].stage == "", "its worker has not begun"
    weights = next(stage for stage in config.stages if stage.kind == "weights")
    now = 1000.0
    with EventWriter(attempt / "events.jsonl", clock=lambda: now) as write:
        write(EventType.STAGE_STARTED, kind="weights", name="", key=weights.key)
        now = 1010.0
        rate = {"loss": 1.5, "tokens_per_second": 99.0}
        write(EventType.PROGRESS, phase="train", done=2, total=8, unit="steps", **rate)
        (run,) = progress.state().running
        assert (run.label, run.stage, run.phase, run.done, run.total, run.unit) == (
            "a",
            "weights",
            "train",
            2,
            8,
            "steps",
        )
        assert (run.loss, run.tokens_per_second) == (1.5, 99.0)
        write(
            EventType.STAGE, kind="weights", name="", key=weights.key, cached=False, seconds=40.0, bytes=1, summary={}
        )
        progress.state()
    assert progress.is_complete(weights)


def test_a_warning_is_new_once_and_names_the_run(plan: Plan, tmp_path: Path) -> None:
    progress = Progress(plan, 1)
    warned = {"code": "overfitting", "message": "it learns by heart", "step": 8}
    for config in plan.runs[:2]:
        attempt = create_attempt(tmp_path, config)
        progress.started(config, attempt)
        with EventWriter(attempt / "events.jsonl") as write:
            write(EventType.WARNING, **warned)
    progress.ended(plan.runs[0], Status.COMPLETE)
    assert progress.new_warnings() == ["a: it learns by heart"], "of a run that has ended meanwhile, too"
    progress.state()
    assert progress.new_warnings() == [], "another run says the same"


def test_what_was_never_measured_is_projected_from_what_runs(plan: Plan, tmp_path: Path, monkeypatch) -> None:
    done, running = plan.runs[0], plan.runs[1]
    progress = Progress(plan, 1)
    for stage in done.stages:
        if stage.kind != "weights":
            progress.stage_complete(done, stage, 1.0)
    progress.ended(done, Status.FAILED)
    assert progress.state().seconds_left is None
    attempt = create_attempt(tmp_path, running)
    progress.started(running, attempt)
    weights = next(stage for stage in running.stages if stage.kind == "weights")
    now = 1000.0
    with EventWriter(attempt / "events.jsonl", clock=lambda: now) as write:
        write(EventType.STAGE_STARTED, kind="weights", name="", key=weights.key)
        now = 1010.0
        write(EventType.PROGRESS, phase="train", done=2, total=8, unit="steps")
    monkeypatch.setattr("ftlab.execute.progress.time.time", lambda: 1010.0)
    # 40 s per training, 10 s of the first gone, and 1 s for each of the four stages after them.
    assert progress.state().seconds_left == pytest.approx(30 + 40 + 4)


def test_the_seed_is_named_where_there_are_several() -> None:
    plan = fake_plan({"a": TRAINED}, seeds=(0, 1))
    progress = Progress(plan, 1)
    assert [progress.label(config) for config in plan.runs] == ["a seed=0", "a seed=1"]


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_the_time_left_is_the_same_however_wrong_a_workers_clock_is(plan: Plan, tmp_path: Path, skew: float) -> None:
    progress = Progress(plan.model_copy(update={"runs": plan.runs[:1]}), 1)
    config = plan.runs[0]
    attempt = create_attempt(tmp_path, config)
    progress.started(config, attempt)
    weights = next(stage for stage in config.stages if stage.kind == "weights")
    for stage in (stage for stage in config.stages if stage != weights):
        progress.stage_complete(config, stage, 1.0)
    clock = iter([time.time() + skew, time.time() + skew + 10])
    with EventWriter(attempt / "events.jsonl", clock=lambda: next(clock)) as write:
        write(EventType.STAGE_STARTED, kind=weights.kind, name=weights.name, key=weights.key)
        write(EventType.PROGRESS, phase="train", done=1, total=4, unit="steps")
    assert progress.state().seconds_left == pytest.approx(30.0, abs=0.1)
