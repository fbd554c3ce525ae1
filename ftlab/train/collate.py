"""Which rows make up which optimizer step, and their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ftlab.models.chat import ChatIds

IGNORED = -100
"""The label of a position that is not scored, as in torch's cross entropy."""

WINDOW = 32
"""Steps within which rows of like length come together: enough to save most padding, few enough to stay shuffled."""


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass, padded on the left, so that every answer ends in the last column.

    The very last token of a row is a target and never an input: nothing is predicted from it.
    """

    prefix_ids: torch.Tensor
    """(P,): tokens that all rows begin with, computed once; empty when there is nothing to share."""
    input_ids: torch.Tensor
    """(B, T): the rows without their prefix and without their last token."""
    attention_mask: torch.Tensor
    """(B, P + T): 1 for tokens, 0 for padding."""
    labels: torch.Tensor
    """(B, A): the answers, padded on the left with `IGNORED`; predicted by the last A columns of the input."""
    targets: int
    """Answer tokens in the batch."""
    tokens: int
    """Tokens of prompts and answers in the batch, shared or not, padding not counted."""

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        moved = {
            name: getattr(self, name).to(device) for name in ("prefix_ids", "input_ids", "attention_mask", "labels")
        }
        return Batch(**moved, targets=self.targets, tokens=self.tokens)


def collate(rows: Sequence[ChatIds], pad_id: int, share_prefix: bool = True) -> Batch:
    """The tensors of some rows. Every row needs a prompt and an answer of at least one token each."""
    whole = [[*row.prompt_ids, *row.answer_ids[:-1]] for row in rows]
    shared = _shared_prefix(rows) if share_prefix and len(rows) > 1 else 0
    width = max(map(len, whole)) - shared
    answer_width = max(len(row.answer_ids) for row in rows)
    return Batch(
        prefix_ids=torch.tensor(whole[0][:shared], dtype=torch.long),
        input_ids=torch.tensor([_pad(ids[shared:], width, pad_id) for ids in whole]),
        attention_mask=torch.tensor([[1] * shared + _pad([1] * (len(ids) - shared), width, 0) for ids in whole]),
        labels=torch.tensor([_pad(row.answer_ids, answer_width, IGNORED) for row in rows]),
        targets=sum(len(row.answer_ids) for row in rows),
        tokens=sum(map(len, rows)),
    )


def _shared_prefix(rows: Sequence[ChatIds]) -> int:
    """Tokens that all prompts begin with, less the last of the shortest prompt: answers are predicted from that one."""
    first = min((row.prompt_ids for row in rows), key=len)
    limit = len(first) - 1
    for row in rows:
        limit = next((place for place in range(limit) if row.prompt_ids[place] != first[place]), limit)
    return limit


def _pad(ids: Sequence[int], width: int, filler: int) -> list[int]:
    return [filler] * (width - len(ids)) + list(ids)


def planned_steps(rows: int, epochs: float, max_steps: int | None, effective_batch: int) -> int:
    """Optimizer steps of a training; `max_steps`, where given, whatever `epochs` says."""
    return max_steps if max_steps is not None else max(1, math.ceil(epochs * math.ceil(rows / effective_batch)))


def training_order(lengths: Sequence[int], effective_batch: int, steps: int, seed: int) -> list[list[int]]:
    """The rows of every optimizer step, longest first within a step.

    Each epoch is a fresh permutation by `seed`. Within a window of `WINDOW` steps rows of like length come together,
    and the order of the steps is shuffled again. The order depends on the arguments alone, not on the state of any
    generator, so a resumed training sees the rows that it would have seen. It is one order for every split of an
    effective batch into forward passes, so gradient accumulation sees the same steps as the big batch.
    """
    order: list[list[int]] = []
    epoch = 0
    while len(order) < steps:
        chance = np.random.default_rng([seed % 2**64, epoch])  # negative seeds are seeds too
        shuffled = [int(row) for row in chance.permutation(len(lengths))]
        window = effective_batch * WINDOW
        batches: list[list[int]] = []
        for start in range(0, len(shuffled), window):
            alike = sorted(shuffled[start : start + window], key=lambda row: -lengths[row])
            batches += [alike[at : at + effective_batch] for at in range(0, len(alike), effective_batch)]
        order += [batches[place] for place in chance.permutation(len(batches))]
        epoch += 1
    return order[:steps]


def evaluation_order(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Rows in batches of like length, each at most `batch_tokens` tokens with its padding; a longer row goes alone."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
