"""What a run was made with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ftlab import __version__
from ftlab.execute.provenance import git_state, provenance, visible_gpus


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


def test_everything_that_can_change_a_number_is_named(tmp_path: Path) -> None:
    facts = provenance(tmp_path, threads=3)
    json.dumps(facts, allow_nan=False)
    assert facts["ftlab"] == __version__
    assert facts["packages"]["torch"]
    assert facts["threads"] == 3
    assert facts["cores"] >= 1
    assert facts["git"] is None


def test_secrets_in_the_environment_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    facts = provenance(tmp_path)
    assert "a-secret" not in json.dumps(facts)
    assert facts["environment"]["OMP_NUM_THREADS"] == "2"


def test_a_commit_is_named_and_a_change_marked(tmp_path: Path) -> None:
    clean, dirty = tmp_path / "clean", tmp_path / "dirty"
    for folder in (clean, dirty):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "spec.yaml").write_text("version: 1\n")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "one")
    (dirty / "spec.yaml").write_text("version: 2\n")
    found = git_state(clean)
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    assert (git_state(dirty) or {})["dirty"] is True


@pytest.mark.parametrize(("value", "gpus"), [("", []), ("-1", []), ("0,2", ["0", "2"])])
def test_gpus_are_those_that_the_user_left_visible(monkeypatch, value: str, gpus: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus
