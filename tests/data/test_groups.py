"""Splits by group: whole groups, near the sizes, near the shares of labels, the same every time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.data.dataset import Dataset, build_dataset
from ftlab.data.groups import assign_groups, group_names
from ftlab.data.sources import resolve_data
from ftlab.errors import DataError
from ftlab.plan.identity import dataset_key, scores_key
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec, Files, Message, SplitSpec, TaskSpec

TASK = TaskSpec(type="classification", prompt=[Message(role="user", content="{{ question }}")], target="{{ label }}")


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, int], int]:
    sizes = draw(st.lists(st.integers(1, 8), min_size=12, max_size=60))
    groups = [f"g{index}" for index, size in enumerate(sizes) for _ in range(size)]
    labels = [draw(st.sampled_from("ab")) for _ in groups]
    n = len(groups)
    wanted = {"train": n - 2 * (n // 4), "validation": n // 4, "test": n // 4}
    return groups, labels, wanted, draw(st.integers(0, 3))


@settings(max_examples=150, deadline=None)
@given(grouped(), st.booleans())
def test_no_group_is_torn_and_sizes_are_missed_by_less_than_a_group(
    case: tuple[list[str], list[str], dict[str, int], int], stratify: bool
) -> None:
    groups, labels, sizes, seed = case
    chosen = assign_groups(groups, labels if stratify else None, sizes, seed)
    assert chosen == assign_groups(groups, labels if stratify else None, sizes, seed)
    where: dict[str, set[str]] = {}
    for split, rows in chosen.items():
        assert len(rows) == len(set(rows))
        for row in rows:
            where.setdefault(groups[row], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    largest = max(Counter(groups).values())
    assert all(abs(len(rows) - sizes[split]) < largest for split, rows in chosen.items())


def test_labels_are_shared_out_as_well_as_whole_groups_allow() -> None:
    groups = [f"g{index // 3}" for index in range(600)]
    labels = ["rare" if index // 3 % 10 == 0 else "common" for index in range(600)]
    chosen = assign_groups(groups, labels, {"train": 300, "validation": 150, "test": 150}, 0)
    shares = {split: sum(labels[row] == "rare" for row in rows) / len(rows) for split, rows in chosen.items()}
    assert all(abs(share - 0.1) <= 0.02 for share in shares.values()), shares


def test_a_row_without_a_group_is_one_of_its_own_and_values_keep_their_type() -> None:
    names = group_names([{"doc": 1}, {"doc": "1"}, {"doc": None}, {}, {"doc": [1]}], ["a", "b", "c", "d", "e"], "doc")
    assert len(set(names)) == 5
    assert group_names([{"doc": 1}], ["a"], "doc") == group_names([{"doc": 1.0}], ["z"], "doc")


def test_groups_too_few_or_too_large_are_one_clear_sentence() -> None:
    with pytest.raises(DataError, match=r"2 groups of up to 50 rows leave .* empty"):
        assign_groups(["a"] * 50 + ["b"] * 50, None, {"train": 50, "validation": 25, "test": 25}, 0)


def build(folder: Path, rows: Any, column: str | None = "doc") -> tuple[Dataset, DataRef]:
    folder.mkdir(exist_ok=True)
    splits = SplitSpec(train=60, validation=30, test=30)
    if isinstance(rows, dict):
        for split, part in rows.items():
            (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
        names = {split: f"{split}.jsonl" for split in rows}
        spec = DataSpec(files=Files(**names), splits=SplitSpec(), cluster_by=column)
    else:
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        spec = DataSpec(source="rows.jsonl", splits=splits, cluster_by=column)
    ref = resolve_data(spec, folder)
    return build_dataset(ref, TASK), ref


def rows_of(documents: int, each: int) -> list[dict[str, Any]]:
    return [
        {"question": f"document {doc}, question {place}", "label": "yes" if (doc + place) % 2 else "no", "doc": doc}
        for doc in range(documents)
        for place in range(each)
    ]


def test_a_document_is_never_on_two_sides(tmp_path: Path) -> None:
    dataset, _ = build(tmp_path, rows_of(30, 4))
    documents = {split: {row.fields["doc"] for row in part} for split, part in dataset.splits.items()}
    assert not documents["train"] & documents["test"]
    assert not documents["train"] & documents["validation"]
    assert not documents["validation"] & documents["test"]
    wanted = {"train": 60, "validation": 30, "test": 30}
    assert all(abs(len(dataset.splits[split]) - size) < 4 for split, size in wanted.items())


def test_a_source_that_tears_groups_is_warned_of(tmp_path: Path) -> None:
    rows = rows_of(30, 4)
    dataset, _ = build(tmp_path, {"train": rows[:61], "validation": rows[61:90], "test": rows[90:]})
    (finding,) = [finding for finding in dataset.report.findings if finding.code == "group_in_train"]
    assert finding.message.startswith("1 of 8 groups of validation (by doc) have rows in train too")


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'dok', did you mean 'doc'\?") as caught:
        build(tmp_path, rows_of(30, 4), "dok")
    assert caught.value.faults[0].at == ("data", "cluster_by")


def test_only_specs_that_name_groups_have_other_keys(tmp_path: Path) -> None:
    (_, plain), (_, grouped_by) = build(tmp_path, rows_of(30, 4), None), build(tmp_path, rows_of(30, 4))
    assert dataset_key(plain, TASK) != dataset_key(grouped_by, TASK)
    assert scores_key("p", {}) == scores_key("p", {}, None) != scores_key("p", {}, "doc")
