"""Weights that are kept at points of a training: they change nothing, and survive what the training survives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from child_training import rows
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ftlab.catalog import METHODS
from ftlab.errors import UsageError
from ftlab.events import EventType, RunCancelled, ignore
from ftlab.models.load import LoadedModel
from ftlab.train.candidates import FOLDER, Candidates, points_of
from ftlab.train.sft import train_sft

FIELDS = {"learning_rate": 3e-3, "max_steps": 10, "checkpoints": 4, "evaluations": 5, "lora_dropout": 0.1}
POINTS = ("20%", "60%", "best")


def train(
    base: LoadedModel, out: Path, fields: dict[str, Any], points: tuple[str, ...] = (), report: Any = ignore
) -> dict[str, Any]:
    """A training of 40 rows that keeps its weights at these points."""
    found = METHODS.load("lora")()
    data = rows(base, 48)
    config = found.Config(**fields)
    checkpoints = out.with_suffix(".checkpoints")
    wanted = points_of(points, [0.2, 0.6][: len(points) - ("best" in points)], config.keep, checkpoints)
    kept = wanted if points else None
    return train_sft(base, found, config, data[:40], data[40:], 5, out, checkpoints, report, kept)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def folders(out: Path, summary: dict[str, Any]) -> dict[str, Path]:
    return {point: out / told["folder"] for point, told in summary["points"].items()}


def test_keeping_weights_on_the_way_changes_no_bit_of_the_result(tiny_base: LoadedModel, tmp_path: Path) -> None:
    train(tiny_base, tmp_path / "plain", FIELDS)
    train(tiny_base, tmp_path / "plain_best", {**FIELDS, "keep": "best"})
    summary = train(tiny_base, tmp_path / "kept", FIELDS, POINTS)
    found = folders(tmp_path / "kept", summary)
    assert list(found) == ["20%", "60%", "best", "last"]
    assert same(found["last"], tmp_path / "plain")
    assert same(found["best"], tmp_path / "plain_best")
    assert not same(found["20%"], found["60%"])
    assert not same(found["60%"], found["last"])
    steps = {point: told["step"] for point, told in summary["points"].items()}
    assert steps == {"20%": 2, "60%": 6, "best": summary["best_step"], "last": 10}
    assert (tmp_path / "kept" / "curves.parquet").is_file()


def test_one_that_was_stopped_and_resumed_keeps_the_same_weights(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.train.callbacks.PROGRESS_SECONDS", 0.0)
    whole = folders(tmp_path / "whole", train(tiny_base, tmp_path / "whole", FIELDS, POINTS))
    with pytest.raises(RunCancelled):
        train(tiny_base, tmp_path / "out", FIELDS, POINTS, stopping_at(4))
    summary = train(tiny_base, tmp_path / "out", FIELDS, POINTS)
    assert summary["resumed_from_step"] == 4
    found = folders(tmp_path / "out", summary)
    assert all(same(found[point], whole[point]) for point in whole)


def stopping_at(step: int) -> Any:
    def report(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.PROGRESS and fields["phase"] == "train" and fields["done"] >= step:
            raise RunCancelled

    return report


def test_one_whose_kept_weights_are_gone_begins_anew(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.train.callbacks.PROGRESS_SECONDS", 0.0)
    with pytest.raises(RunCancelled):
        train(tiny_base, tmp_path / "out", FIELDS, POINTS, stopping_at(4))
    shutil.rmtree(tmp_path / "out.checkpoints" / FOLDER)
    summary = train(tiny_base, tmp_path / "out", FIELDS, POINTS)
    assert summary["resumed_from_step"] is None
    assert (tmp_path / "out" / summary["points"]["20%"]["folder"] / "adapter_model.safetensors").is_file()


def test_points_after_an_early_end_are_its_last_weights(tiny_base: LoadedModel, tmp_path: Path) -> None:
    fields = {**FIELDS, "learning_rate": 1e-9, "early_stopping": {"patience": 1, "min_delta": 0.5}}
    summary = train(tiny_base, tmp_path / "out", fields, POINTS)
    assert summary["stopped_early"]
    assert summary["steps"] < 6
    found = folders(tmp_path / "out", summary)
    assert summary["points"]["60%"]["step"] == summary["points"]["last"]["step"] == summary["steps"]
    assert same(found["60%"], found["last"])


def test_the_best_needs_a_validation_loss(tiny_base: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"benchmarks.at: \[best\] needs a validation loss"):
        train(tiny_base, tmp_path / "out", {**FIELDS, "evaluations": 0}, POINTS)


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8, unique=True),
    st.integers(1, 50),
)
def test_every_share_has_a_step_of_the_training(shares: list[float], total: int) -> None:
    made = Candidates({str(share): share for share in shares}, (), "last", Path())
    steps = made.steps(total)
    assert sorted(point for points in steps.values() for point in points) == sorted(map(str, shares))
    assert all(1 <= step <= total for step in steps)
