"""Perplexity on the real model: it knows English, so a sentence is likelier than the same words shuffled."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.data.records import Dataset, Example
from ftlab.evaluate.predict import predict
from ftlab.evaluate.score import score
from ftlab.events import ignore
from ftlab.models.load import LoadedModel
from ftlab.plan.run import DataRef, RunConfig
from ftlab.spec.schema import BenchmarkSpec, DataSpec, ExecuteSpec, TaskSpec

PLAIN = ["The capital of France is Paris.", "Water boils at one hundred degrees.", "The heart pumps blood."]
SHUFFLED = ["Paris the is of capital France.", "degrees Water one at hundred boils.", "blood heart The pumps."]


@pytest.mark.real
def test_a_sentence_is_likelier_than_its_words_shuffled(smollm2: LoadedModel, tmp_path: Path) -> None:
    perplexities = []
    for name, targets in (("plain", PLAIN), ("shuffled", SHUFFLED)):
        rows = [Example(f"e{i}", i, "", {"question": "Tell me a fact."}, text) for i, text in enumerate(targets)]
        task = TaskSpec.model_validate(
            {
                "type": "generation",
                "prompt": [{"role": "user", "content": "{{ question }}"}],
                "target": "{{ answer }}",
                "metrics": ["perplexity", "chrf", "length_ratio", "distinct_outputs"],
                "max_new_tokens": 12,
            }
        )
        config = RunConfig(
            experiment_id="e",
            run_id="r",
            arm_id="a",
            method_name="m",
            seed=0,
            model=smollm2.ref,
            data=DataRef(spec=DataSpec(source="rows.jsonl"), content="c", root="."),
            task=task,
            method={"type": "prompt", "shots": 0, "decode": None, "prompt": None},
            benchmarks=BenchmarkSpec(),
            execute=ExecuteSpec(),
            stages=(),
        )
        dataset = Dataset({"train": rows, "validation": rows, "test": []}, [])
        (tmp_path / name).mkdir()
        predict(smollm2.model, smollm2, dataset, config, "validation", tmp_path / name, ignore)
        (tmp_path / name / "scores").mkdir()
        summary, _ = score(dataset, tmp_path / name, task, tmp_path / name / "scores")
        perplexities.append(summary["metrics"]["perplexity"])
        assert summary["metrics"]["distinct_outputs"] == 0.0, "one question has one answer"
    plain, shuffled = perplexities
    assert 1.0 < plain < shuffled / 2
