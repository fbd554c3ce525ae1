"""The first look at data and templates: everything that is wrong, each with its place in the spec and in the file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.data import look
from ftlab.data.look import look_at
from ftlab.errors import SpecError
from ftlab.plan.expand import build_plan
from ftlab.plan.preflight import preflight
from ftlab.spec.load import LoadedSpec, parse_spec
from ftlab.spec.placed import problem_of

SPEC = """\
version: 1
name: look
model: builtin:smollm2-135m-instruct
data:
  files: {train: a.jsonl, validation: b.csv, test: c.json}
task:
  type: classification
  prompt:
    - {role: system, content: "One of {{ labels | join(', ') }}."}
    - {role: user, content: "{{ question }}"}
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  lora: {type: lora}
"""

Look = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedSpec]:
    rows = [{"question": f"q{number}", "label": ("red", "blue")[number % 2]} for number in range(8)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    (tmp_path / "b.csv").write_text("question,label\nx,red\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps(rows[:1]), encoding="utf-8")

    def _load(*changes: tuple[str, str]) -> LoadedSpec:
        text = SPEC
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
        return parse_spec(text, tmp_path / "spec.yaml")

    return _load


@pytest.fixture
def seen(load: Callable[..., LoadedSpec], tmp_path: Path) -> Look:
    """The problems, without the folder's name."""

    def _seen(*changes: tuple[str, str]) -> list[str]:
        loaded = load(*changes)
        return [str(problem_of(loaded, fault)).replace(f"{tmp_path}/", "") for fault in look_at(loaded)]

    return _seen


def test_nothing_is_wrong_with_a_good_spec(seen: Look) -> None:
    assert seen() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("{{ question }}", "{{ qestion }}"),
            "spec.yaml:10:29  task.prompt.1.content  there is no column 'qestion', did you mean 'question'? (columns: ",
        ),
        (("{{ question }}", "{{ question"), "spec.yaml:10:29  task.prompt.1.content  line 1 of the template: "),
        (("{{ question }}", "{% set x = 1 %}"), "spec.yaml:10:29  task.prompt.1.content  line 1 of the template: "),
        (
            ("{{ question }}", "{{ question.__class__ }}"),
            "spec.yaml:10:29  task.prompt.1.content  the template fails on a row (access to attribute '__class__'",
        ),
        (("{{ label }}", "{{ lable }}"), "spec.yaml:11:11  task.target  there is no column 'lable', did you mean"),
        (
            ("{type: prompt}", "{type: prompt, prompt: {grid: [[{role: user, content: '{{ q }}'}]]}}"),
            "spec.yaml:13:68  methods.zero_shot.prompt.grid.0.0.content  there is no column 'q'",
        ),
        (
            ("{type: prompt}", "{type: prompt, variants: [{prompt: [{role: user, content: '{{ q }}'}]}]}"),
            "spec.yaml:13:72  methods.zero_shot.variants.0.prompt.0.content  there is no column 'q'",
        ),
        (
            ("c.json}", "c.json}\n  splits: {test: 5}"),
            "spec.yaml:6:18  data.splits.test  expected at most the 1 rows that test has, found 5; lower it",
        ),
        (
            ("  target:", "  labels: [red, bleu]\n  target:"),
            "spec.yaml:11:11  task.labels  a.jsonl:3: the target 'blue' is not in task.labels, did you mean 'bleu'?",
        ),
    ],
)
def test_each_mistake_has_its_place(seen: Look, change: tuple[str, str], told: str) -> None:
    (problem,) = seen(change)
    assert problem.startswith(told)


