"""Searches that aim at more than quality, or keep to limits: through the coordinator, from the journals alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_spec import plan_of
from test_coordinator import NoBooks

from ftlab.cli.status import front_facts, front_lines, fronts
from ftlab.events import EventType, Status
from ftlab.execute.attempts import read_config
from ftlab.execute.base import Finished, Handle
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.coordinator import Coordinator
from ftlab.execute.experiments import find_plan
from ftlab.execute.progress import Silent
from ftlab.execute.stages import StageStore
from ftlab.plan.run import Plan
from ftlab.search.forgetting import worst_loss
from ftlab.search.front import FrontArm, non_dominated
from ftlab.search.session import SearchSession
from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT
from ftlab.store.journal import EventWriter

SPEC = """
version: 1
name: goals
model: ./model
data: {source: ./rows.jsonl}
task:
  type: classification
  prompt: [{role: user, content: "{{ text }}"}]
  target: "{{ label }}"
benchmarks: {tasks: [builtin:piqa, builtin:boolq]}
prices: {machine_hour: 2.0}
methods:
  found:
    type: lora
    r: {choice: [1, 2, 4, 8, 16, 32]}
    search: SEARCH
"""


def benchmark(value: float) -> dict[str, Any]:
    return {"primary": "acc", "metrics": {"acc": {"value": value}}}


class Judge:
    """Quality rises with the rank, and so does what is forgotten: 0.2 points of PIQA for each."""

    warm = ()
    capacity = 1

    def __init__(self) -> None:
        self._running: list[Handle] = []

    def submit(self, attempt: Path, base: str) -> Handle:
        self._running.append(Handle(attempt, base))
        return self._running[-1]

    def poll(self, timeout: float) -> list[Finished]:
        handle = self._running.pop(0)
        config = read_config(handle.attempt)
        rank = config.method.get("r", 0)
        with EventWriter(handle.attempt / "events.jsonl") as write:
            write(EventType.ATTEMPT_STARTED, run_id=config.run_id, attempt=1, pid=1, host="h", provenance={})
            for stage in config.stages:
                StageStore(handle.attempt.parents[3]).produce(stage.kind, stage.key, lambda out: {})
                lost = rank * 0.002 if stage.name == "builtin:piqa" else -0.1
                summary = benchmark(0.7 - lost) if stage.kind == "benchmark" else {}
                if stage.kind == "benchmark" and not rank:
                    summary = benchmark(0.7)
                told = {"kind": stage.kind, "name": stage.name, "key": stage.key, "summary": summary}
                write(EventType.STAGE, **told, cached=False, seconds=1.0, bytes=1)
            if rank:
                row = {"key": "accuracy", "value": 0.5 + rank / 100, "direction": "higher"}
                write(EventType.METRICS, split="validation", rows=[row])
            write(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
        return [Finished(handle, Status.COMPLETE, None)]

    def cancel(self) -> None:
        return None

    def close(self) -> None:
        return None


def searched(root: Path, search: str, at: str = "") -> Plan:
    text = SPEC.replace("SEARCH", search)
    plan = plan_of(root, text.replace("builtin:boolq]}", f"builtin:boolq]{at}}}"))
    outcome = Coordinator(plan, root / "r", Judge(), Bookkeeping(NoBooks()), Silent()).run()
    assert outcome.exit_code == 0
    return find_plan(root / "r")


def test_the_best_arm_keeps_to_the_limit(tmp_path: Path) -> None:
    plan = searched(tmp_path, "{sampler: tpe, arms: 6, constraints: [forgetting <= 0.02]}")
    found = fronts(tmp_path / "r", plan)
    assert [arm.label for arm in found[0].arms] == ["found r=8"]
    assert found[0].broken == 2
    assert front_lines(found) == [
        "best of found by accuracy within forgetting <= 0.02: 1 arm, the best that keeps to it, "
        "2 other arms beyond the limits",
        "  found r=8: accuracy 0.58",
    ]


def test_of_quality_and_forgetting_the_best_is_a_front(tmp_path: Path) -> None:
    plan = searched(tmp_path, "{sampler: random, arms: 6, objectives: [quality, forgetting]}")
    found = fronts(tmp_path / "r", plan)
    assert [arm.label for arm in found[0].arms] == [f"found r={rank}" for rank in (32, 16, 8, 4, 2, 1)]
    lines = front_lines(found)
    assert "6 arms, none is beaten in all of them (the Pareto front)" in lines[0]
    assert lines[1] == "  found r=32: accuracy 0.82, forgetting 0.064"
    assert front_facts(found)[0]["arms"][0] == {
        "label": "found r=32",
        "accuracy": pytest.approx(0.82),
        "forgetting": pytest.approx(0.064),
    }


def test_what_is_forgotten_on_the_way_is_not_what_the_result_forgot(tmp_path: Path) -> None:
    plan = searched(tmp_path, "{sampler: tpe, arms: 6, constraints: [forgetting <= 0.02]}", ", at: [{every: 0.5}]")
    assert any(stage.point for run in plan.runs for stage in run.stages)
    assert [arm.label for arm in fronts(tmp_path / "r", plan)[0].arms] == ["found r=8"]


def test_without_goals_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert fronts(tmp_path / "r", searched(tmp_path, "{sampler: random, arms: 2}")) == []


def test_an_arm_is_open_until_the_base_was_measured(tmp_path: Path) -> None:
    plan = searched(tmp_path, "{sampler: random, arms: 6, objectives: [quality, forgetting]}")
    base = next(run for run in plan.runs if run.key("weights") is None)
    journal = tmp_path / "r" / plan.experiment_id / "runs" / base.run_id / "a1" / "events.jsonl"
    journal.write_bytes(b"")
    session = SearchSession(plan, tmp_path / "r")
    assert session.fronts()[0].arms == ()
    assert session.propose() == [], "its arms are spent"


def test_the_worst_loss_is_over_what_is_counted_in_shares() -> None:
    arm = {"builtin:piqa": benchmark(0.6), "builtin:boolq": benchmark(0.9)}
    base = {"builtin:piqa": benchmark(0.65), "builtin:boolq": benchmark(0.7)}
    assert worst_loss(arm, base) == pytest.approx(0.05)
    assert worst_loss(arm, {"builtin:piqa": benchmark(0.65)}) is None
    assert worst_loss({}, base) is None
    assert worst_loss(base, base) == 0
    nats = {"primary": "loss", "metrics": {"loss": {"value": 9.0}}}
    assert worst_loss({**arm, NEUTRAL_TEXT: nats}, {**base, NEUTRAL_TEXT: nats}) == pytest.approx(0.05)
    habits = {"primary": "instructions", "metrics": {"instructions": {"value": 0.2}, "length": {"value": 900.0}}}
    before = {"primary": "instructions", "metrics": {"instructions": {"value": 0.5}, "length": {"value": 1.0}}}
    assert worst_loss({BEHAVIOUR: habits}, {BEHAVIOUR: before}) == pytest.approx(0.3)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_a_front_is_what_nobody_beats(values: list[tuple[int, int]]) -> None:
    arms = [FrontArm(str(place), (float(a), float(b))) for place, (a, b) in enumerate(values)]
    front = non_dominated(arms, ("maximize", "minimize"))
    assert bool(front) == bool(arms)
    for arm in arms:
        beaten = any(
            other.values != arm.values and other.values[0] >= arm.values[0] and other.values[1] <= arm.values[1]
            for other in arms
        )
        assert (arm in front) == (not beaten)
