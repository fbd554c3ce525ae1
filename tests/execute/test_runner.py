"""execute_run: what is computed, what is told, and in which order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ftlab.events import EventType
from ftlab.execute.runner import execute_run
from ftlab.execute.stages import StageStore
from ftlab.plan.run import Plan
from ftlab.testing.fake_pipeline import STEPS, read_work
from ftlab.testing.fakes import FakePipeline, fake_plan

TRAINED = {"type": "fake_trained"}


class Journal(list[tuple[EventType, dict[str, Any]]]):
    def __call__(self, type: EventType, **fields: Any) -> None:  # noqa: A002
        self.append((type, fields))

    def of(self, wanted: EventType) -> list[dict[str, Any]]:
        return [fields for event, fields in self if event is wanted]


def execute(plan: Plan, results: Path, attempt: str = "a1") -> Journal:
    journal = Journal()
    (results / attempt).mkdir(parents=True, exist_ok=True)
    execute_run(plan.runs[0], StageStore(results), FakePipeline(), results / attempt, journal)
    return journal


def work(results: Path) -> Counter[str]:
    return Counter(line["kind"] for line in read_work(results) if line["what"] == "begin")


def test_stages_are_told_in_the_plans_order(tmp_path: Path) -> None:
    plan = fake_plan({"a": TRAINED})
    journal = execute(plan, tmp_path)
    told = [(stage["kind"], stage["name"], stage["key"]) for stage in journal.of(EventType.STAGE)]
    assert told == [(stage.kind, stage.name, stage.key) for stage in plan.runs[0].stages]
    assert not any(stage["cached"] for stage in journal.of(EventType.STAGE))
    assert [point["step"] for point in journal.of(EventType.CURVE)] == list(range(1, STEPS + 1))


def test_a_cached_run_tells_all_that_a_computed_one_does(tmp_path: Path) -> None:
    plan = fake_plan({"a": TRAINED})
    first, second = execute(plan, tmp_path), execute(plan, tmp_path, "a2")
    assert work(tmp_path).total() == 5
    assert all(stage["cached"] for stage in second.of(EventType.STAGE))
    assert second.of(EventType.CURVE) == first.of(EventType.CURVE)
    assert second.of(EventType.METRICS) == first.of(EventType.METRICS)
    for name in ("seconds", "bytes", "summary"):
        assert [s[name] for s in second.of(EventType.STAGE)] == [s[name] for s in first.of(EventType.STAGE)]


def test_metrics_are_told_after_the_stage_they_come_from(tmp_path: Path) -> None:
    journal = execute(fake_plan({"a": TRAINED}), tmp_path)
    types = [(event, fields.get("kind")) for event, fields in journal]
    assert types.index((EventType.METRICS, None)) == types.index((EventType.STAGE, "scores")) + 1
    (metrics,) = journal.of(EventType.METRICS)
    assert metrics["split"] == "validation"
    assert [row["key"] for row in metrics["rows"]] == ["accuracy", "valid_format"]


def test_the_curve_of_a_resumed_training_is_whole(tmp_path: Path) -> None:
    plan = fake_plan({"a": TRAINED})
    checkpoints = tmp_path / "a1" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "step").write_text("3")
    journal = execute(plan, tmp_path)
    steps = [point["step"] for point in journal.of(EventType.CURVE)]
    assert sorted(steps) == [1, 2, 3, 4, 5], "the points before the kill come from the stage's own curves"
    weights = next(stage for stage in journal.of(EventType.STAGE) if stage["kind"] == "weights")
    assert weights["summary"]["resumed_from_step"] == 3


def test_what_a_stage_raises_goes_through_and_the_stages_before_it_stand(tmp_path: Path) -> None:
    plan = fake_plan({"a": {**TRAINED, "fault": "error", "fault_in": "scores"}})
    with pytest.raises(RuntimeError, match="told to fail"):
        execute(plan, tmp_path)
    stages = StageStore(tmp_path)
    complete = {stage.kind for stage in plan.runs[0].stages if stages.complete(stage.kind, stage.key)}
    assert complete == {"dataset", "weights", "predictions"}


@pytest.mark.parametrize("kind", ["weights", "predictions"])
def test_what_went_less_than_well_is_told_by_every_attempt_that_uses_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = {"code": "overfitting", "message": "it learns by heart", "step": 3}
    real = getattr(FakePipeline, kind)
    monkeypatch.setattr(FakePipeline, kind, lambda *arguments: {**real(*arguments), "warnings": [warning]})
    plan = fake_plan({"a": TRAINED})
    assert execute(plan, tmp_path).of(EventType.WARNING) == [], "whoever computes tells it while it computes"
    assert execute(plan, tmp_path, "a2").of(EventType.WARNING) == [warning]
