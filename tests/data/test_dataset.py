"""Rows become a data set: what is dropped, where a row goes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.data.dataset import Dataset, build_dataset, read_dataset, write_dataset
from ftlab.data.sources import resolve_data
from ftlab.errors import DataError
from ftlab.spec.schema import DataSpec, Files, Message, SplitSpec, TaskSpec
from ftlab.testing.tiny import tiny_rows

TASK = TaskSpec(type="classification", prompt=[Message(role="user", content="{{ question }}")], target="{{ label }}")
SIZES = SplitSpec(train=30, validation=9, test=9)


def build(folder: Path, rows: Any, task: TaskSpec = TASK, splits: SplitSpec = SIZES) -> Dataset:
    """`rows` is a list, or a dict of lists by split."""
    if isinstance(rows, dict):
        names = {split: f"{split}.jsonl" for split in rows}
        for split, part in rows.items():
            (folder / names[split]).write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
        spec = DataSpec(files=Files(**names), splits=splits)
    else:
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        spec = DataSpec(source="rows.jsonl", splits=splits)
    return build_dataset(resolve_data(spec, folder), task)


def ids(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [example.example_id for example in part] for split, part in dataset.splits.items()}


def test_rows_are_split_and_labelled(tmp_path: Path) -> None:
    dataset = build(tmp_path, tiny_rows(60))
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 30, "validation": 9, "test": 9}
    assert dataset.labels == ["blue", "green", "red"]
    for part in dataset.splits.values():
        assert [example.position for example in part] == list(range(len(part)))
        assert {target: sum(e.target == target for e in part) for target in dataset.labels} == {
            target: len(part) // 3 for target in dataset.labels
        }
    example = dataset.splits["train"][0]
    assert example.text == example.fields["question"]
    assert example.target == example.fields["label"]
    assert len({i for part in ids(dataset).values() for i in part}) == 48


def test_neither_the_order_of_the_file_nor_of_its_columns_matters(tmp_path: Path) -> None:
    rows = tiny_rows(60)
    turned = [dict(reversed(row.items())) | {"note": None} for row in reversed(rows)]
    assert ids(build(tmp_path, turned)) == ids(build(tmp_path, rows))


def test_duplicates_are_dropped_before_the_split(tmp_path: Path) -> None:
    rows = tiny_rows(60)
    dataset = build(tmp_path, rows + rows[:7])
    assert ids(dataset) == ids(build(tmp_path, rows))
    assert dataset.report.dropped_duplicates == 7
    assert [(finding.code, finding.count) for finding in dataset.report.findings] == [("duplicates_dropped", 7)]


def test_duplicates_that_are_kept_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = tiny_rows(20)
    dataset = build(tmp_path, rows * 3, splits=SplitSpec(train=40, validation=10, test=10, deduplicate=False))
    everything = [i for part in ids(dataset).values() for i in part]
    assert len(everything) == len(set(everything)) == 60


def test_rows_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = tiny_rows(60)
    untold = [{"question": "x"}, {"question": "y", "label": None}, {"question": "z", "label": " "}]
    dataset = build(tmp_path, rows + untold)
    assert ids(dataset) == ids(build(tmp_path, rows))
    (finding,) = dataset.report.findings
    assert (finding.code, finding.count, len(finding.example_ids)) == ("no_target", 3, 3)


def test_a_missing_column_in_some_rows_reads_as_nothing(tmp_path: Path) -> None:
    rows = tiny_rows(60)
    dataset = build(tmp_path, [rows[0] | {"hint": "h"}, *rows[1:]])
    hints = {example.fields["hint"] for part in dataset.splits.values() for example in part}
    assert hints <= {"h", None}
    assert None in hints


def test_splits_of_the_source_are_kept_and_missing_ones_cut_from_train(tmp_path: Path) -> None:
    rows = tiny_rows(60)
    given_test = [{"question": f"given {index} red", "label": "red"} for index in range(5)]
    dataset = build(tmp_path, {"train": rows, "test": given_test}, splits=SplitSpec(validation=0.25))
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 45, "validation": 15, "test": 5}
    assert [example.fields["question"] for example in dataset.splits["test"]] == [row["question"] for row in given_test]


def test_a_whole_number_draws_rows_of_a_given_split(tmp_path: Path) -> None:
    rows = tiny_rows(90)
    parts = {"train": rows[:60], "validation": rows[60:75], "test": rows[75:]}
    dataset = build(tmp_path, parts, splits=SplitSpec(train=30, validation=6, test=3))
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 30, "validation": 6, "test": 3}
    with pytest.raises(DataError, match=r"data\.splits\.test: expected at most the 15 rows that test has, found 16"):
        build(tmp_path, parts, splits=SplitSpec(test=16))


def test_labels_of_the_task_keep_their_order(tmp_path: Path) -> None:
    task = TASK.model_copy(update={"labels": ["red", "blue", "green", "violet"]})
    assert build(tmp_path, tiny_rows(60), task).labels == ["red", "blue", "green", "violet"]


def test_a_target_outside_of_the_labels_is_refused_with_its_row(tmp_path: Path) -> None:
    task = TASK.model_copy(update={"labels": ["red", "blue", "gren"]})
    with pytest.raises(
        DataError,
        match=r"rows\.jsonl:\d+: the target 'green' is not in task\.labels, did you mean 'gren'\? \(20 such rows\)",
    ):
        build(tmp_path, tiny_rows(60), task)


def test_a_label_that_train_never_shows_is_refused(tmp_path: Path) -> None:
    parts = {"train": tiny_rows(60), "test": [{"question": "q", "label": "yellow\x1b[31m"}]}
    with pytest.raises(DataError, match=r"test has the label 'yellow\\x1b\[31m', which never occurs in train"):
        build(tmp_path, parts, splits=SplitSpec())


def test_a_split_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"splits that fit into 20 rows"):
        build(tmp_path, tiny_rows(20))


def test_a_target_that_names_no_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task\.target: there is no column 'lable', did you mean 'label'\?"):
        build(tmp_path, tiny_rows(60), TASK.model_copy(update={"target": "{{ lable }}"}))


def test_data_without_any_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of its 2 rows has a target; check task\.target"):
        build(tmp_path, [{"question": "a", "label": ""}, {"question": "b", "label": ""}])


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"id": "1", "question": "Why?", "context": "long " * 20, "label": "a"}, "Why?"),
        ({"id": "1", "body": "some words", "label": "a label that is longer than them"}, "some words"),
        ({"label": "a"}, "a"),
    ],
)
def test_the_text_shown_to_people_is_the_main_column(tmp_path: Path, row: dict[str, str], text: str) -> None:
    rows = [row | {"n": n} for n in range(3)]
    dataset = build(tmp_path, rows, splits=SplitSpec(train=1, validation=1, test=1))
    assert {example.text for part in dataset.splits.values() for example in part} == {text}


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    rows = [row | {"meta": {"a": [1.0, None]}, "odd": "é\u2028\x1b[31m<script>"} for row in tiny_rows(60)]
    dataset = build(tmp_path, [*rows, rows[0]])
    out = tmp_path / "stage"
    out.mkdir()
    summary = write_dataset(dataset, out)
    assert read_dataset(out) == dataset
    assert summary["rows"] == {"train": 30, "validation": 9, "test": 9}
    assert summary["labels"]["red"] == {"train": 10, "validation": 3, "test": 3}
    assert summary["dropped_duplicates"] == 1
    assert [warning["code"] for warning in summary["warnings"]] == ["duplicates_dropped"]
    json.dumps(summary, allow_nan=False)
    (out / "test.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match="not a readable data set stage"):
        read_dataset(out)


@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from("abc")), min_size=3, max_size=60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_distinct_row_is_in_exactly_one_split(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], stratify: bool
) -> None:
    rows = [{"question": question, "label": label} for question, label in pairs]
    distinct = {(row["question"], row["label"]) for row in rows}
    task = TASK.model_copy(update={"labels": ["a", "b", "c"]})
    splits = SplitSpec(train=None, validation=0.2, test=0.3, stratify=stratify)
    folder = tmp_path_factory.mktemp("rows")
    if len(distinct) < 3:
        with pytest.raises(DataError, match=r"data\.splits"):
            build(folder, rows, task, splits)
        return
    dataset = build(folder, rows, task, splits)
    found = [(e.fields["question"], e.target) for part in dataset.splits.values() for e in part]
    assert len(found) == len(set(found))
    assert set(found) == distinct


FREE = TASK.model_copy(update={"type": "generation"})
RECORDS = TASK.model_copy(update={"type": "extraction", "target": "{{ record | tojson }}"})


def test_free_text_has_no_labels_and_a_new_target_in_test_is_nothing_strange(tmp_path: Path) -> None:
    rows = [{"question": f"q {index}", "label": f"answer {index}"} for index in range(60)]
    dataset = build(tmp_path, rows, FREE)
    assert dataset.labels == []
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 30, "validation": 9, "test": 9}
    (tmp_path / "out").mkdir()
    summary = write_dataset(dataset, tmp_path / "out")
    assert (summary["labels"], summary["warnings"]) == ({}, [])
    assert read_dataset(tmp_path / "out") == dataset


def test_a_target_to_extract_is_json(tmp_path: Path) -> None:
    rows = [{"question": f"q {index}", "record": {"n": index}} for index in range(60)]
    dataset = build(tmp_path, rows, RECORDS)
    assert {json.loads(e.target)["n"] for part in dataset.splits.values() for e in part} <= set(range(60))
    with pytest.raises(DataError, match=r"rows.jsonl:1: the target is not JSON .* written as \{\{ column \| tojson"):
        build(tmp_path, rows, RECORDS.model_copy(update={"target": "{{ record }}"}))
