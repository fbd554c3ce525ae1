"""Compute a shared beginning once: common prefixes, their key-value cache, and forwards that branch from it.

Few-shot prompts share hundreds of tokens and differ in the last few dozen; so do the choices of a question. Both
`ftlab.models.generate` and `ftlab.models.loglikelihood` stand on these functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import DynamicCache

Way = Literal["check", "branch", "plain"]
"""How a model's cache is used: branched if a look at some of the work shows that it can be, branched, or not. The last
two are for whoever has the answer already and measures time."""

MIN_PREFIX = 16
"""A shorter shared beginning is not worth a forward of its own."""


@dataclass(slots=True)
class Prefix:
    """The key-value cache of a shared beginning of `length` tokens, batch size 1. `cache` is None for length 0."""

    length: int
    cache: DynamicCache | None

    def trim(self) -> None:
        """Drop from the cache what a forward added to it, so that the next one branches from the same place."""
        if self.cache is not None:
            self.cache.crop(self.length - self.cache.get_seq_length())


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    size = min(len(first), len(second))
    return next((index for index in range(size) if first[index] != second[index]), size)


def prefix_groups(sequences: Sequence[Sequence[int]], longest_free: int) -> list[tuple[int, list[int]]]:
    """Group sequences by shared beginnings: `(shared tokens, indices)`, every index in one group.

    In sorted order neighbours share most. A sequence joins its neighbour's group as long as the group keeps more than
    half of the beginning it had. The shared part always leaves each sequence its last token. A sequence on its own that
    is longer than `longest_free` shares with nobody but is split in the same way, so that its many tokens are computed
    without an explicit attention mask.
    """
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    groups: list[tuple[int, list[int]]] = []
    for index in order:
        sequence = sequences[index]
        if groups:
            shared, members = groups[-1]
            both = min(common_prefix(sequences[members[-1]], sequence), shared, len(sequence) - 1)
            first_pair = len(members) == 1
            if both >= MIN_PREFIX and (first_pair or 2 * both > shared):
                groups[-1] = (both, [*members, index])
                continue
        groups.append((len(sequence) - 1, [index]))
    return _merge_free(groups, longest_free)


def _merge_free(groups: list[tuple[int, list[int]]], longest_free: int) -> list[tuple[int, list[int]]]:
    """Put sequences that share with nobody into one group without a shared part, the very long ones left alone."""
    alone = [members[0] for shared, members in groups if len(members) == 1 and shared < longest_free]
    rest = [(shared, members) for shared, members in groups if len(members) > 1 or shared >= longest_free]
    return [*rest, (0, alone)] if alone else rest


def prefill(model: Any, tokens: Sequence[int], chunk: int) -> Prefix:
    """Compute the cache of `tokens` in pieces of at most `chunk` tokens."""
    if not tokens:
        return Prefix(0, None)
    cache = DynamicCache()
    ids = torch.tensor([list(tokens)], device=model.device)
    for start in range(0, len(tokens), chunk):
        piece = ids[:, start : start + chunk]
        # A full mask of ones, since some models otherwise take a later piece for the beginning.
        mask = torch.ones((1, start + piece.shape[1]), dtype=torch.long, device=model.device)
        model(input_ids=piece, attention_mask=mask, past_key_values=cache, use_cache=True, **last_logits(model, 1))
    return Prefix(len(tokens), cache)


def last_logits(model: Any, keep: int | torch.Tensor) -> dict[str, Any]:
    """The argument that restricts a forward's logits to the last `keep` positions or to given ones, where it exists."""
    return {"logits_to_keep": keep} if keeps_logits(model) else {}


def keeps_logits(model: Any) -> bool:
    """Whether the model can compute logits for chosen positions alone."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
