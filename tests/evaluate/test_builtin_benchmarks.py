"""The rows of the builtin benchmarks, from the wheel's form to lm-eval's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.catalog import BENCHMARKS
from ftlab.errors import DataError
from ftlab.evaluate import builtin as module
from ftlab.evaluate.builtin import BuiltinBenchmark, read_rows


def line(question: str, options: str, answer: str | None) -> str:
    row = {"question": question, "options": options}
    return json.dumps(row if answer is None else row | {"answer": answer})


GOOD = line("Where? ", "A. here \nB. there", "B. there")


def test_a_row_keeps_its_choices_and_loses_the_blank_after_its_question() -> None:
    rows, dropped = read_rows(GOOD, 2)
    assert (rows, dropped) == ([{"question": "Where?", "choices": ["here ", "there"], "gold": 1}], 0)


def test_options_may_begin_on_a_new_line() -> None:
    rows, _ = read_rows(line("q", "\nA. x\nB. y", "A. x"), 2)
    assert rows == [{"question": "q", "choices": ["x", "y"], "gold": 0}]


@pytest.mark.parametrize(
    "broken",
    [
        line("cut", "C. x\nD. y", "C. x"),
        line("text before", ".\nA. x\nB. y", "A. x"),
        line("three", "A. x\nB. y\nC. z", "A. x"),
        line("empty choice", "A. x\nB.  ", "A. x"),
        line("answer is no option", "A. x\nB. y?", "B. y"),
        line("no answer", "A. x\nB. y", None),
        line("no options", "", "A. x"),
    ],
)
def test_broken_rows_are_dropped_and_counted(broken: str) -> None:
    rows, dropped = read_rows(f"{GOOD}\n{broken}\n\n{GOOD}\n", 2)
    assert (len(rows), dropped) == (2, 1)


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(DataError, match="none of 1 benchmark rows"):
        read_rows('{"prompt": "x"}'.replace("prompt", "question"), 2)


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_every_builtin_has_a_yaml_without_functions(name: str) -> None:
    benchmark: BuiltinBenchmark = BENCHMARKS.load(name)
    assert "!function" not in benchmark.yaml()
    config = benchmark.config()
    assert config["task"] == benchmark.name == name
    assert benchmark.primary in [metric["metric"] for metric in config["metric_list"]]


def test_the_version_changes_with_the_yaml_and_with_nothing_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.piqa.version()
    assert before == module.piqa.version()
    assert len({BENCHMARKS.load(name).version() for name in BENCHMARKS.names()}) == 3
    monkeypatch.setattr(BuiltinBenchmark, "yaml", lambda self: "task: other")
    assert module.piqa.version() != before


def test_rows_are_written_once_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    source = tmp_path / module.piqa.member
    source.parent.mkdir(parents=True)
    source.write_text(GOOD, encoding="utf-8")
    calls: list[list[str]] = []
    monkeypatch.setattr(module, "extracted", lambda wheel, members, report: calls.append(members) or tmp_path)
    first, second = module.piqa.fetch(), module.piqa.fetch()
    assert first == second
    assert cache in first.parents
    assert calls == [[module.piqa.member]]
    assert [json.loads(row)["gold"] for row in first.read_text(encoding="utf-8").splitlines()] == [1]


def test_another_number_of_broken_rows_than_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / module.piqa.member
    source.parent.mkdir(parents=True)
    source.write_text(f"{GOOD}\n{line('cut', 'C. x', 'C. x')}", encoding="utf-8")
    monkeypatch.setattr(module, "extracted", lambda wheel, members, report: tmp_path)
    with pytest.raises(DataError, match="expected 0 broken rows, found 1"):
        module.piqa.fetch()


@pytest.mark.real
@pytest.mark.parametrize(("name", "rows"), [("piqa", 1500), ("openbookqa", 500), ("commonsenseqa", 1215)])
def test_the_real_files_have_the_known_number_of_rows(name: str, rows: int) -> None:
    lines = BENCHMARKS.load(name).fetch().read_text(encoding="utf-8").splitlines()
    assert len(lines) == rows
    assert {len(json.loads(row)["choices"]) for row in lines} == {BENCHMARKS.load(name).choices}
