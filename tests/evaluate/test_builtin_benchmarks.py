"""The rows of the builtin benchmarks, from the wheel's form to lm-eval's."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from ftlab.catalog import BENCHMARKS
from ftlab.errors import DataError, UnknownNameError
from ftlab.evaluate import builtin as module
from ftlab.evaluate.benchmarks import benchmark_version, load_tasks
from ftlab.evaluate.builtin import BuiltinBenchmark, read_rows
from ftlab.events import ignore
from ftlab.testing.benchmark_contract import HARNESS_NAMES


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
        line("the answer stands at two letters", "A. x\nB. x ", "A. x"),
    ],
)
def test_broken_rows_are_dropped_and_counted(broken: str) -> None:
    other = line("Who?", "A. I\nB. you", "A. I")
    rows, dropped = read_rows(f"{GOOD}\n{broken}\n\n{other}\n", 2)
    assert (len(rows), dropped) == (2, 1)


def test_of_rows_that_ask_the_same_the_first_stays_and_of_contradictions_none() -> None:
    others = [line("other", "A. x\nB. y", "A. x"), line("torn", "A. x\nB. y", "A. x")]
    rows, dropped = read_rows("\n".join([GOOD, *others, GOOD, line("torn", "A. x\nB. y", "B. y")]), 2)
    assert [row["question"] for row in rows] == ["Where?", "other"]
    assert dropped == 3


def test_a_question_about_a_passage_keeps_it() -> None:
    raw = {"passage": "Anna slept. ", "question": "Why?", "options": "A. tired\nB. bored", "answer": "A. tired"}
    rows, _ = read_rows(json.dumps(raw), 2)
    assert rows == [{"passage": "Anna slept. ", "question": "Why?", "choices": ["tired", "bored"], "gold": 0}]


def test_yes_and_no_questions_have_two_choices_and_their_title_before_the_passage() -> None:
    raw = {"title": "Salt", "passage": "Salt dissolves.", "question": "does salt dissolve", "answer": "True"}
    broken = [{**raw, "answer": "maybe"}, {**raw, "passage": " "}, {**raw, "title": None}]
    rows, dropped = read_rows("\n".join(map(json.dumps, [raw, *broken])), 2, "yes_no")
    assert dropped == 3
    assert rows == [
        {
            "passage": "Salt -- Salt dissolves.",
            "question": "does salt dissolve",
            "choices": ["no", "yes"],
            "gold": 1,
        }
    ]


def test_rows_that_serve_as_shots_are_short_and_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = dataclasses.replace(module.mmlu, dropped=0, choices=2, shots=2)
    source = tmp_path / benchmark.member
    source.parent.mkdir(parents=True)
    long = line("x" * (module.SHOT_CHARACTERS + 1), "A. x\nB. y", "A. x")
    source.write_text("\n".join([long, *(line(f"q{n}", "A. x\nB. y", "B. y") for n in range(4))]), encoding="utf-8")
    monkeypatch.setattr(module, "extracted", lambda wheel, members, report: tmp_path)
    files = benchmark.fetch()
    asked, shots = ([json.loads(row)["question"][:2] for row in files[name].open()] for name in ("validation", "shots"))
    assert (asked, shots) == (["xx", "q2", "q3"], ["q0", "q1"])


def test_a_file_of_another_form_is_refused() -> None:
    with pytest.raises(DataError, match="none of 1 benchmark rows"):
        read_rows('{"prompt": "x"}'.replace("prompt", "question"), 2)


@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_every_builtin_has_a_yaml_without_functions(name: str) -> None:
    benchmark: BuiltinBenchmark = BENCHMARKS.load(name)
    assert "!function" not in benchmark.yaml()
    config = benchmark.config()
    assert config["task"] == benchmark.name == name
    assert benchmark.primary in [metric["metric"] for metric in config["metric_list"]]


def test_the_version_changes_with_the_yaml_and_with_nothing_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.piqa.version()
    assert before == module.piqa.version()
    assert len({BENCHMARKS.load(name).version() for name in BENCHMARKS.names()}) == len(BENCHMARKS.names())
    monkeypatch.setattr(BuiltinBenchmark, "yaml", lambda self: "task: other")
    assert module.piqa.version() != before


def test_a_benchmark_that_is_left_out_says_why() -> None:
    with pytest.raises(
        UnknownNameError, match="no builtin benchmark 'truthfulqa': the rows at hand name right answers"
    ):
        benchmark_version("builtin:truthfulqa")


def test_rows_are_written_once_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    source = tmp_path / module.piqa.member
    source.parent.mkdir(parents=True)
    source.write_text(GOOD, encoding="utf-8")
    calls: list[list[str]] = []
    monkeypatch.setattr(module, "extracted", lambda wheel, members, report: calls.append(members) or tmp_path)
    first, second = module.piqa.fetch(), module.piqa.fetch()
    assert first == second
    assert list(first) == ["validation"]
    path = first["validation"]
    assert cache in path.parents
    assert calls == [[module.piqa.member]]
    assert [json.loads(row)["gold"] for row in path.read_text(encoding="utf-8").splitlines()] == [1]


def test_another_number_of_broken_rows_than_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / module.piqa.member
    source.parent.mkdir(parents=True)
    source.write_text(f"{GOOD}\n{line('cut', 'C. x', 'C. x')}", encoding="utf-8")
    monkeypatch.setattr(module, "extracted", lambda wheel, members, report: tmp_path)
    with pytest.raises(DataError, match="expected 0 broken rows, found 1"):
        module.piqa.fetch()


ROWS = {"piqa": 1500, "openbookqa": 500, "commonsenseqa": 1209, "mmlu": 2810, "boolq": 3270, "siqa": 1924}


@pytest.mark.real
@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_the_real_files_have_the_known_number_of_rows(name: str) -> None:
    benchmark = BENCHMARKS.load(name)
    files = {split: path.read_text(encoding="utf-8").split("\n")[:-1] for split, path in benchmark.fetch().items()}
    assert len(files["validation"]) == ROWS[name]
    assert len(files.get("shots", [])) == benchmark.shots
    assert not set(files["validation"]) & set(files.get("shots", []))
    rows = [json.loads(row) for row in files["validation"]]
    assert {len(row["choices"]) for row in rows} == {benchmark.choices}
    fixed = isinstance(benchmark.config()["doc_to_choice"], list)
    most = max(Counter(row["gold"] for row in rows).values()) / len(rows) if fixed else 0.0
    assert benchmark.chance == pytest.approx(max(most, 1 / benchmark.choices), abs=0.005)


KNOWN: dict[str, tuple[int, str, str]] = {
    "piqa": (
        1,
        "Question: To fight Ivan Drago in Rocky for sega master system.\nAnswer:",
        " You have to defeat Apollo Creed and Clubber Lang first.",
    ),
    "openbookqa": (1, "There is most likely going to be fog around:", " a marsh"),
    "commonsenseqa": (
        1,
        "Question: What do people aim to do at work?\nA. complete job\nB. learn from each other\nC. kill animals\n"
        "D. wear hats\nE. talk to each other\nAnswer:",
        " A",
    ),
    "siqa": (
        1,
        "Q: Sydney walked past a homeless woman asking for change but did not have any money they could give to her. "
        "Sydney felt bad afterwards. How would you describe Sydney?\nA:",
        " sympathetic",
    ),
    "boolq": (
        1,
        "falling in the first two brackets.\nQuestion: is house tax and property tax are same?\nAnswer:",
        " yes",
    ),
    "mmlu": (
        1,
        "definition of a 99% confidence interval?\n"
        "A. 99% of the time in repeated samples, the interval would contain the true value of the parameter\n"
        "B. 99% of the time in repeated samples, the interval would contain the estimated value of the parameter\n"
        "C. 99% of the time in repeated samples, the null hypothesis will be rejected\n"
        "D. 99% of the time in repeated samples, the null hypothesis will not be rejected when it was false\nAnswer:",
        " A",
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_real_rows_become_the_prompt_and_the_right_answer(name: str) -> None:
    """Read by eye in the wheel's files: what the model is asked, and which continuation is right."""
    place, ending, right = KNOWN[name]
    (task,) = load_tasks(f"builtin:{name}", None, ignore)["tasks"].values()
    task.build_all_requests(limit=place + 1, rank=0, world_size=1)
    asked = [request for request in task.instances if request.doc_id == place]
    assert len(asked) == BENCHMARKS.load(name).choices
    gold = asked[asked[0].doc["gold"]]
    assert gold.args[0].endswith(ending)
    assert gold.args[1] == right


@pytest.mark.real
def test_mmlu_asks_every_question_after_the_same_five_answered_ones() -> None:
    (task,) = load_tasks("builtin:mmlu", None, ignore)["tasks"].values()
    task.build_all_requests(limit=20, rank=0, world_size=1)
    contexts = {request.args[0] for request in task.instances}
    beginnings = {context.rpartition("\n\n")[0] for context in contexts}
    assert len(contexts) == 20
    (beginning,) = beginnings
    assert beginning.startswith(
        "The following are multiple choice questions (with answers).\n\nIn the current year Poplar"
    )
    assert beginning.count("\nAnswer: ") == 5
    assert [shot[-1] for shot in beginning.split("\n\n")[1:]] == ["D", "A", "A", "B", "A"]
