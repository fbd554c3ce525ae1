"""A whole sweep through the command line whose benchmarks ftlab asks itself, from the spec to the view."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.decide.build import build_view
from ftlab.decide.drift import SAME_WEIGHTS
from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT
from ftlab.store import queries
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.tiny import tiny_rows

SPEC = """
version: 1
name: asked
model: {model}
data: {{source: ./rows.jsonl, splits: {{validation: 8, test: 3}}}}
task:
  type: classification
  prompt: [{{role: user, content: "{{{{ question }}}}"}}]
  target: "{{{{ label }}}}"
methods:
  zero_shot: {{type: prompt}}
  lora: {{type: lora, r: 4, learning_rate: 1e-2}}
train: {{max_steps: 8, batch_size: 8, checkpoints: 0, evaluations: 0}}
benchmarks: {{tasks: ["{task}"], limit: 12}}
decision: {{max_forgetting: {{"{task}": 0.5}}}}
"""


@pytest.mark.parametrize(
    ("task", "measures", "drifts"),
    [
        (BEHAVIOUR, ["instructions", "format"], ["length", "refusals", "repetition"]),
        pytest.param(NEUTRAL_TEXT, [""], ["per-byte"], marks=pytest.mark.real),
    ],
)
def test_a_sweep_measures_the_base_once_and_each_arm(
    tiny_folder: Path, tmp_path: Path, task: str, measures: list[str], drifts: list[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(40)))
    (tmp_path / "spec.yaml").write_text(SPEC.format(model=tiny_folder, task=task))
    command = [sys.executable, "-m", "ftlab.cli", "run", "spec.yaml", "--results", "results"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    stages = list((tmp_path / "results" / "stages" / "benchmark").glob("*/COMPLETE.json"))
    assert len(stages) == 2
    with open_snapshot(tmp_path / "results") as snapshot:
        cursor = snapshot.cursor()
        (experiment,) = queries.experiments(cursor)
        view = build_view(cursor, experiment.experiment_id)
    names = [f"{task}/{name}" if name else task for name in measures]
    assert view.benchmarks == names
    assert set(view.forgetting_limits.values()) == {0.5}
    by_method = {arm.method_name: arm for arm in view.arms}
    for arm in by_method.values():
        assert [change.task for change in arm.benchmarks] == names
        assert all(change.difference.estimate.n for change in arm.benchmarks)
    assert {change.difference.estimate.method for change in by_method["zero_shot"].benchmarks} == {SAME_WEIGHTS}
    # Habits of so small a model may be too short to measure; what was measured has its name and order.
    moved = [drift.task for drift in by_method["lora"].drift]
    assert moved == [name for name in (f"{task}/{drift}" for drift in drifts) if name in moved]
    assert moved


def test_a_sweep_measures_points_of_a_training(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(40)))
    spec = SPEC.format(model=tiny_folder, task=BEHAVIOUR).replace("limit: 12", "limit: 12, at: [best, {every: 0.5}]")
    (tmp_path / "spec.yaml").write_text(spec.replace("evaluations: 0", "evaluations: 2, keep: best"))
    command = [sys.executable, "-m", "ftlab.cli", "run", "spec.yaml", "--results", "results"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    with open_snapshot(tmp_path / "results") as snapshot:
        cursor = snapshot.cursor()
        (experiment,) = queries.experiments(cursor)
        view = build_view(cursor, experiment.experiment_id)
    lora = next(arm for arm in view.arms if arm.method_name == "lora")
    assert [course.task for course in lora.courses] == [f"{BEHAVIOUR}/instructions", f"{BEHAVIOUR}/format"]
    for course in lora.courses:
        assert {point.point: point.step for point in course.points}["50%"] == 4
        assert course.result == "best"
        assert all(point.change.n for point in course.points)
    assert "In the course of the training" not in done.stdout
    assert "Forgetting in the course of the training" in done.stdout
