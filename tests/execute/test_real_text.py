"""RealPipeline on tasks whose answers are no labels: free text and JSON, from rows to metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ftlab.data.dataset import read_dataset
from ftlab.errors import UsageError
from ftlab.evaluate.predict import MARGIN
from ftlab.events import ignore
from ftlab.execute.real import RealPipeline
from ftlab.execute.runner import execute_run
from ftlab.execute.stages import StageStore
from ftlab.plan.expand import build_plan
from ftlab.plan.run import Plan, RunConfig
from ftlab.spec.load import load_spec
from ftlab.testing.tiny import tiny_rows

SPEC = """
version: 1
name: text
model: {model}
data: {{source: ./rows.jsonl, splits: {{validation: 8, test: 3}}}}
task:
  type: {type}
  prompt: [{{role: user, content: "{{{{ question }}}}"}}]
  target: "{target}"
methods:
  zero_shot: {{type: prompt}}
  few_shot: {{type: prompt, shots: 2}}
  lora: {{type: lora, r: 4, learning_rate: 1e-2}}
train: {{max_steps: 2, batch_size: 8, checkpoints: 0, evaluations: 1}}
"""
TARGETS = {"generation": "it is {{ label }}", "extraction": "{{ record | tojson }}"}


@pytest.fixture(scope="module", params=["generation", "extraction"])
def done(request, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A plan of one type of task, and the results folder in which one pipeline executed its runs."""
    folder = tmp_path_factory.mktemp(request.param)
    rows = [row | {"record": {"colour": row["label"], "n": 1}} for row in tiny_rows(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = SPEC.format(model=tiny_folder, type=request.param, target=TARGETS[request.param])
    (folder / "text.yaml").write_text(text)
    plan = build_plan(load_spec(folder / "text.yaml"))
    pipeline = RealPipeline(threads=1)
    for config in plan.runs:
        (folder / config.run_id).mkdir()
        execute_run(config, StageStore(folder), pipeline, folder / config.run_id, ignore)
    pipeline.close()
    return plan, folder


def stage(folder: Path, config: RunConfig, kind: Any, name: str = "") -> Path:
    return StageStore(folder).path(kind, config.key(kind, name) or "")


def test_rows_have_targets_and_no_labels(done: tuple[Plan, Path]) -> None:
    plan, folder = done
    dataset = read_dataset(stage(folder, plan.runs[0], "dataset"))
    assert dataset.labels == []
    assert [len(dataset.splits[split]) for split in ("train", "validation", "test")] == [29, 8, 3]
    assert all("red" in e.target or "green" in e.target or "blue" in e.target for e in dataset.splits["validation"])


def test_answers_may_be_as_long_as_the_longest_target_of_train_and_a_margin(
    done: tuple[Plan, Path], tiny_folder: Path
) -> None:
    from transformers import AutoTokenizer

    plan, folder = done
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    train = read_dataset(stage(folder, plan.runs[0], "dataset")).splits["train"]
    longest = max(len(tokenizer.encode(example.target, add_special_tokens=False)) for example in train)
    for config in plan.runs:
        table = pq.read_table(stage(folder, config, "predictions", "validation") / "predictions.parquet").to_pylist()
        assert len(table) == 8
        assert {row["label_logprobs"] for row in table} == {None}
        cut = [row["output_tokens"] for row in table if row["finish"] == "length"]
        assert all(row["output_tokens"] <= longest + MARGIN for row in table)
        assert all(tokens == longest + MARGIN for tokens in cut)


def test_every_metric_of_the_type_is_scored_and_nothing_of_labels(done: tuple[Plan, Path]) -> None:
    plan, folder = done
    for config in plan.runs:
        scores = stage(folder, config, "scores", "validation")
        rows = json.loads((scores / "metrics.json").read_text())
        assert [row["key"] for row in rows] == plan.task.metrics
        assert {row["key"]: row["n"] for row in rows if row["key"] != "repetition"} == dict.fromkeys(
            [key for key in plan.task.metrics if key != "repetition"], 8
        )
        assert json.loads((scores / "details.json").read_text()) == {}
        stored = pq.read_table(scores / "scores.parquet").to_pylist()
        assert len({row["example_id"] for row in stored}) == 8


def test_the_first_metric_decides(done: tuple[Plan, Path]) -> None:
    plan, _ = done
    assert plan.decision.metric == plan.task.metrics[0]


def test_a_metric_edited_after_planning_is_not_scored_under_the_old_key(tiny_folder: Path, tmp_path: Path) -> None:
    rows = [row | {"record": {}} for row in tiny_rows(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "scores.py").write_text("def long(output): return len(output) > 3\n")
    text = SPEC.format(model=tiny_folder, type="generation", target=TARGETS["generation"])
    text = text.replace("methods:", "  metrics: [exact_match, scores:long]\nmethods:").split("  few_shot")[0]
    (tmp_path / "text.yaml").write_text(text)
    (config,) = build_plan(load_spec(tmp_path / "text.yaml")).runs
    attempt = tmp_path / "a1"
    attempt.mkdir()
    (tmp_path / "scores.py").write_text("def long(output): return len(output) > 4\n")
    with pytest.raises(UsageError, match="was changed since the run was planned"):
        execute_run(config, StageStore(tmp_path), RealPipeline(threads=1), attempt, ignore)
    (again,) = build_plan(load_spec(tmp_path / "text.yaml")).runs
    assert again.key("predictions", "validation") == config.key("predictions", "validation")
    assert again.key("scores", "validation") != config.key("scores", "validation")
    execute_run(again, StageStore(tmp_path), RealPipeline(threads=1), attempt, ignore)
    rows = json.loads((stage(tmp_path, again, "scores", "validation") / "metrics.json").read_text())
    assert [row["key"] for row in rows] == ["exact_match", "long"]
