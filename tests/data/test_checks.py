"""What the preflight finds in a data set."""

from __future__ import annotations

import pytest

from ftlab.data.checks import check_dataset, check_prompt
from ftlab.data.records import Dataset, DatasetReport, Example, Finding
from ftlab.errors import DataError
from ftlab.spec.schema import Message


def dataset(train: list[tuple[str, str]], validation: list[tuple[str, str]], test: list[tuple[str, str]]) -> Dataset:
    parts = {"train": train, "validation": validation, "test": test}
    splits = {
        split: [
            Example(f"{split}{position}", position, text, {"question": text}, target)
            for position, (text, target) in enumerate(part)
        ]
        for split, part in parts.items()
    }
    return Dataset(splits, sorted({target for part in parts.values() for _, target in part}))


CLEAN = [(f"a {index}", "x") for index in range(8)] + [(f"b {index}", "y") for index in range(8)]


def codes(data: Dataset) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_dataset(data)}


def test_clean_data_has_no_findings() -> None:
    assert check_dataset(dataset(CLEAN, [("v", "x")], [("t", "y")])) == []


def test_the_same_text_in_train_and_test_whatever_its_case_and_blanks() -> None:
    found = codes(dataset(CLEAN, [(" A  1\n", "x"), ("v", "x")], [("B 2", "y"), ("b\t3", "y"), ("t", "y")]))
    assert set(found) == {"same_text_in_train_and_test", "same_text_in_train_and_validation"}
    assert found["same_text_in_train_and_test"].count == 2
    assert found["same_text_in_train_and_test"].example_ids == ("test0", "test1")
    assert found["same_text_in_train_and_validation"].example_ids == ("validation0",)


def test_the_same_text_with_two_targets() -> None:
    found = codes(dataset([*CLEAN, ("a 1", "y")], [("v", "x")], [("t", "y")]))
    assert found["contradictory_targets"].example_ids == ("train1", "train16")


def test_free_text_may_have_several_right_answers() -> None:
    data = dataset([*CLEAN, ("a 1", "y")], [("v", "x")], [("t", "y")])
    assert codes(Dataset(data.splits, [])) == {}


def test_empty_texts_are_no_copies_of_each_other() -> None:
    found = codes(dataset([*CLEAN, ("", "x"), (" ", "y")], [("", "x")], [("t", "y")]))
    assert set(found) == {"empty_text"}
    assert found["empty_text"].count == 3


def test_labels_with_few_rows_none_in_train_and_none_at_all() -> None:
    data = dataset([*CLEAN, ("c", "rare")], [("v", "unseen")], [("t", "y")])
    data = Dataset(data.splits, [*data.labels, "idle"])
    found = codes(data)
    assert found["label_with_few_rows"].message == "labels with fewer than 8 training rows: 'rare'"
    assert found["label_not_in_train"].message.endswith(": 'unseen'")
    assert found["label_without_rows"].message.endswith(": 'idle'")
    assert not any(finding.code == "label_with_few_rows" for finding in check_dataset(data, min_label_rows=1))


def test_many_labels_are_cut_in_messages_and_shown_harmlessly() -> None:
    data = dataset([(f"q{n}", f"l{n}") for n in range(7)] + [("q", "\x1b[31m")], [("v", "l0")], [("t", "l1")])
    message = codes(data)["label_with_few_rows"].message
    assert message.endswith("and 3 more")
    assert "\x1b" not in message


def test_what_was_noticed_while_building_is_included() -> None:
    noticed = Finding("duplicates_dropped", "2 rows ...", 2)
    clean = dataset(CLEAN, [("v", "x")], [("t", "y")])
    assert check_dataset(Dataset(clean.splits, clean.labels, DatasetReport(2, (noticed,)))) == [noticed]


CHAT = [Message(role="system", content="one two"), Message(role="user", content="{{ question }}")]


def test_every_prompt_is_rendered() -> None:
    data = dataset(CLEAN, [("v", "x")], [("t", "y")])
    check_prompt(data, CHAT, "task.prompt")
    with pytest.raises(DataError, match=r"methods\.few\.prompt\[0\]: there is no column 'text'"):
        check_prompt(data, [Message(role="user", content="{{ text }}")], "methods.few.prompt")
