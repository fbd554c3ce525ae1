"""Exports: whole or absent, never over something else, and nothing in them that a spreadsheet would run."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ftlab.errors import StorageError, UsageError
from ftlab.plan.run import RunConfig
from ftlab.report import export
from ftlab.report.export import FORMULA_STARTS, export_adapter, export_tables, guard, new_folder
from ftlab.report.model_card import model_card
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import HOSTILE_TEXTS


def _runs(view) -> list[str]:
    return [run for arm in view.arms for run in arm.run_ids]


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _export(published, to: Path, form: str) -> None:
    with open_snapshot(published.results) as snapshot:
        export_tables(snapshot.cursor(), _runs(published.view), to, form)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "  =cmd|' /C calc'!A0", "\x1b[0m=1"])
def test_formulas_are_guarded(cell: str):
    shown = guard(cell)
    assert isinstance(shown, str)
    assert shown.startswith("'")


@pytest.mark.parametrize("cell", ["plain", "a=b", "", 3, -0.5, None, True])
def test_other_cells_stay(cell: object):
    assert guard(cell) == cell


def test_csv_of_hostile_results_holds_no_formula_and_no_escape(hostile, tmp_path: Path):
    to = tmp_path / "out"
    _export(hostile, to, "csv")
    names = {path.name for path in to.iterdir()}
    assert names == {
        f"{name}.csv" for name in ("runs", "stages", "metrics", "comparisons", "ratings", "predictions")
    } | {"README.txt"}
    seen = ""
    for path in to.glob("*.csv"):
        for row in _read(path):
            for name, cell in row.items():
                seen += cell
                assert "\x1b" not in cell
                if cell.lstrip(" ").startswith(FORMULA_STARTS):
                    float(cell)  # a number, in a column of numbers
                    assert name not in ("text", "target", "output", "arm", "reason", "parsed")
    assert "<script>" in seen, "the texts must have been there"
    assert "'=cmd" in seen


def test_tables_hold_what_the_view_shows(ordinary, tmp_path: Path):
    _export(ordinary, tmp_path / "csv", "csv")
    view = ordinary.view
    runs = _read(tmp_path / "csv" / "runs.csv")
    assert [row["run_id"] for row in runs] == sorted(_runs(view), key=[row["run_id"] for row in runs].index)
    assert {row["status"] for row in runs} == {"complete", "failed", "running"}
    metrics = {(row["arm"], row["metric"]): float(row["value"]) for row in _read(tmp_path / "csv" / "metrics.csv")}
    comparisons = _read(tmp_path / "csv" / "comparisons.csv")
    for arm in view.arms:
        if arm.metrics:
            assert metrics[arm.label, "accuracy"] == arm.metrics["accuracy"].value
        if arm.difference:
            (row,) = [
                r
                for r in comparisons
                if r["arm_id"] == arm.arm_id and (r["kind"], r["metric"]) == ("method", "accuracy")
            ]
            assert float(row["estimate"]) == arm.difference.estimate.value
    predictions = _read(tmp_path / "csv" / "predictions.csv")
    assert len(predictions) == view.examples * sum(bool(arm.metrics) for arm in view.arms)
    assert {row["split"] for row in predictions} == {"validation"}, "test rows stay sealed"


def test_parquet_keeps_text_as_it_was(hostile, tmp_path: Path):
    _export(hostile, tmp_path / "out", "parquet")
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert any("\x1b[31m" in text for text in table["text"].to_pylist())
    assert table.schema.field("position").type == "int64"


def test_nothing_is_overwritten(ordinary, tmp_path: Path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        _export(ordinary, tmp_path / "there", "csv")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_failed_export_leaves_nothing(tmp_path: Path):
    def fail() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_sentence(ordinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_write_csv", full)
    with pytest.raises(StorageError, match="disk is full"):
        _export(ordinary, tmp_path / "out", "csv")
    assert list(tmp_path.iterdir()) == []


def _config(published, arm) -> RunConfig:
    with open_snapshot(published.results) as snapshot:
        row = snapshot.cursor().execute("SELECT config_json FROM runs WHERE run_id = ?", [arm.run_ids[0]]).fetchone()
    return RunConfig.model_validate_json(row[0])


def _arm(view, method: str):
    return next(arm for arm in view.arms if arm.method_name == method and arm.metrics)


def test_an_adapter_comes_with_its_evidence(ordinary, tmp_path: Path):
    arm = _arm(ordinary.view, "lora")
    export_adapter(ordinary.results, ordinary.view, arm, _config(ordinary, arm), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "adapter_model.safetensors"} <= names
    assert not names & {"COMPLETE.json", "curves.parquet", "summary.json"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert ordinary.view.provenance["spec_hash"] in card
    assert ordinary.view.provenance["data"]["content"] in card


@pytest.mark.parametrize(("method", "words"), [("full", "--format merged"), ("ranked", "a prompt has no weights")])
def test_what_is_no_adapter_says_what_to_do(ordinary, tmp_path: Path, method: str, words: str):
    arm = _arm(ordinary.view, method)
    with pytest.raises(UsageError, match=words):
        export_adapter(ordinary.results, ordinary.view, arm, _config(ordinary, arm), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_card_holds_intervals_forgetting_limits_and_versions(ordinary):
    view, arm = ordinary.view, _arm(ordinary.view, "lora")
    card = model_card(view, arm, "adapter", 0, "5" * 64)
    front = card.split("---")[1]
    assert json.loads(front.split("base_model: ")[1].splitlines()[0]) == arm.model
    assert "95% CI" in card
    assert "Not shown means that the interval is too wide to tell" in card
    assert "flattering" in card
    assert "5" * 64 in card
    assert "package torch" in card
    for change in arm.benchmarks:
        assert change.task.removeprefix("builtin:") in card


def test_a_hostile_card_breaks_out_of_nothing(hostile):
    view, arm = hostile.view, _arm(hostile.view, "lora")
    worse = arm.model_copy(
        update={"model": 'x"\n---\n<script>', "config": {"prompt": "```\n<script>"}, "label": " ".join(HOSTILE_TEXTS)}
    )
    card = model_card(view, worse, "adapter", 0, "r")
    head, rest = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.DOTALL).groups()
    assert json.loads(head.splitlines()[1].removeprefix("base_model: ")) == worse.model
    assert len(head.splitlines()) == 3, "no line of the front matter was added"
    before, _, fenced = rest.partition("````json\n")
    inside, _, after = fenced.partition("\n````\n")
    assert json.loads(inside)["method"] == worse.config
    assert "<script>" not in before + after
