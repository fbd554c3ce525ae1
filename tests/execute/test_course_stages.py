"""Runs with benchmarks in the course of their training: what is computed, taken over, and given up to save space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from test_runner import TRAINED, Journal, execute, work

from ftlab.events import EventType, Status
from ftlab.execute.collect import find_removals, remove
from ftlab.execute.course import point_folder
from ftlab.execute.runner import execute_run
from ftlab.execute.stages import StageStore
from ftlab.files import write_atomic
from ftlab.plan.run import Plan
from ftlab.store.journal import EventWriter
from ftlab.testing.fakes import FakePipeline, fake_plan

AT = ({"every": 0.5}, "best")


def course_plan(at: Any = AT, **fields: Any) -> Plan:
    return fake_plan({"a": {**TRAINED, **fields}}, at=at)


def test_each_point_is_benchmarked_on_its_own_weights(tmp_path: Path, monkeypatch: Any) -> None:
    plan, seen = course_plan(), {}
    real = FakePipeline.benchmark

    def benchmark(self: Any, config: Any, task: str, weights: Path, out: Path, report: Any) -> Any:
        seen[weights.name if weights.parent.parent.name == "candidates" else "result"] = task
        return real(self, config, task, weights, out, report)

    monkeypatch.setattr(FakePipeline, "benchmark", benchmark)
    journal = execute(plan, tmp_path)
    assert [stage["name"] for stage in journal.of(EventType.STAGE) if stage["kind"] == "benchmark"] == [
        "builtin:piqa",
        "builtin:piqa at 50%",
        "builtin:piqa at best",
    ]
    assert seen == dict.fromkeys(("result", "p0", "p1"), "builtin:piqa")
    assert work(tmp_path)["weights"] == 1, "one training serves them all"


def test_the_result_is_that_of_a_run_without_points(tmp_path: Path) -> None:
    execute(course_plan(), tmp_path / "one")
    execute(course_plan(at=()), tmp_path / "other")
    keys = [plan.runs[0].key("weights") for plan in (course_plan(), course_plan(at=()))]
    assert keys[0] == keys[1]
    files = [StageStore(tmp_path / side).path("weights", keys[0] or "") for side in ("one", "other")]
    weights = [(folder / "adapter_model.safetensors").read_bytes() for folder in files]
    assert weights[0] == weights[1]


def test_the_curve_of_a_training_is_told_once(tmp_path: Path) -> None:
    plan = course_plan()
    first, second = execute(plan, tmp_path), execute(plan, tmp_path, "a2")
    steps = [point["step"] for point in first.of(EventType.CURVE)]
    assert len(steps) == len(set(steps))
    assert second.of(EventType.CURVE) == first.of(EventType.CURVE)


def test_two_points_on_one_step_are_measured_once(tmp_path: Path, monkeypatch: Any) -> None:
    plan = course_plan()
    real = FakePipeline.weights

    def weights(self: Any, *arguments: Any) -> Any:
        summary = real(self, *arguments)
        summary["points"]["best"]["step"] = summary["points"]["50%"]["step"]
        return summary

    monkeypatch.setattr(FakePipeline, "weights", weights)
    execute(plan, tmp_path)
    assert work(tmp_path)["benchmark"] == 2
    stages = StageStore(tmp_path)
    half, best = (stages.complete("benchmark", stage.key) for stage in plan.runs[0].stages if stage.point)
    assert half is not None
    assert best is not None
    assert (half.path / "items.parquet").read_bytes() == (best.path / "items.parquet").read_bytes()


def test_weights_of_points_go_when_space_is_made_and_come_back_when_asked_for(tmp_path: Path) -> None:
    plan = course_plan()
    attempt = tmp_path / plan.experiment_id / "runs" / plan.runs[0].run_id / "a1"
    attempt.mkdir(parents=True)
    write_atomic(attempt / "config.json", plan.runs[0].model_dump_json().encode())
    with EventWriter(attempt / "events.jsonl") as write:
        execute_run(plan.runs[0], StageStore(tmp_path), FakePipeline(), attempt, write)
        write(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
    kept = plan.runs[0].key("weights") or ""
    found = [one for one in find_removals(tmp_path, [plan], {kept}) if one.what == "weights"]
    assert [one.path.parent.name for one in found] == ["candidates"]
    assert remove(tmp_path, found) > 0
    stages = StageStore(tmp_path)
    execute(plan, tmp_path, "a2")
    assert work(tmp_path)["weights"] == 1, "what was measured needs no weights"
    stages.forget("benchmark", next(stage.key for stage in plan.runs[0].stages if stage.point))
    journal = execute(plan, tmp_path, "a3")
    assert work(tmp_path)["weights"] == 2
    assert all(stage["summary"] for stage in journal.of(EventType.STAGE))
    assert point_folder(plan.runs[0], stages, "50%").is_dir()


def test_a_prompt_has_no_course(tmp_path: Path) -> None:
    plan = fake_plan({"a": {"type": "fake_prompt"}}, at=AT)
    journal: Journal = execute(plan, tmp_path)
    assert not any("at" in stage["name"].split() for stage in journal.of(EventType.STAGE))
