"""What the examples page asks of a snapshot, on a database whose every row is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest
import ui_synthetic as made

from ftlab.store import side_by_side as queries
from ftlab.store.side_by_side import Question


@pytest.fixture(scope="module")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("queries") / "1.duckdb"
    made.make_database(path, steps=1_000)
    connection = duckdb.connect(str(path), read_only=True)
    yield connection
    connection.close()


@pytest.fixture
def question(cursor: duckdb.DuckDBPyConnection) -> Question:
    found = queries.columns(cursor, [arm.arm_id for arm in made.ARMS], "validation")
    base, lora = found[made.ARMS[0].arm_id], found[made.ARMS[2].arm_id]
    return Question(made.DATASET, "validation", (base, lora), "accuracy")


def answers(cursor: duckdb.DuckDBPyConnection, question: Question) -> list[queries.Example]:
    return queries.find_examples(cursor, question, 1_000, 0)


def test_an_arm_without_outputs_has_no_column(cursor: duckdb.DuckDBPyConnection) -> None:
    found = queries.columns(cursor, [arm.arm_id for arm in made.ARMS], "validation")
    assert set(found) == {arm.arm_id for arm in made.ARMS[:5]}
    assert queries.columns(cursor, [made.ARMS[0].arm_id], "test") == {}


def test_all_shows_every_example_in_order(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    rows = answers(cursor, question)
    assert [row.position for row in rows] == list(range(60))
    assert queries.count_examples(cursor, question)["all"] == 60


def test_modes_say_what_they_show(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    every = answers(cursor, question)
    rules = {
        "regressed": lambda base, arm: base.score == 1 and arm.score == 0,
        "improved": lambda base, arm: base.score == 0 and arm.score == 1,
        "different": lambda base, arm: (base.parsed or base.output) != (arm.parsed or arm.output),
        "invalid": lambda base, arm: base.parsed is None or arm.parsed is None,
    }
    counts = queries.count_examples(cursor, question)
    for mode, rule in rules.items():
        wanted = [row.example_id for row in every if rule(*row.cells)]
        found = answers(cursor, replace(question, mode=mode))  # type: ignore[arg-type]
        assert wanted, f"the made-up outputs hold no case of {mode}"
        assert [row.example_id for row in found] == wanted
        assert counts[mode] == len(wanted)  # type: ignore[index]


def test_any_of_several_arms_counts(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    found = queries.columns(cursor, [made.ARMS[4].arm_id], "validation")
    both = replace(question, columns=(*question.columns, found[made.ARMS[4].arm_id]))
    alone = [replace(question, columns=(question.columns[0], column)) for column in both.columns[1:]]
    union = {row.example_id for one in alone for row in answers(cursor, replace(one, mode="regressed"))}
    assert {row.example_id for row in answers(cursor, replace(both, mode="regressed"))} == union


def test_the_baseline_alone_has_nothing_to_compare(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    alone = replace(question, columns=question.columns[:1])
    counts = queries.count_examples(cursor, alone)
    assert (counts["regressed"], counts["improved"], counts["different"], counts["all"]) == (0, 0, 0, 60)


def test_search_looks_in_question_answer_and_outputs_and_takes_text_as_text(
    cursor: duckdb.DuckDBPyConnection, question: Question
) -> None:
    assert len(answers(cursor, replace(question, search="QUESTION 59 "))) == 1
    unsure = answers(cursor, replace(question, search="not sure"))
    assert unsure
    assert all(any(cell and "not sure" in cell.output for cell in row.cells) for row in unsure)
    for text in ("%", "_", "'; DROP TABLE examples; --", "\\"):
        assert answers(cursor, replace(question, search=text)) == []


def test_pages_do_not_overlap(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    pages = [queries.find_examples(cursor, question, 20, offset) for offset in (0, 20, 40, 60)]
    assert [len(page) for page in pages] == [20, 20, 20, 0]
    assert len({row.example_id for page in pages for row in page}) == 60


def test_one_example_by_its_id(cursor: duckdb.DuckDBPyConnection, question: Question) -> None:
    [row] = answers(cursor, replace(question, example_id="e000000000007"))
    assert row.position == 7
    assert answers(cursor, replace(question, example_id="nobody")) == []


def test_right_and_wrong_are_told_by_the_decision_metric_or_else_accuracy(
    cursor: duckdb.DuckDBPyConnection, question: Question
) -> None:
    scores = question.columns[0].scores
    assert scores is not None
    assert queries.scored_by(cursor, scores, "valid_format") == "valid_format"
    assert queries.scored_by(cursor, scores, "macro_f1") == "accuracy"
    assert queries.scored_by(cursor, "nothing", "accuracy") is None
