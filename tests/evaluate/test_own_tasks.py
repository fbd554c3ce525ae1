"""lm-eval tasks of a user's own: refused unless the spec allows them by name, and recorded when they run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.errors import SpecError, UnknownNameError, UsageError
from ftlab.evaluate import benchmarks as module
from ftlab.evaluate.benchmarks import benchmark_version, check_task, load_tasks, run_benchmark
from ftlab.evaluate.own_tasks import MAX_FILES, OwnTask, own_task
from ftlab.events import EventType, ignore
from ftlab.plan.expand import build_plan
from ftlab.spec.load import parse_spec
from ftlab.spec.schema import BenchmarkSpec
from ftlab.testing.tiny import tiny_model

TASK = """
task: our_faq
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: !function ours.question
doc_to_choice: ["no", "yes"]
doc_to_target: answer
metric_list: [{metric: acc}]
"""
ROWS = [{"text": f"Is {number} even?", "answer": int(number % 2 == 0)} for number in range(6)]


@pytest.fixture(autouse=True)
def _few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "task_names", lambda: ["hellaswag"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one task whose YAML names Python code; the code leaves a witness when it runs."""
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "faq.yaml").write_text(TASK, encoding="utf-8")
    witness = tmp_path / "ran"
    code = f"open({str(witness)!r}, 'a').write('x')\ndef question(row):\n    return 'Q: ' + row['text'] + ' A:'\n"
    (folder / "ours.py").write_text(code, encoding="utf-8")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return folder


def test_nothing_of_it_runs_until_it_is_loaded(folder: Path) -> None:
    own = OwnTask("our_faq", folder)
    check_task("our_faq", own)
    assert benchmark_version("our_faq", own).startswith("own ")
    assert not (folder.parent / "ran").exists()


def test_its_code_shapes_the_questions(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # its rows are named from its own folder, wherever a sweep is started
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (task,) = load_tasks("our_faq", None, ignore, OwnTask("our_faq", folder))["tasks"].values()
    task.build_all_requests(limit=None, rank=0, world_size=1)
    assert {request.arguments[0] for request in task.instances} == {f"Q: {row['text']} A:" for row in ROWS}
    assert (folder.parent / "ran").exists()


def test_a_run_records_that_code_of_the_users_ran(folder: Path, tmp_path: Path) -> None:
    from ftlab.models.load import load_model
    from ftlab.models.sources import resolve_model
    from ftlab.spec.schema import ModelSpec

    ref = resolve_model(ModelSpec(source=str(tiny_model(tmp_path / "model"))), tmp_path)
    assert ref.folder is not None
    loaded = load_model(ref, Path(ref.folder), 1)
    own = OwnTask("our_faq", folder)
    heard: list[dict[str, object]] = []
    out = tmp_path / "out"
    out.mkdir()
    spec = BenchmarkSpec(tasks=["our_faq"], own={"our_faq": str(folder)})

    def report(kind: EventType, **fields: object) -> None:
        heard.append({"type": kind, **fields})

    summary = run_benchmark("our_faq", loaded.model, loaded, spec, out, report, own=own)
    assert summary["samples"] == len(ROWS)
    assert summary["version"] == benchmark_version("our_faq", own)
    (warning,) = [event for event in heard if event["type"] is EventType.WARNING]
    assert warning["code"] == "own_benchmark"
    assert own.version in str(warning["message"])


@pytest.mark.parametrize("name", ["ours.py", "faq.yaml", "rows.jsonl"])
def test_a_changed_file_is_another_version(folder: Path, name: str) -> None:
    before = OwnTask("our_faq", folder).version
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "ours.pyc").write_bytes(b"x")
    assert OwnTask("our_faq", folder).version == before
    with (folder / name).open("a", encoding="utf-8") as stream:
        stream.write("\n")
    assert OwnTask("our_faq", folder).version != before


def test_mistakes_are_one_clear_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no task 'our_fqa' in .*, did you mean 'our_faq'\?"):
        check_task("our_fqa", OwnTask("our_fqa", folder))
    with pytest.raises(UsageError, match="there is no folder"):
        check_task("our_faq", OwnTask("our_faq", tmp_path / "nowhere"))
    (folder / "h.yaml").write_text("task: hellaswag\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is a task of lm-eval's registry too"):
        check_task("hellaswag", OwnTask("hellaswag", folder))
    (folder / "ours.py").write_text("raise RuntimeError('not\\ntoday')", encoding="utf-8")
    with pytest.raises(UsageError, match=r"'our_faq' of .* cannot be loaded: not today"):
        load_tasks("our_faq", None, ignore, OwnTask("our_faq", folder))
    for index in range(MAX_FILES):
        (folder / f"{index}.txt").touch()
    with pytest.raises(UsageError, match="more than 1,000 files"):
        check_task("our_faq", OwnTask("our_faq", folder))


SPEC = """
version: 1
name: own
model: {model}
data: {{source: ./rows.jsonl, splits: {{validation: 2, test: 2, stratify: false}}}}
task:
  type: generation
  prompt: [{{role: user, content: "{{{{ text }}}}"}}]
  target: "{{{{ answer }}}}"
methods: {{ask: {{type: prompt}}}}
benchmarks: {benchmarks}
"""


def _planned(folder: Path, benchmarks: str) -> dict[str, str]:
    root = folder.parent
    rows = [{"text": f"word {number}", "answer": str(number)} for number in range(12)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = tiny_model(root / "model") if not (root / "model").exists() else root / "model"
    loaded = parse_spec(SPEC.format(model=model, benchmarks=benchmarks), root / "experiment.yaml")
    return {stage.name: stage.key for stage in build_plan(loaded).runs[0].stages if stage.kind == "benchmark"}


def test_a_spec_allows_it_by_name_and_its_files_are_part_of_the_key(folder: Path) -> None:
    allowed = "{tasks: [our_faq], own: {our_faq: ./bench}}"
    before = _planned(folder, allowed)
    assert set(before) == {"our_faq"}
    assert own_task("our_faq", BenchmarkSpec(own={"our_faq": "./bench"}), folder.parent) is not None
    (folder / "ours.py").write_text("def question(row):\n    return row['text']\n", encoding="utf-8")
    assert _planned(folder, allowed) != before
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize(
    ("benchmarks", "words"),
    [
        ("{tasks: [our_faq]}", "unknown benchmark 'our_faq'"),
        ("{tasks: [./bench]}", "allow your own by its name: benchmarks.own"),
        ("{tasks: [], own: {our_faq: ./bench}}", "is not among benchmarks.tasks"),
        ("{tasks: [our_faq], own: {our_faq: ./bnech}}", "there is no folder './bnech'"),
        ("{tasks: [other], own: {other: ./bench}}", r"no task 'other' in .*its files define our_faq"),
        ("{tasks: ['../x'], own: {'../x': ./bench}}", "benchmarks.own"),
    ],
)
def test_a_spec_that_does_not_allow_it_is_refused_with_the_place(folder: Path, benchmarks: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        _planned(folder, benchmarks)
    assert all(problem.line > 0 for problem in caught.value.problems)
    assert not (folder.parent / "ran").exists()


def test_looking_for_it_imports_neither_torch_nor_lm_eval(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ftlab.evaluate.own_tasks import OwnTask; "
        f"own = OwnTask('our_faq', Path({str(folder)!r})); own.check(); own.version; "
        "print(sorted({'torch', 'lm_eval', 'transformers', 'datasets', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
