"""RealPipeline on a tiny model: what was trained a moment ago answers as what was stored; the base stays the base."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ftlab.events import ignore
from ftlab.execute.real import RealPipeline
from ftlab.execute.runner import execute_run
from ftlab.execute.stages import StageStore
from ftlab.plan.clone import cloned, make_clone
from ftlab.plan.expand import build_plan
from ftlab.plan.run import Plan, RunConfig
from ftlab.spec.load import load_spec
from ftlab.testing.tiny import tiny_model, tiny_rows

SPEC = """
version: 1
name: tiny
model: ./model
data: {source: ./rows.jsonl, splits: {validation: 12, test: 3}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  max_new_tokens: 3
methods:
  zero_shot: {type: prompt}
  chosen: {type: prompt, decode: choose}
  lora: {type: lora, r: 4, learning_rate: 1e-2, decode: choose}
  full: {type: full, learning_rate: 1e-3}
train: {max_steps: 2, batch_size: 8, checkpoints: 0, evaluations: 1}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("spec")
    tiny_model(folder / "model")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(48)))
    (folder / "tiny.yaml").write_text(SPEC)
    return build_plan(load_spec(folder / "tiny.yaml"))


@pytest.fixture(scope="module")
def done(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder in which one pipeline executed all runs, one after the other."""
    results = tmp_path_factory.mktemp("results")
    pipeline = RealPipeline(threads=1)
    for config in plan.runs:
        attempt = results / config.run_id
        attempt.mkdir()
        execute_run(config, StageStore(results), pipeline, attempt, ignore)
    pipeline.close()
    return results


def run_of(plan: Plan, method: str) -> RunConfig:
    return next(config for config in plan.runs if config.method_name == method)


def answers(folder: Path) -> list[tuple]:
    table = pq.read_table(folder / "predictions.parquet", columns=["example_id", "output", "label_logprobs"])
    return [tuple(row.values()) for row in table.to_pylist()]


def stage(results: Path, config: RunConfig, kind: str, name: str = "") -> Path:
    return StageStore(results).path(kind, config.key(kind, name) or "")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_trained_model_answers_as_when_it_is_restored_by_another_worker(
    plan: Plan, done: Path, tmp_path: Path, method: str
) -> None:
    config = run_of(plan, method)
    dataset, weights = stage(done, config, "dataset"), stage(done, config, "weights")
    RealPipeline(threads=1).predictions(config, "validation", dataset, weights, tmp_path, ignore)
    assert answers(tmp_path) == answers(stage(done, config, "predictions", "validation"))


def test_the_base_answers_alike_before_and_after_other_methods_used_it(plan: Plan, done: Path, tmp_path: Path) -> None:
    before, lora, full = run_of(plan, "chosen"), run_of(plan, "lora"), run_of(plan, "full")
    pipeline = RealPipeline(threads=1)
    for number, config in enumerate((lora, full, lora, before)):
        out = tmp_path / str(number)
        out.mkdir()
        weights = stage(done, config, "weights") if config.key("weights") else None
        pipeline.predictions(config, "validation", stage(done, config, "dataset"), weights, out, ignore)
    assert answers(tmp_path / "3") == answers(stage(done, before, "predictions", "validation"))
    assert answers(tmp_path / "0") == answers(tmp_path / "2")
    assert answers(tmp_path / "0") != answers(tmp_path / "3"), "training that changes nothing would prove nothing"


def test_the_base_is_loaded_once_for_all_runs(plan: Plan, done: Path, tmp_path: Path, monkeypatch) -> None:
    import ftlab.models.load

    loads = []
    load_model = ftlab.models.load.load_model
    monkeypatch.setattr(ftlab.models.load, "load_model", lambda *args: loads.append(args) or load_model(*args))
    pipeline = RealPipeline(threads=1)
    for method in ("zero_shot", "lora", "full"):
        config = run_of(plan, method)
        out = tmp_path / method
        out.mkdir()
        weights = stage(done, config, "weights") if config.key("weights") else None
        pipeline.predictions(config, "validation", stage(done, config, "dataset"), weights, out, ignore)
    assert len(loads) == 1


def test_serving_memory_is_measured_for_every_arm(plan: Plan, done: Path) -> None:
    for config in plan.runs:
        folder = stage(done, config, "predictions", "validation")
        assert 50e6 < json.loads((folder / "summary.json").read_text())["serving_memory_bytes"] < 20e9


def test_a_reused_worker_does_not_charge_one_runs_memory_to_the_next(
    plan: Plan, done: Path, tmp_path: Path, monkeypatch
) -> None:
    import numpy as np

    import ftlab.evaluate.predict

    predict = ftlab.evaluate.predict.predict
    big = 400_000_000

    def greedy(*arguments):
        held = np.ones(big // 8)
        time.sleep(0.2)  # longer than the memory goes unwatched
        return predict(*arguments) | {"held": held.nbytes}

    pipeline = RealPipeline(threads=1)
    config, peaks = run_of(plan, "zero_shot"), []
    for number, function in enumerate((predict, greedy, predict)):
        monkeypatch.setattr(ftlab.evaluate.predict, "predict", function)
        out = tmp_path / str(number)
        out.mkdir()
        summary = pipeline.predictions(config, "validation", stage(done, config, "dataset"), None, out, ignore)
        peaks.append(summary["serving_memory_bytes"])
    assert peaks[1] - peaks[0] > 0.8 * big
    assert peaks[2] - peaks[0] < 0.2 * big


def test_rescoring_imports_no_torch(plan: Plan, done: Path, tmp_path: Path) -> None:
    config = run_of(plan, "lora")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    code = f"""
import sys
import time
from pathlib import Path
from ftlab.events import ignore
from ftlab.execute.real import RealPipeline
from ftlab.plan.run import RunConfig
config = RunConfig.model_validate_json(Path({str(tmp_path / "config.json")!r}).read_text())
dataset = Path({str(stage(done, config, "dataset"))!r})
predictions = Path({str(stage(done, config, "predictions", "validation"))!r})
summary = RealPipeline(threads=1).scores(config, "validation", dataset, predictions, Path({str(tmp_path)!r}), ignore)
print(summary["metrics"]["accuracy"], sorted(set(sys.modules) & {{"torch", "transformers", "peft"}}))
"""
    done_process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    stored = json.loads((stage(done, config, "scores", "validation") / "summary.json").read_text())
    assert done_process.stdout.split(maxsplit=1) == [str(stored["metrics"]["accuracy"]), "[]\n"]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_warm_start_begins_where_its_run_ended(plan: Plan, done: Path, tmp_path: Path, method: str) -> None:
    parent = run_of(plan, method)
    (clone,) = cloned(plan, make_clone(plan, parent, ["warmup_ratio=0"], warm=True)).runs[len(plan.runs) :]
    pipeline = RealPipeline(threads=1)
    execute_run(clone, StageStore(done), pipeline, tmp_path, ignore)
    pipeline.close()

    def losses(config: RunConfig) -> list[float]:
        rows = pq.read_table(stage(done, config, "weights") / "curves.parquet").to_pylist()
        return [row["value"] for row in rows if row["key"] == "train/loss"]

    assert stage(done, clone, "weights") != stage(done, parent, "weights")
    assert losses(clone)[0] < losses(parent)[0]
