from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.train import checkpoint


def make(checkpoints: Path, step: int, identity: str = "same", extra: tuple[str, ...] = ()) -> Path:
    folder = checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in (*checkpoint.REQUIRED, *extra):
        (folder / name).write_bytes(f"{name} of step {step}".encode())
    checkpoint.seal(folder, identity)
    return folder


def test_the_newest_that_verifies_is_taken(tmp_path: Path) -> None:
    make(tmp_path, 9)
    newest = make(tmp_path, 10, extra=("best.safetensors",))
    assert checkpoint.newest(tmp_path, "same") == newest
    assert checkpoint.step_of(newest) == 10


def test_there_is_none_where_nothing_was_written(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "missing", "same") is None
    assert checkpoint.newest(tmp_path, "same") is None


@pytest.mark.parametrize("name", sorted(checkpoint.REQUIRED))
def test_a_missing_file_breaks_it(tmp_path: Path, name: str) -> None:
    good, broken = make(tmp_path, 5), make(tmp_path, 10)
    (broken / name).unlink()
    assert checkpoint.newest(tmp_path, "same") == good
    assert not broken.exists()
    assert (tmp_path / "checkpoint-10.partial").is_dir()


@pytest.mark.parametrize("name", sorted(checkpoint.REQUIRED))
def test_a_changed_file_of_the_same_size_breaks_it(tmp_path: Path, name: str) -> None:
    broken = make(tmp_path, 10)
    data = bytearray((broken / name).read_bytes())
    data[0] ^= 1
    (broken / name).write_bytes(data)
    assert checkpoint.newest(tmp_path, "same") is None


def test_a_file_that_the_manifest_does_not_know_breaks_it(tmp_path: Path) -> None:
    folder = make(tmp_path, 10)
    (folder / "scaler.pt").write_bytes(b"a pickle from elsewhere")
    assert not checkpoint.verifies(folder, "same")


def test_a_save_that_was_killed_before_the_manifest_is_not_one(tmp_path: Path) -> None:
    folder = make(tmp_path, 10)
    (folder / checkpoint.MANIFEST).unlink()
    assert checkpoint.newest(tmp_path, "same") is None


def test_another_training_s_checkpoint_is_not_taken(tmp_path: Path) -> None:
    make(tmp_path, 10, identity="other")
    assert checkpoint.newest(tmp_path, "same") is None


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"version": 1, "step": 10, "identity": "same", "files": []}'])
def test_a_manifest_that_is_not_one_breaks_it_and_nothing_else(tmp_path: Path, manifest: str) -> None:
    folder = make(tmp_path, 10)
    (folder / checkpoint.MANIFEST).write_text(manifest)
    assert checkpoint.newest(tmp_path, "same") is None


def test_a_manifest_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    folder = make(tmp_path, 10)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    (tmp_path / "outside").write_bytes(b"x")
    manifest["files"]["../outside"] = {"size": 1, "sha256": checkpoint.sha256_file(tmp_path / "outside")}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    assert not checkpoint.verifies(folder, "same")


def test_an_incomplete_folder_cannot_be_sealed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"lacks .*optimizer\.pt"):
        checkpoint.seal(folder, "same")


def test_a_broken_one_is_set_aside_twice_without_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        folder = make(tmp_path, 10)
        (folder / "optimizer.pt").unlink()
        assert checkpoint.newest(tmp_path, "same") is None


def test_older_ones_go_once_the_newest_is_sealed(tmp_path: Path) -> None:
    make(tmp_path, 5)
    (tmp_path / "checkpoint-6.partial").mkdir()
    newest = make(tmp_path, 10)
    checkpoint.remove_older(newest)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]
