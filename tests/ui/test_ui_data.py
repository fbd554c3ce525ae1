"""Snapshots by number, and logs found without leaving the results folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.ui import data
from ftlab.ui.data import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "results" / "exp-0a" / "runs" / "r01" / "a1"
    made.mkdir(parents=True)
    return made


def source(tmp_path: Path) -> Source:
    return Source(str(tmp_path / "results"), 1)


def test_a_folder_without_results_has_no_snapshot(tmp_path: Path) -> None:
    assert data.newest(tmp_path) is None
    assert data.newest(tmp_path / "absent") is None


def test_the_newest_snapshot_is_the_key_of_what_is_cached(finished: Path) -> None:
    newest = data.newest(finished)
    assert newest == Source(str(finished), 1)


def test_results_come_from_the_environment_or_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FTLAB_RESULTS", raising=False)
    assert data.results_dir() == tmp_path / "results"
    monkeypatch.setenv("FTLAB_RESULTS", str(tmp_path / "other"))
    assert data.results_dir() == tmp_path / "other"


def test_a_log_is_shown_without_control_characters(tmp_path: Path, folder: Path) -> None:
    (folder / "log.txt").write_bytes(b"\x1b[31mred\x1b[0m\n10%\r50%\rdone\x07\n\xff bytes\n")
    assert data.log_tail(source(tmp_path), "exp-0a", "r01", 1) == "red\ndone\n\ufffd bytes\n"


def test_a_long_log_is_cut_at_a_line(tmp_path: Path, folder: Path) -> None:
    lines = [f"line {index}" for index in range(20_000)]
    (folder / "log.txt").write_text("\n".join(lines), encoding="utf-8")
    text = data.log_tail(source(tmp_path), "exp-0a", "r01", 1)
    assert text is not None
    assert len(text) <= data.LOG_TAIL
    assert text.endswith("line 19999")
    assert text.split("\n")[0] in lines


@pytest.mark.parametrize(
    ("experiment", "run", "attempt"),
    [
        ("..", "r01", 1),
        ("exp-0a", "../../..", 1),
        ("exp-0a/../exp-0a", "r01", 1),
        ("/etc", "r01", 1),
        ("exp-0a", "r01\n", 1),
        ("exp-0a", "r01", None),
        ("exp-0a", "r01", 2),
        ("exp-0a", "", 1),
    ],
)
def test_ids_that_ftlab_never_made_reach_no_file(
    tmp_path: Path, folder: Path, experiment: str, run: str, attempt: int | None
) -> None:
    (folder / "log.txt").write_text("secret", encoding="utf-8")
    assert data.log_tail(source(tmp_path), experiment, run, attempt) is None


def test_links_that_lead_out_of_the_results_are_not_followed(tmp_path: Path, folder: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "log.txt").write_text("secret", encoding="utf-8")
    (folder / "log.txt").symlink_to(outside / "log.txt")
    assert data.log_tail(source(tmp_path), "exp-0a", "r01", 1) is None
    (folder.parent / "a2").symlink_to(outside, target_is_directory=True)
    assert data.log_tail(source(tmp_path), "exp-0a", "r01", 2) is None
