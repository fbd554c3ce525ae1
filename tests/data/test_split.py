"""Sizes, shares and stability of splits."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.data.split import SPLITS, assign, split_sizes
from ftlab.errors import DataError
from ftlab.spec.schema import SplitSpec


@st.composite
def stratified(draw: st.DrawFn) -> tuple[list[str], list[str], dict[str, int], int]:
    """Rows with labels, and sizes that fit."""
    counts = draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    strata = [f"label {index}" for index, count in enumerate(counts) for _ in range(count)]
    total = len(strata)
    used = draw(st.integers(1, total))
    cuts = sorted(draw(st.tuples(st.integers(0, used), st.integers(0, used))))
    sizes = {"train": cuts[0], "validation": cuts[1] - cuts[0], "test": used - cuts[1]}
    sizes = {name: size for name, size in sizes.items() if size}
    return [f"row {index}" for index in range(total)], strata, sizes, draw(st.integers(0, 5))


@given(stratified())
@settings(max_examples=300, deadline=None)
def test_splits_are_disjoint_and_of_exact_size_and_train_knows_every_label(
    case: tuple[list[str], list[str], dict[str, int], int],
) -> None:
    ids, strata, sizes, seed = case
    chosen = assign(ids, strata, sizes, seed)
    assert {name: len(indices) for name, indices in chosen.items()} == sizes
    flat = [index for indices in chosen.values() for index in indices]
    assert len(flat) == len(set(flat))
    if sizes.get("train", 0) >= len(set(strata)):
        assert {strata[index] for index in chosen["train"]} == set(strata)


@given(stratified())
@settings(max_examples=300, deadline=None)
def test_each_split_is_within_one_of_each_labels_share(
    case: tuple[list[str], list[str], dict[str, int], int],
) -> None:
    ids, strata, sizes, seed = case
    counts = Counter(strata)
    if min(counts.values()) * sizes.get("train", len(ids)) < len(ids):
        sizes.pop("train", None)  # rare labels are given a place in train at the cost of the shares
    chosen = assign(ids, strata, sizes, seed)
    for name, indices in chosen.items():
        got = Counter(strata[index] for index in indices)
        for label, count in counts.items():
            share = Fraction(count * sizes[name], len(ids))
            assert abs(got[label] - share) < 1, (name, label)


@given(stratified(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_rows_does_not_matter(
    case: tuple[list[str], list[str], dict[str, int], int], chance: object
) -> None:
    ids, strata, sizes, seed = case
    order = list(range(len(ids)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    mixed = assign([ids[index] for index in order], [strata[index] for index in order], sizes, seed)
    plain = assign(ids, strata, sizes, seed)
    for name in sizes:
        assert [ids[order[index]] for index in mixed[name]] == [ids[index] for index in plain[name]]


def test_the_same_on_every_machine() -> None:
    chosen = assign([f"row {index}" for index in range(12)], ["a", "b", "b"] * 4, {"train": 6, "test": 3}, seed=7)
    assert chosen == {"train": [9, 0, 1, 7, 11, 8], "test": [3, 2, 10]}


def test_another_seed_gives_other_rows() -> None:
    ids = [str(index) for index in range(200)]
    first, second = (set(assign(ids, None, {"train": 100}, seed)["train"]) for seed in (0, 1))
    assert 30 < len(first & second) < 70


def test_rare_labels_are_trained_on_first() -> None:
    """Nine labels of one row each, of which seven tenths would be six."""
    strata = ["common"] * 91 + [f"rare {index}" for index in range(9)]
    ids = [str(index) for index in range(100)]
    chosen = assign(ids, strata, {"train": 70, "validation": 10, "test": 20}, seed=0)
    assert {strata[index] for index in chosen["train"]} == set(strata)


def test_a_larger_train_leaves_validation_and_test_nearly_alone() -> None:
    ids = [str(index) for index in range(1000)]
    strata = [str(index % 7 * (index % 3)) for index in range(1000)]
    small = assign(ids, strata, {"train": 100, "validation": 100, "test": 200}, seed=0)
    large = assign(ids, strata, {"train": 600, "validation": 100, "test": 200}, seed=0)
    for name in ("validation", "test"):
        assert len(set(small[name]) ^ set(large[name])) <= 2 * len(set(strata))
    assert len(set(small["train"]) & set(large["train"])) >= 100 - 2 * len(set(strata))


def test_a_new_row_moves_few_others() -> None:
    ids = [str(index) for index in range(1000)]
    sizes = {"train": 500, "validation": 100, "test": 200}
    before, after = assign(ids, None, sizes, 0), assign([*ids, "new"], None, sizes, 0)
    moved = sum(len(set(before[name]) - set(after[name])) for name in sizes)
    assert moved <= 3


@pytest.mark.parametrize(
    ("spec", "rows", "expected"),
    [
        (SplitSpec(), 100, {"train": 70, "validation": 10, "test": 20}),
        (SplitSpec(train=600, validation=300, test=600), 9607, {"train": 600, "validation": 300, "test": 600}),
        (SplitSpec(train=0.5, validation=0.25, test=0.25), 101, {"train": 51, "validation": 25, "test": 25}),
        (SplitSpec(train=0.7, validation=0.1, test=0.2), 10, {"train": 7, "validation": 1, "test": 2}),
        (SplitSpec(validation=0.01, test=0.01), 10, {"train": 8, "validation": 1, "test": 1}),
        (SplitSpec(train=1, validation=1, test=1), 3, {"train": 1, "validation": 1, "test": 1}),
    ],
)
def test_sizes(spec: SplitSpec, rows: int, expected: dict[str, int]) -> None:
    assert split_sizes(spec, rows) == expected


@given(
    st.integers(3, 5000),
    st.tuples(st.integers(1, 98), st.integers(1, 98)).filter(lambda pair: sum(pair) < 99),
)
@settings(max_examples=200, deadline=None)
def test_shares_that_sum_to_one_use_every_row(rows: int, percent: tuple[int, int]) -> None:
    validation, test = percent
    spec = SplitSpec(train=(100 - validation - test) / 100, validation=validation / 100, test=test / 100)
    if min(rows * share / 100 for share in (validation, test, 100 - validation - test)) < 1:
        return  # a share of less than one row is raised to one
    sizes = split_sizes(spec, rows)
    assert sum(sizes.values()) == rows
    assert all(abs(sizes[name] - getattr(spec, name) * rows) < 1 for name in SPLITS)


@pytest.mark.parametrize(
    ("spec", "rows", "numbers"),
    [
        (SplitSpec(train=600, validation=300, test=600), 1499, r"1,499 rows, found train 600, .*at least 1,500"),
        (SplitSpec(validation=50, test=50), 100, r"100 rows, found train the rest, validation 50, test 50, .*101"),
        (SplitSpec(), 2, r"2 rows, found train the rest, validation 0.1, test 0.2"),
        (SplitSpec(train=0.9, validation=0.9, test=0.9), 100, r"found train 0.9"),
    ],
)
def test_splits_larger_than_the_data_are_refused_with_numbers(spec: SplitSpec, rows: int, numbers: str) -> None:
    with pytest.raises(DataError, match=numbers):
        split_sizes(spec, rows)


def test_only_what_is_cut_counts() -> None:
    assert split_sizes(SplitSpec(validation=90, test=0.1), 100, cut=["train", "test"]) == {"train": 90, "test": 10}
