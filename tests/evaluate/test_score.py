"""Scores from stored predictions alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftlab.catalog import METRICS
from ftlab.data.records import Dataset, Example
from ftlab.errors import DataError, FtlabError, UnknownNameError
from ftlab.evaluate.metrics.classification import Accuracy, MacroF1
from ftlab.evaluate.metrics.make import metric_definitions
from ftlab.evaluate.score import score
from ftlab.spec.schema import TaskSpec

LABELS = ["red", "green", "blue"]
TARGETS = ["red", "red", "green", "green", "blue"]
OUTPUTS = ["Red.", "green", "green\nsurely", "no idea", "<script>blue</script>"]
PARSED = ["red", "green", "green", None, None]


def dataset() -> Dataset:
    rows = [Example(f"id{i}", i, "text", {}, target) for i, target in enumerate(TARGETS)]
    return Dataset({"train": [], "validation": rows, "test": []}, LABELS)


def task(*metrics: str) -> TaskSpec:
    return TaskSpec.model_validate(
        {
            "type": "classification",
            "prompt": [{"role": "user", "content": "x"}],
            "target": "{{ label }}",
            "metrics": list(metrics) or ["accuracy", "macro_f1", "valid_format"],
        }
    )


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    folder = tmp_path / "predictions"
    folder.mkdir()
    table = pa.table({"example_id": [f"id{index}" for index in range(5)], "output": OUTPUTS})
    pq.write_table(table, folder / "predictions.parquet")
    return folder


def run(predictions: Path, *metrics: str) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    out = predictions.parent / "out"
    out.mkdir(exist_ok=True)
    summary, rows = score(dataset(), predictions, task(*metrics), out)
    return summary, rows, out


def test_metrics_come_first_and_in_the_task_s_order_then_every_label(predictions: Path) -> None:
    summary, rows, out = run(predictions)
    keys = [row["key"] for row in rows]
    assert keys[:3] == ["accuracy", "macro_f1", "valid_format"]
    assert keys[3:] == [f"{name}/{label}" for label in LABELS for name in ("precision", "recall")]
    assert summary == {"metrics": {"accuracy": 0.4, "macro_f1": pytest.approx(7 / 18), "valid_format": 0.6}}
    assert json.loads((out / "metrics.json").read_text()) == rows
    assert json.loads((out / "summary.json").read_text()) == summary


def test_a_row_says_all_there_is_to_say(predictions: Path) -> None:
    _, rows, _ = run(predictions)
    by_key = {row["key"]: row for row in rows}
    accuracy = by_key["accuracy"]
    assert set(accuracy) == {"key", "value", "low", "high", "n", "unit", "direction", "interval"}
    assert accuracy["low"] < 0.4 < accuracy["high"]
    assert (accuracy["n"], accuracy["unit"], accuracy["direction"]) == (5, "share", "higher")
    assert accuracy["interval"] == "Wilson"
    assert by_key["precision/green"]["value"] == 0.5
    assert by_key["recall/red"]["value"] == 0.5
    assert by_key["recall/blue"]["value"] == 0.0
    assert by_key["precision/blue"]["value"] is None, "nothing was called blue: there is no precision, and it is not 0"


def test_scores_are_stored_for_every_example_and_metric(predictions: Path) -> None:
    _, _, out = run(predictions)
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert len(rows) == 3 * 5
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    assert [row["score"] for row in accuracy] == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert [row["parsed"] for row in accuracy] == PARSED
    assert {row["score"] for row in rows if row["metric"] == "macro_f1"} == {None}


def test_every_metric_s_row_tells_the_label_that_was_read(predictions: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def long(output, row): return len(output) > 5 and row == {}\n")
    spec = task("accuracy", "perplexity", "mine:long")
    (predictions.parent / "out").mkdir()
    summary, rows = score(dataset(), predictions, spec, predictions.parent / "out", tmp_path)
    stored = pq.read_table(predictions.parent / "out" / "scores.parquet").to_pylist()
    assert len(stored) == 3 * 5
    assert [row["parsed"] for row in stored] == 3 * PARSED
    assert summary["metrics"] == {"accuracy": 0.4, "perplexity": None, "long": 0.6}
    assert (rows[1]["value"], rows[1]["n"], rows[1]["unit"]) == (None, 5, "perplexity")


def test_free_text_has_no_classes_and_scores_of_a_corpus_metric_are_kept_apart(predictions: Path) -> None:
    spec = task("accuracy").model_copy(update={"type": "generation", "metrics": ["chrf", "exact_match"]})
    (predictions.parent / "out").mkdir()
    _, rows = score(dataset(), predictions, spec, predictions.parent / "out")
    assert [row["key"] for row in rows] == ["chrf", "exact_match"]
    assert json.loads((predictions.parent / "out" / "details.json").read_text()) == {}
    stored = pq.read_table(predictions.parent / "out" / "scores.parquet").to_pylist()
    by_metric = {name: [row["score"] for row in stored if row["metric"] == name] for name in ("chrf", "chrf/example")}
    assert by_metric["chrf"] == [None] * 5
    assert all(0.0 <= value <= 1.0 for value in by_metric["chrf/example"])
    assert [row["parsed"] for row in stored[:5]] == [output.strip() for output in OUTPUTS]


def test_details_hold_the_confusion_and_every_class(predictions: Path) -> None:
    _, _, out = run(predictions)
    details = json.loads((out / "details.json").read_text())
    assert details["confusion"] == {"labels": LABELS, "counts": [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]}
    assert details["per_class"]["blue"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}


def test_a_prediction_of_another_data_set_is_refused(predictions: Path) -> None:
    pq.write_table(pa.table({"example_id": ["other"], "output": ["red"]}), predictions / "predictions.parquet")
    with pytest.raises(DataError, match="example other is not in the data set"):
        run(predictions)
    assert list((predictions.parent / "out").iterdir()) == []


def test_an_unknown_metric_is_named_with_the_nearest(predictions: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'acuracy', did you mean 'accuracy'\?"):
        run(predictions, "acuracy")


class NotANumber(Accuracy):
    """A metric that breaks the rule that NaN is never a value."""

    def score(self, answer: Any) -> float | None:
        return float("nan")


def test_a_metric_that_gives_nan_is_an_error_that_names_it(predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "load", lambda name: NotANumber)
    with pytest.raises(FtlabError, match="metric 'accuracy' gave nan for example id0"):
        run(predictions, "accuracy")
    assert list((predictions.parent / "out").iterdir()) == []


def test_versions_are_part_of_the_identity() -> None:
    versions = metric_definitions(["accuracy", "macro_f1"], Path())
    assert versions == {"accuracy": Accuracy.version, "macro_f1": MacroF1.version}


def test_scoring_needs_no_torch(predictions: Path) -> None:
    code = "import sys, ftlab.evaluate.score, ftlab.evaluate.metrics.classification; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
