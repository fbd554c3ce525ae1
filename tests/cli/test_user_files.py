"""Every verb that writes where the user says: a place that cannot be is one sentence and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.cli.main import main
from ftlab.decide.compare import update_comparisons
from ftlab.errors import StorageError
from ftlab.execute.hold import hold_results
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import make_results

LONG = "n" * 300


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    make_results(folder, examples=20, benchmarks=())
    with Ledger(folder) as ledger:
        ledger.ingest()
        update_comparisons(ledger.connection)
        ledger.publish()
    return folder


@pytest.fixture
def desk(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a folder that stand in the way."""
    monkeypatch.setenv("FTLAB_RESULTS", str(results))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], desk: Path, *words: str) -> str:
    """What was said. Nothing was written, printed or left behind."""
    before = sorted(desk.rglob("*"))
    code = main(list(words))
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(desk.rglob("*")) == before
    assert (desk / "file").read_text() == "mine"
    return err


FILES = [
    ("/impossible/folder/x.html", "/impossible/folder does not exist"),
    ("no/such/folder/x.html", "does not exist; make it first"),
    ("file/x.html", "does not exist"),
    ("folder.html", "that is a folder; name a file in it"),
    (f"{LONG}.html", "the name is too long"),
    (f"{LONG}/x.html", "the name is too long"),
    ("/proc/x.html", "no file can be made there"),
]


@pytest.mark.parametrize(("place", "words"), FILES)
@pytest.mark.parametrize("verb", ["report", "schema"])
def test_a_file(capsys: pytest.CaptureFixture[str], desk: Path, verb: str, place: str, words: str) -> None:
    assert words in refused(capsys, desk, verb, "-o", place)


FOLDERS = [
    ("file/x", "a part of that path is a file"),
    ("file/x/y", "a part of that path is a file"),
    (LONG, "the name is too long"),
    ("/proc/x", "no folder can be made there"),
]


@pytest.mark.parametrize(("place", "words"), FOLDERS)
@pytest.mark.parametrize(
    "call", [["export", "--to"], ["export", "--format", "parquet", "--to"], ["init"]], ids=["csv", "parquet", "init"]
)
def test_a_folder(capsys: pytest.CaptureFixture[str], desk: Path, call: list[str], place: str, words: str) -> None:
    said = refused(capsys, desk, *call, place)
    assert words in said or "file, not a folder" in said


def test_a_results_folder_that_is_a_file(desk: Path) -> None:
    with pytest.raises(StorageError, match="is a file, not a folder"), hold_results(desk / "file"):
        pass
    with pytest.raises(StorageError, match="is a file, not a folder"), Ledger(desk / "file"):
        pass


def test_a_report_that_exists_is_replaced(capsys: pytest.CaptureFixture[str], desk: Path) -> None:
    assert main(["report", "-o", "x.html"]) == 0
    first = (desk / "x.html").read_text()
    (desk / "x.html").write_text("old")
    assert main(["report", "-o", "x.html"]) == 0
    assert (desk / "x.html").read_text() == first
    capsys.readouterr()
