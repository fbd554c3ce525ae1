from __future__ import annotations

from collections import Counter

import pytest
import torch

from ftlab.models.chat import ChatIds
from ftlab.train.collate import (
    IGNORED,
    collate,
    evaluation_order,
    planned_steps,
    training_order,
)

PAD = 0


def test_the_last_token_is_a_target_and_not_an_input() -> None:
    batch = collate([ChatIds([5, 6, 7], [8, 9])], PAD)
    assert batch.input_ids.tolist() == [[5, 6, 7, 8]]
    assert batch.labels.tolist() == [[8, 9]]
    assert (batch.targets, batch.tokens) == (2, 5)


def test_rows_are_padded_on_the_left_so_that_answers_end_together() -> None:
    batch = collate([ChatIds([1, 2, 3], [4]), ChatIds([5], [6, 7, 8])], PAD)
    assert batch.input_ids.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert batch.labels.tolist() == [[IGNORED, IGNORED, 4], [6, 7, 8]]
    batch = collate([ChatIds([1, 2, 3, 4], [4]), ChatIds([5], [6])], PAD)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4], [PAD, PAD, PAD, 5]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]


def test_a_common_prefix_is_taken_out_once() -> None:
    batch = collate([ChatIds([1, 2, 3, 4], [9]), ChatIds([1, 2, 5, 6, 7], [9, 8])], PAD)
    assert batch.prefix_ids.tolist() == [1, 2]
    assert batch.input_ids.tolist() == [[PAD, PAD, 3, 4], [5, 6, 7, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1]]
    assert batch.tokens == 5 + 7


def test_the_prefix_never_takes_the_token_that_answers_are_predicted_from() -> None:
    batch = collate([ChatIds([1, 2], [3]), ChatIds([1, 2], [4])], PAD)
    assert batch.prefix_ids.tolist() == [1]
    assert batch.input_ids.tolist() == [[2], [2]]


def test_one_row_and_switched_off_sharing_have_no_prefix() -> None:
    row = ChatIds([1, 2, 3], [4])
    assert len(collate([row], PAD).prefix_ids) == 0
    assert len(collate([row, row], PAD, share_prefix=False).prefix_ids) == 0


def test_a_batch_moves_whole() -> None:
    moved = collate([ChatIds([1, 2], [3])], PAD).to(torch.device("meta"))
    assert {
        tensor.device.type for tensor in (moved.prefix_ids, moved.input_ids, moved.attention_mask, moved.labels)
    } == {"meta"}


@pytest.mark.parametrize(
    ("rows", "epochs", "max_steps", "batch", "expected"),
    [(48, 1.0, None, 8, 6), (49, 1.0, None, 8, 7), (48, 0.5, None, 8, 3), (3, 0.1, None, 8, 1), (48, 1.0, 40, 8, 40)],
)
def test_planned_steps(rows: int, epochs: float, max_steps: int | None, batch: int, expected: int) -> None:
    assert planned_steps(rows, epochs, max_steps, batch) == expected


def test_every_epoch_sees_every_row_once_in_another_order() -> None:
    lengths = [7 * place % 31 for place in range(50)]
    order = training_order(lengths, 8, 14, seed=3)
    first, second = order[:7], order[7:]
    for epoch in (first, second):
        assert Counter(row for step in epoch for row in step) == Counter(range(50))
    assert first != second
    assert order == training_order(lengths, 8, 14, seed=3)
    assert order != training_order(lengths, 8, 14, seed=4)
    assert order != training_order(lengths, 8, 14, seed=-3)


def test_a_longer_training_begins_like_a_shorter_one() -> None:
    lengths = list(range(40))
    assert training_order(lengths, 8, 13, seed=0)[:4] == training_order(lengths, 8, 4, seed=0)


def test_rows_of_like_length_come_together_and_steps_stay_shuffled() -> None:
    lengths = [(place * 37) % 200 + 10 for place in range(256)]
    order = training_order(lengths, 8, 32, seed=0)
    padded = sum(max(lengths[row] for row in step) * len(step) for step in order)
    assert padded < 1.1 * sum(lengths)
    longest = [max(lengths[row] for row in step) for step in order]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_evaluation_batches_hold_every_row_within_the_bound() -> None:
    lengths = [5, 100, 7, 9, 300, 8, 6]
    order = evaluation_order(lengths, 50)
    assert Counter(row for batch in order for row in batch) == Counter(range(7))
    for batch in order:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 50
    assert [4] in order
    assert evaluation_order([], 50) == []
