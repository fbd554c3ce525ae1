"""`ftlab init`, `validate`, `plan`, `schema`, and what every verb has in common: help, errors, exit codes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.cli import main
from ftlab.cli.common import clean, exit_code_of
from ftlab.cli.main import VERBS, load_verb
from ftlab.errors import OutOfMemoryError, StorageError, UsageError

SPEC = """\
version: 1
name: small
question: "Is it \\u202Eworth it?"
model: builtin:smollm2-135m-instruct
data: {source: rows.csv, splits: {train: 30, validation: 20, test: 10}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [8, 16]}}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FTLAB_RESULTS", str(tmp_path / "results"))
    rows = [f"question {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,label", *rows, ""]), encoding="utf-8")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


class TestValidate:
    def test_a_valid_spec(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["validate", str(spec)]) == 0
        assert capsys.readouterr().out == f"{spec} is valid: 2 methods, 3 arms, 3 runs\n"

    def test_overrides_count(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["validate", str(spec), "-s", "seeds=[1, 2]", "-s", "methods.lora.r=4", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {
            "version": 1,
            "valid": True,
            "problems": [],
            "arms": 2,
            "runs": 4,
        }

    def test_problems_go_to_stderr_with_exit_code_2(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        spec.write_text(SPEC.replace("type: lora", "type: lroa").replace("name: small", "nam: small"))
        assert main(["validate", str(spec)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            f"{spec}:2:1  nam  unknown key 'nam', did you mean 'name'?",
            f"{spec}:12:16  methods.lora.type  unknown method type 'lroa', did you mean 'lora'? "
            "(known: full, lora, prompt)",
        ]

    def test_problems_as_json(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        spec.write_text("[]")
        assert main(["validate", str(spec), "--json"]) == 2
        out, err = capsys.readouterr()
        assert json.loads(out)["problems"][0]["line"] == 1
        assert json.loads(out)["valid"] is False
        assert err == ""

    def test_a_search_is_valid_and_planned(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = SPEC.replace("{type: lora, r: {grid: [8, 16]}}", "{type: lora, r: {choice: [8, 16]}, search: {}}")
        spec.write_text(text)
        assert main(["validate", str(spec)]) == 0
        assert "'lora' is searched by tpe: up to 2 arms" in capsys.readouterr().out
        assert main(["plan", str(spec)]) == 0
        assert "lora: tpe over r, up to 2 arms" in capsys.readouterr().out


class TestPlan:
    def test_it_shows_work_warnings_and_their_basis(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["plan", str(spec)]) == 0
        out = capsys.readouterr().out
        assert "small: Is it worth it?" in out, "marks that reorder text are taken out"
        assert "0 of 3 runs done, 0 of 9 stages on disk" in out
        assert "lengths are unknown" in out
        assert not (spec.parent / "results").exists(), "a plan writes nothing"

    def test_json_holds_everything(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["plan", str(spec), "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert [arm["label"] for arm in data["arms"]] == ["zero_shot", "lora r=8", "lora r=16"]
        assert [len(run["stages"]) for run in data["runs"]] == [3, 4, 4]
        assert data["estimate"]["runs"] == 3
        assert {warning["code"] for warning in data["warnings"]} >= {"lengths_unknown", "few_validation_rows"}

    def test_benchmarks_are_told_with_what_they_measure_and_what_was_left_out(
        self, spec: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tasks = "benchmarks.tasks=[builtin:mmlu, builtin:piqa, hellaswag]"
        assert main(["plan", str(spec), "-s", tasks]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "builtin:mmlu: knowledge, 26.0% without any skill; 8 broken or repeated rows left out" in lines
        assert "builtin:piqa: reasoning, 50.0% without any skill" in lines
        assert not any("hellaswag" in line for line in lines), "little is known of it before it runs"
        assert main(["plan", str(spec), "-s", tasks, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["benchmarks"]
        assert told[0] == {"task": "builtin:mmlu", "group": "knowledge", "chance": 0.26, "rows_dropped": 8}
        assert told[2] == {"task": "hellaswag", "group": "reasoning", "chance": None, "rows_dropped": None}

    def test_what_ftlab_asks_itself_is_told_with_its_limits(
        self, spec: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tasks = "benchmarks.tasks=[builtin:behaviour, builtin:neutral-text]"
        assert main(["plan", str(spec), "-s", tasks]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert (
            "builtin:behaviour: 48 items, instruction following (limit 25 points), format (limit 25 points); not gated "
            "unless named: length, refusals, repetition" in lines
        )
        assert (
            "builtin:neutral-text: 40 items, neutral text (limit 0.1 nats); not gated unless named: per-byte" in lines
        )

    def test_stages_on_disk_are_seen(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from ftlab.execute.stages import StageStore

        main(["plan", str(spec), "--json"])
        run = json.loads(capsys.readouterr().out)["runs"][0]
        store = StageStore(spec.parent / "results")
        for stage in run["stages"]:
            store.produce(stage["kind"], stage["key"], lambda folder: {"prompt_tokens": 10, "seconds": 0.5})
        assert main(["plan", str(spec)]) == 0
        assert "1 of 3 runs done, 3 of 9 stages on disk" in capsys.readouterr().out
        assert main(["plan", str(spec), "-s", "methods.lora.r=8", "--json"]) == 0
        methods = json.loads(capsys.readouterr().out)["estimate"]["methods"]
        assert [(method["runs"], method["runs_done"]) for method in methods] == [(1, 1), (1, 0)]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("{{ question }}", "{{ qestion }}"), "did you mean 'question'?"),
            (("train: 30", "train: 3000"), "60"),
            (("name: small", "name: small\nseeds: [0, 0]"), "expected each seed once"),
        ],
        ids=["a column that is not there", "a split larger than the data", "a seed twice"],
    )
    def test_bad_input_is_one_sentence_and_leaves_nothing(
        self, spec: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], message: str
    ) -> None:
        spec.write_text(SPEC.replace(*change), encoding="utf-8")
        assert main(["plan", str(spec)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert len(err.splitlines()) == 1
        assert not (spec.parent / "results").exists()


class TestInit:
    def test_what_it_writes_is_valid_and_complete(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["init", str(tmp_path / "new" / "folder")]) == 0
        folder = tmp_path / "new" / "folder"
        assert sorted(path.name for path in folder.iterdir()) == [
            ".gitignore",
            "experiment.schema.json",
            "experiment.yaml",
        ]
        assert (
            (folder / "experiment.yaml")
            .read_text()
            .startswith("# yaml-language-server: $schema=./experiment.schema.json\n")
        )
        assert "results/" in (folder / ".gitignore").read_text()
        assert f"ftlab run {folder / 'experiment.yaml'}" in capsys.readouterr().out
        assert main(["validate", str(folder / "experiment.yaml")]) == 0

    def test_nothing_is_overwritten(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "experiment.yaml").write_text("mine")
        assert main(["init", str(tmp_path)]) == 2
        assert "is there already" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["experiment.yaml"]
        assert (tmp_path / "experiment.yaml").read_text() == "mine"

    def test_an_own_gitignore_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / ".gitignore").write_text("mine\n")
        assert main(["init", str(tmp_path)]) == 0
        assert (tmp_path / ".gitignore").read_text() == "mine\n"

    def test_a_file_in_the_way_is_one_sentence(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("")
        assert main(["init", str(tmp_path / "file")]) == 2
        assert main(["init", str(tmp_path / "file" / "below")]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 2


class TestSchema:
    def test_it_prints_or_writes_the_same(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["schema"]) == 0
        printed = capsys.readouterr().out
        assert json.loads(printed)["title"] == "ftlab experiment"
        assert main(["schema", "-o", str(tmp_path / "s.json")]) == 0
        assert (tmp_path / "s.json").read_text() == printed
        assert main(["schema", "-o", str(tmp_path / "nowhere" / "s.json")]) == 2


class TestCommandLine:
    def test_help_lists_every_verb_with_its_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        out = capsys.readouterr().out
        for name, verb in VERBS.items():
            assert any(line.split() == [name, *verb.help.split()] for line in out.splitlines()), name

    @pytest.mark.parametrize(
        "verb", [name for name, verb in VERBS.items() if verb.target.startswith("ftlab.cli.spec:")]
    )
    def test_each_verb_explains_itself(self, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert load_verb(verb).name == verb
        assert main([verb, "--help"]) == 0
        assert f"Usage: ftlab {verb}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["validat"], "error: No such command 'validat'. Did you mean 'validate'?"),
            (["validate"], "error: Missing argument"),
            (["validate", "x", "--jsn"], "error: No such option: --jsn"),
            (["validate", "\x1b[31mevil"], "evil  no such file"),
        ],
    )
    def test_a_wrong_command_line_is_exit_code_2(
        self, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert words in err
        assert "\x1b" not in err

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == "ftlab 0.1.0\n"

    def test_a_closed_pipe_is_no_failure(self, spec: Path) -> None:
        command = f"{sys.executable} -c 'import sys; from ftlab.cli import main; sys.exit(main([\"schema\"]))'"
        shell = f"set -o pipefail; {command} | head -c 10 > /dev/null; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        assert done.stdout.strip() == "0"


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code", "words"),
        [
            (UsageError("a sentence"), 2, "error: a sentence"),
            (StorageError("cannot write x"), 2, "error: cannot write x"),
            (OutOfMemoryError("too big"), 1, "error: too big"),
            (OSError(errno.ENOSPC, "No space", "/disk/file"), 2, "error: cannot write /disk/file: the disk is full"),
            (OSError(errno.EROFS, "Read-only", "/disk/file"), 2, "the file system is read-only"),
            (KeyboardInterrupt(), 130, "interrupted"),
            (ValueError("odd\x1b[31m\nsecond line"), 1, "internal error: ValueError: odd (run again as `ftlab -v ...`"),
            (RuntimeError(), 1, "internal error: RuntimeError"),
        ],
    )
    def test_every_error_becomes_one_line_and_a_code(
        self, error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert exit_code_of(error) == code
        err = capsys.readouterr().err
        assert words in err
        assert len(err.splitlines()) == 1
        assert "\x1b" not in err

    def test_the_traceback_is_for_those_who_ask(self, spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["-v", "validate", str(spec) + "x"]) == 2
        assert "Traceback" in capsys.readouterr().err
        assert main(["validate", str(spec) + "x"]) == 2
        assert "Traceback" not in capsys.readouterr().err

    def test_text_of_others_cannot_steer_the_terminal(self) -> None:
        assert clean("a\x1b[2Jb\x07\x9b31mc\rd\u202e") == "abcd"
        assert clean("tab\tand\nline") == "tab\tand\nline"


def test_colours_stay_out_of_a_pipe(spec: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from ftlab.cli import main; sys.exit(main(sys.argv[1:]))",
        "plan",
        str(spec),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env={**os.environ})
    assert "\x1b" not in done.stdout
