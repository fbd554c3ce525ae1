"""Folds: each row held out once, by its content and the seed alone, labels spread and groups whole."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ftlab.data.dataset import Dataset, arrange
from ftlab.data.folds import fold_numbers
from ftlab.data.sources import Rows
from ftlab.errors import DataError
from ftlab.plan.identity import dataset_key
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec, Message, SplitSpec, TaskSpec

labels = st.lists(st.sampled_from("abc"), min_size=4, max_size=60)
counts = st.integers(2, 6)
seeds = st.integers(0, 2**32 - 1)


def ids_of(rows: list[str]) -> list[str]:
    return [f"row {index}" for index in range(len(rows))]


@settings(max_examples=60, deadline=None)
@given(rows=labels, folds=counts, seed=seeds, stratify=st.booleans())
def test_every_row_is_in_one_fold_and_folds_are_alike(rows: list[str], folds: int, seed: int, stratify: bool) -> None:
    assume(len(rows) >= folds)
    numbers = fold_numbers(ids_of(rows), rows if stratify else None, None, folds, seed)
    sizes = Counter(numbers)
    assert len(numbers) == len(rows)
    assert set(sizes) == set(range(folds))
    if not stratify:
        assert max(sizes.values()) - min(sizes.values()) <= 1


@settings(max_examples=60, deadline=None)
@given(rows=labels, folds=counts, seed=seeds)
def test_a_labels_rows_in_two_folds_differ_by_one_at_most(rows: list[str], folds: int, seed: int) -> None:
    assume(max(Counter(rows).values()) >= folds)
    numbers = fold_numbers(ids_of(rows), rows, None, folds, seed)
    for label in set(rows):
        held = Counter(number for number, other in zip(numbers, rows, strict=True) if other == label)
        found = [held[fold] for fold in range(folds)]
        assert max(found) - min(found) <= 1


@settings(max_examples=60, deadline=None)
@given(rows=labels, folds=counts, seed=seeds, order=st.randoms(use_true_random=False), grouped=st.booleans())
def test_neither_the_order_of_the_rows_nor_a_second_call_changes_a_fold(
    rows: list[str], folds: int, seed: int, order: object, grouped: bool
) -> None:
    assume(len(rows) >= 3 * folds)
    ids = ids_of(rows)
    groups = [f"g{index // 2}" for index in range(len(rows))] if grouped else None
    first = dict(zip(ids, fold_numbers(ids, rows, groups, folds, seed), strict=True))
    places = list(range(len(rows)))
    order.shuffle(places)  # type: ignore[attr-defined]
    moved = fold_numbers(
        [ids[at] for at in places],
        [rows[at] for at in places],
        None if groups is None else [groups[at] for at in places],
        folds,
        seed,
    )
    assert {ids[at]: number for at, number in zip(places, moved, strict=True)} == first


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=20), folds=counts, seed=seeds, stratify=st.booleans())
def test_a_group_is_never_torn(sizes: list[int], folds: int, seed: int, stratify: bool) -> None:
    groups = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    assume(len(sizes) >= folds)
    rows = ["ab"[index % 2] for index in range(len(groups))]
    numbers = fold_numbers(ids_of(rows), rows if stratify else None, groups, folds, seed)
    for group in set(groups):
        assert len({number for number, other in zip(numbers, groups, strict=True) if other == group}) == 1


def test_another_seed_gives_other_folds() -> None:
    ids = [f"row {index}" for index in range(40)]
    assert fold_numbers(ids, None, None, 5, 0) != fold_numbers(ids, None, None, 5, 1)


@pytest.mark.parametrize(("groups", "what"), [(None, "3 rows"), (["a", "a", "b"], "2 groups")])
def test_fewer_units_than_folds_are_refused(groups: list[str] | None, what: str) -> None:
    with pytest.raises(DataError, match=rf"data.splits.folds: expected at most.*4 folds and {what}; lower it"):
        fold_numbers(["x", "y", "z"], None, groups, 4, 0)


TASK = TaskSpec(
    type="classification",
    prompt=[Message(role="user", content="{{ text }}")],
    target="{{ label }}",
    metrics=["accuracy"],
)
ROWS = [{"text": f"text {row}", "label": "xyz"[row % 3], "document": f"d{row // 4}"} for row in range(80)]
SPLITS = SplitSpec(train=30, validation=20, test=20, folds=5)


def dataset(fold: int | None, cluster_by: str | None = None, rows: list[dict[str, str]] = ROWS) -> Dataset:
    data = DataSpec(source="./rows.jsonl", splits=SPLITS, cluster_by=cluster_by)
    return arrange(Rows({None: rows}, {None: "rows.jsonl"}), DataRef(spec=data, content="c", root="."), TASK, fold)


def held(data: Dataset, split: str) -> list[str]:
    return [example.example_id for example in data.splits[split]]


@pytest.mark.parametrize("cluster_by", [None, "document"])
def test_train_and_validation_are_folded_and_test_is_left_alone(cluster_by: str | None) -> None:
    whole = dataset(None, cluster_by)
    pool = {*held(whole, "train"), *held(whole, "validation")}
    folds = [dataset(fold, cluster_by) for fold in range(5)]
    assert {tuple(held(one, "test")) for one in folds} == {tuple(held(whole, "test"))}
    assert sorted(row for one in folds for row in held(one, "validation")) == sorted(pool)
    for one in folds:
        assert {*held(one, "train"), *held(one, "validation")} == pool
        assert not set(held(one, "train")) & set(held(one, "validation"))
        assert one.labels == whole.labels
        if cluster_by:
            groups = {split: {row.fields[cluster_by] for row in one.splits[split]} for split in one.splits}
            assert not groups["train"] & groups["validation"]


def test_a_label_of_one_row_is_no_error_in_the_fold_that_holds_it_out() -> None:
    rare = [*ROWS, {"text": "alone", "label": "rare", "document": "own"}]
    folds = [dataset(fold, None, rare) for fold in range(5)]
    assert all("rare" in one.labels for one in folds)
    assert sum(row.target == "rare" for one in folds for row in one.splits["validation"]) == 1


def test_a_fold_is_part_of_the_data_sets_key_and_without_one_nothing_is_new() -> None:
    folded = DataRef(spec=DataSpec(source="./rows.jsonl", splits=SPLITS), content="c", root=".")
    plain = DataRef(
        spec=DataSpec(source="./rows.jsonl", splits=SPLITS.model_copy(update={"folds": None})), content="c", root="."
    )
    assert dataset_key(folded, TASK) == dataset_key(plain, TASK), "the same test rows"
    assert len({dataset_key(folded, TASK, fold) for fold in (None, 0, 1, 2)}) == 4
    four = folded.model_copy(update={"spec": DataSpec(source="x", splits=SPLITS.model_copy(update={"folds": 4}))})
    assert dataset_key(four, TASK, 0) != dataset_key(folded, TASK, 0)