def test_broken_rows_of_all_files_are_told_at_once_with_their_lines(seen: Look, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "a", "label": "red"}\n\n{"question": \n[1]\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text('question,label\n"two\nlines",red\ny\nz,red,3\n', encoding="utf-8")
    (tmp_path / "c.json").write_text("[]", encoding="utf-8")
    starts = [
        "spec.yaml:5:18  data.files.train  a.jsonl:3:13: not valid JSON",
        "spec.yaml:5:18  data.files.train  a.jsonl:4: expected an object with named columns, found a list",
        "spec.yaml:5:39  data.files.validation  b.csv:4: expected 2 columns as in the header, found 1",
        "spec.yaml:5:39  data.files.validation  b.csv:5: expected 2 columns as in the header, found 3",
        "spec.yaml:5:52  data.files.test  c.json: there are no rows in it",
    ]
    problems = seen()
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_many_broken_rows_are_counted(seen: Look, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[]\n" * 1000, encoding="utf-8")
    problems = seen()
    assert len(problems) == 6
    assert problems[-1].endswith("a.jsonl: and 995 more broken rows")


def test_a_label_that_train_never_shows_has_its_row(seen: Look, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("question,label\nx,red\n\ny,green\n", encoding="utf-8")
    (problem,) = seen()
    assert problem.startswith("spec.yaml:5:39  data.files.validation  b.csv:4: validation has the label 'green'")


def test_hostile_labels_and_column_names_stay_on_their_line(seen: Look, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text('"question\nerror: all is lost",label\nx,"\x1b[31mred\nno"\n', encoding="utf-8")
    problems = seen(("{{ question }}", "{{ qestion }}"), ("  target:", "  labels: [red, blue]\n  target:"))
    assert len(problems) == 2
    assert all("\n" not in problem and "\x1b" not in problem for problem in problems)
    assert "b.csv:4: the target '\\x1b[31mred\\nno' is not in task.labels" in problems[1]


def test_a_builtin_shows_its_columns_without_being_fetched(
    seen: Look, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    builtin = ("files: {train: a.jsonl, validation: b.csv, test: c.json}", "source: builtin:medical-specialty")
    assert seen(builtin) == []
    (problem,) = seen(builtin, ("{{ question }}", "{{ text }}"))
    assert "no column 'text' (columns: label, labels, options, question)" in problem
    assert not list(cache.iterdir())


@pytest.mark.real
def test_a_builtins_example_has_the_columns_of_its_rows() -> None:
    from ftlab.data.builtin import medical_specialty
    from ftlab.events import ignore

    rows = medical_specialty.load(ignore)
    assert {tuple(row) for row in rows} == {tuple(medical_specialty.example)}


def test_large_files_are_left_to_the_plan_but_templates_are_still_parsed(
    seen: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "LIGHT_BYTES", 100)
    (tmp_path / "a.jsonl").write_text("broken" * 100, encoding="utf-8")
    assert seen(("{{ question }}", "{{ nowhere }}")) == []
    assert len(seen(("{{ question }}", "{{ question"))) == 1


def test_the_plan_tells_the_same_with_the_same_places(
    load: Callable[..., LoadedSpec], seen: Look, tmp_path: Path
) -> None:
    changes = [("{{ question }}", "{{ qestion }}"), ("{type: prompt}", "{type: prompt, shots: 9}")]
    loaded = load(*changes)
    with pytest.raises(SpecError) as caught:
        preflight(build_plan(loaded), loaded)
    first, second = (str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems)
    assert [first] == seen(*changes)
    assert second == (
        "spec.yaml:13:36  methods.zero_shot.shots  expected at most the 8 rows of train, found 9; ask for fewer shots"
    )


def test_a_plan_tells_of_the_model_and_the_data_in_one_round(load: Callable[..., LoadedSpec], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.csv").write_text("question,label\nx\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        build_plan(load(("builtin:smollm2-135m-instruct", "./empty"), ("{{ question }}", "{{ qestion")))
    assert [problem.path for problem in caught.value.problems] == [
        "model",
        "task.prompt.1.content",
        "data.files.validation",
    ]
    assert "config.json" in caught.value.problems[0].message


def test_a_look_imports_nothing_heavy() -> None:
    spec = Path(__file__).parents[2] / "experiments" / "quickstart.yaml"
    code = (
        f"import sys; from ftlab.cli import main; code = main(['validate', {str(spec)!r}]); "
        "print(code, sorted({'torch', 'transformers', 'lm_eval', 'duckdb', 'pyarrow', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
