"""Whole benchmark runs: items, limits, repeatability, and names that do not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

from ftlab.errors import FetchError, UnknownNameError, UsageError
from ftlab.evaluate import benchmarks as module
from ftlab.evaluate.bench_items import chance_of
from ftlab.evaluate.benchmarks import benchmark_facts, benchmark_version, check_task, load_tasks, run_benchmark
from ftlab.events import ignore
from ftlab.models.load import LoadedModel
from ftlab.spec.schema import BenchmarkSpec
from ftlab.testing.benchmark_contract import HARNESS_NAMES


def run(loaded: LoadedModel, task: str, out: Path, **spec: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out.mkdir(exist_ok=True)
    summary = run_benchmark(task, loaded.model, loaded, BenchmarkSpec(**spec), out, ignore)
    return summary, pq.read_table(out / "items.parquet").to_pylist()


@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_items_and_numbers_are_those_of_lm_eval(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], tmp_path: Path, name: str
) -> None:
    synthetic_benchmarks(12)
    summary, items = run(tiny, f"builtin:{name}", tmp_path / "out", limit=10)
    tasks = load_tasks(f"builtin:{name}", None, ignore)
    theirs = HFLM(pretrained=tiny.model, tokenizer=tiny.tokenizer, batch_size=4, backend="causal")
    expected: Any = evaluate(lm=theirs, task_dict=tasks, limit=10, bootstrap_iters=0, log_samples=True)
    samples = {sample["doc_hash"]: sample for sample in expected["samples"][name]}
    assert {item["doc_hash"] for item in items} == set(samples)
    for item in items:
        sample = samples[item["doc_hash"]]
        assert item["score"] == sample[item["metric"]]
        assert item["doc_id"] == sample["doc_id"]
        assert item["target"] == str(sample["target"])
        assert (item["choice"] == sample["target"]) == bool(item["score"])
        assert json.loads(item["logliks"]) == pytest.approx(
            [answer[0] for answer in sample["filtered_resps"]], abs=1e-4
        )
    for metric, row in summary["metrics"].items():
        assert row["value"] == pytest.approx(expected["results"][name][f"{metric},none"])
        assert row["low"] <= row["value"] <= row["high"]
        assert row["n"] == 10
    assert summary["primary"] in summary["metrics"]
    assert summary["samples"] == 10
    assert {key: summary[key] for key in ("group", "chance", "rows_dropped")} == benchmark_facts(f"builtin:{name}")
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert json.loads((tmp_path / "out" / "results.json").read_text())["results"][name]


def item(doc: int, logliks: list[float] | None, metric: str = "acc") -> dict[str, Any]:
    choice = None if logliks is None else 0
    shown = None if logliks is None else json.dumps(logliks)
    return {"doc_hash": str(doc), "doc_id": doc, "metric": metric, "logliks": shown, "choice": choice}


def test_chance_is_counted_from_the_choices_of_each_item() -> None:
    choices = [item(0, [-1.0, -2.0]), item(0, [-1.0, -2.0], "acc_norm"), item(1, [-1.0] * 4), item(2, [-1.0] * 4)]
    assert chance_of(choices) == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert chance_of([item(0, None, "exact_match")]) is None
    assert chance_of([item(0, [-1.0, -2.0]), item(1, None)]) is None


def test_equal_weights_give_equal_items_and_a_limit_takes_the_first(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], tmp_path: Path
) -> None:
    synthetic_benchmarks(9)
    _, first = run(tiny, "builtin:openbookqa", tmp_path / "a", shots=2)
    _, again = run(tiny, "builtin:openbookqa", tmp_path / "b", shots=2)
    _, part = run(tiny, "builtin:openbookqa", tmp_path / "c", shots=0, limit=4)
    assert first == again
    assert len(first) == 9 * 2
    assert sorted({item["doc_id"] for item in part}) == [0, 1, 2, 3]
    assert {item["doc_hash"] for item in part} < {item["doc_hash"] for item in first}


def test_shots_and_chat_template_reach_the_prompt(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], tmp_path: Path
) -> None:
    synthetic_benchmarks(6)
    plain = run(tiny, "builtin:piqa", tmp_path / "a")[1]
    shots = run(tiny, "builtin:piqa", tmp_path / "b", shots=3)[1]
    chat = run(tiny, "builtin:piqa", tmp_path / "c", chat_template=True)[1]
    assert len({json.dumps([item["logliks"] for item in items]) for items in (plain, shots, chat)}) == 3


def test_a_question_is_never_among_its_own_shots(synthetic_benchmarks: Callable[[int], None]) -> None:
    synthetic_benchmarks(5)
    (task,) = load_tasks("builtin:piqa", 3, ignore)["tasks"].values()
    task.build_all_requests(limit=5, rank=0, world_size=1)
    for request in task.instances:
        assert request.arguments[0].count(request.doc["question"]) == 1
        assert request.arguments[0].count("Question:") == 4


def test_an_unknown_builtin_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'picqa', did you mean 'piqa'\?"):
        benchmark_version("builtin:picqa")


def test_an_unknown_task_of_the_registry_is_named_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "task_names", lambda: ["hellaswag", "mmlu"])
    check_task("hellaswag")
    check_task("builtin:piqa")
    with pytest.raises(UnknownNameError, match=r"'helaswag', did you mean 'hellaswag'\?.*builtin:piqa"):
        check_task("helaswag")


def test_rows_that_cannot_be_fetched_are_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.tasks

    class Offline:
        def load(self, names: list[str]) -> None:
            raise ConnectionError("Couldn't reach 'some/data' on the Hub\nand a second line")

    monkeypatch.setattr(module, "task_names", lambda: ["hellaswag"])
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", Offline)
    with pytest.raises(FetchError) as caught:
        load_tasks("hellaswag", None, ignore)
    assert "hellaswag" in str(caught.value)
    assert "builtin:piqa" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["{folder}/evil.yaml", "{folder}", "./evil.yaml", "evil.yml", "~/tasks"])
def test_a_file_or_folder_is_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """lm-eval would run the Python that a task file of the user's names."""
    witness = tmp_path / "ran"
    (tmp_path / "evil.yaml").write_text("task: evil\ndoc_to_text: !function evil.text\n", encoding="utf-8")
    (tmp_path / "evil.py").write_text(f"open({str(witness)!r}, 'w')\ntext = str\n", encoding="utf-8")
    (tmp_path / "evil").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "task_names", lambda: pytest.fail("no need to list the registry"))
    with pytest.raises(UsageError, match="is a path, and an lm-eval task file may name Python code"):
        load_tasks(name.format(folder=tmp_path), None, ignore)
    assert not witness.exists()


def test_versions_are_read_without_torch_and_lm_eval() -> None:
    code = (
        "import sys; from ftlab.evaluate.benchmarks import benchmark_version as v; "
        "print(v('builtin:piqa'), v('hellaswag')); "
        "print(sorted({'torch', 'lm_eval', 'transformers', 'datasets', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].endswith(f" lm-eval {metadata.version('lm-eval')}")
    assert lines[1] == "[]"


@pytest.mark.real
@pytest.mark.parametrize(("name", "known"), [("piqa", 0.66), ("openbookqa", 0.37)])
def test_smollm2_scores_what_is_known_of_it(smollm2: LoadedModel, tmp_path: Path, name: str, known: float) -> None:
    summary, _ = run(smollm2, f"builtin:{name}", tmp_path / "out", limit=100)
    row = summary["metrics"]["acc_norm"]
    # Three standard errors of a hundred items.
    assert abs(row["value"] - known) < 3 * row["stderr"]
