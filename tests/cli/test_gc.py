"""`ftlab gc` as a user meets it: shows first, keeps the best, changes no table, and what went can be had again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from ftlab.execute.stages import StageStore
from ftlab.testing.fake_pipeline import read_work

QUALITY = {"lora": {"quality": 0.9}}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    assert desk("run", "spec.yaml", fake=QUALITY).returncode == 0
    return desk


def looked(desk: Desk, *options: str) -> dict[str, Any]:
    done = desk("gc", "--json", *options)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def weights(desk: Desk) -> dict[str, bool]:
    """Every weights stage by key: whether its files are there."""
    store = StageStore(desk.results)
    records = [
        store.complete("weights", path.name)
        for path in (desk.results / "stages" / "weights").iterdir()
        if path.is_dir()
    ]
    return {record.key: not record.collected for record in records if record is not None}


def test_it_shows_first_and_keeps_the_best_of_every_method(desk: Desk) -> None:
    found = looked(desk)
    assert [one["what"] for one in found["removals"]] == ["weights"], "the better of two lora arms stays"
    assert not found["removed"]
    assert all(weights(desk).values()), "nothing is removed by looking"
    view = json.loads(desk("show", "--json").stdout)
    arms = {arm["label"]: arm["metrics"]["accuracy"]["value"] for arm in view["arms"] if arm["family"] != "prompt"}
    assert arms[found["removals"][0]["label"].removesuffix(", seed 0")] == min(arms.values())

    words = desk("gc").stdout
    assert "can go (1 x weights); remove it by: ftlab gc --apply" in words


def test_what_it_removes_changes_no_table_and_no_run_and_is_made_again_when_needed(desk: Desk) -> None:
    tables = desk("show", "--json").stdout
    work = read_work(desk.results)
    (gone,) = looked(desk, "--apply")["removals"]
    key = Path(gone["path"]).name
    assert {name: whole for name, whole in weights(desk).items() if not whole} == {key: False}
    assert sorted(path.name for path in Path(gone["path"]).iterdir()) == [
        "COMPLETE.json",
        "curves.parquet",
        "summary.json",
    ]
    assert looked(desk)["removals"] == []

    assert desk("run", "spec.yaml", fake=QUALITY).returncode == 0
    assert read_work(desk.results) == work, "the run is still done"
    assert desk("rebuild").returncode == 0
    assert _without_time(desk("show", "--json").stdout) == _without_time(tables)

    run = next(
        run for run in json.loads(desk("ls", "latest", "--json").stdout)["runs"] if run["label"] in gone["label"]
    )
    refused = desk("export", run["run_id"], "--format", "adapter", "--to", str(desk.folder / "out"))
    assert refused.returncode == 2
    assert "were removed by `ftlab gc`; train them again by `ftlab retry" in refused.stderr
    again = desk("retry", "--run", run["run_id"], fake=QUALITY)
    assert again.returncode == 0, again.stderr
    new = [line for line in read_work(desk.results)[len(work) :] if line["what"] == "end"]
    assert [(line["kind"], line["key"]) for line in new] == [("weights", key)], "only the weights"
    assert all(weights(desk).values())


def test_something_new_that_needs_the_weights_trains_them_again(desk: Desk) -> None:
    (gone,) = looked(desk, "--apply")["removals"]
    work = read_work(desk.results)
    spec = desk.folder / "spec.yaml"
    spec.write_text(spec.read_text() + "benchmarks: {tasks: ['builtin:piqa']}\n", encoding="utf-8")
    done: subprocess.CompletedProcess[str] = desk("run", "spec.yaml", fake=QUALITY)
    assert done.returncode == 0, done.stderr
    new = [line for line in read_work(desk.results)[len(work) :] if line["what"] == "end"]
    assert [line["key"] for line in new if line["kind"] == "weights"] == [Path(gone["path"]).name]
    assert all(weights(desk).values())


def test_leavings_of_the_dead_go_and_a_busy_folder_is_left_alone(desk: Desk) -> None:
    left = desk.results / "stages" / "weights" / "abc.tmp-0123"
    left.mkdir()
    (left / "half").write_bytes(b"x" * 1000)
    torn = desk.results / "stages" / "dataset" / "abc.torn-0123"
    torn.mkdir()
    what = {(one["what"], one["bytes"]) for one in looked(desk)["removals"]}
    assert {("leavings", 1000), ("leavings", 0)} <= what
    looked(desk, "--apply")
    assert not left.exists()
    assert not torn.exists()


def test_what_was_opened_on_test_and_what_is_unfinished_stays(desk: Desk) -> None:
    assert desk("decide", fake=QUALITY).returncode == 0
    opened = json.loads(next(desk.results.glob("colours-*/openings/*.json")).read_text())
    arms = {arm["arm_id"] for arm in opened["arms"]}
    plan = json.loads(next(desk.results.glob("colours-*/resolved.json")).read_text())
    kept = {
        stage["key"]
        for run in plan["runs"]
        if run["arm_id"] in arms
        for stage in run["stages"]
        if stage["kind"] == "weights"
    }
    assert kept
    looked(desk, "--apply")
    assert {key for key, whole in weights(desk).items() if whole} >= kept

    failing = {"lora": {**QUALITY["lora"], "fault": "error"}}
    desk("run", "spec.yaml", "-s", "methods.lora.epochs=2", fake=failing)
    unfinished = {path.name for path in (desk.results / "stages" / "weights").iterdir() if path.is_dir()} - set(kept)
    removable = {Path(one["path"]).name for one in looked(desk)["removals"]}
    plan = json.loads(next(desk.results.glob("colours-*/resolved.json")).read_text())
    waiting = {stage["key"] for run in plan["runs"] for stage in run["stages"] if stage["kind"] == "weights"}
    assert waiting & unfinished
    assert not removable & waiting


def _without_time(text: str) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(text)
    return {name: value for name, value in view.items() if name not in ("snapshot", "published", "created", "updated")}
