"""One forward pass: the loss of the answers, and nothing that the loss does not need.

TRL's own step computes the logits, the entropy and the accuracy of every token. With a vocabulary of 49,152 and
answers of a few tokens that is most of the head's work for nothing, so only the columns that predict an answer reach
the head here. And what all rows of a batch begin with (the system message, the few-shot examples) runs through the
model once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from ftlab.train.collate import IGNORED, Batch


def answer_loss(model: Any, batch: Batch) -> torch.Tensor:
    """The sum over a batch of the negative log-likelihood of every answer token, in nats: a scalar, float32.

    The caller divides by the answer tokens of the whole optimizer step, so that splitting a step changes nothing.
    """
    return functional.cross_entropy(*_columns(model, batch), ignore_index=IGNORED, reduction="sum")


def row_losses(model: Any, batch: Batch) -> torch.Tensor:
    """The same for each row: `(rows,)`, float32."""
    losses = functional.cross_entropy(*_columns(model, batch), ignore_index=IGNORED, reduction="none")
    return losses.view(batch.labels.shape).sum(dim=1)


def _columns(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits that predict the last `width` tokens of every row, `(rows * width, vocabulary)`, and those tokens."""
    width = batch.labels.shape[1]
    prefix = len(batch.prefix_ids)
    inputs: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "position_ids": (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)[:, prefix:],
        "use_cache": prefix > 0,
    }
    if prefix:
        inputs["past_key_values"] = _prefix_cache(model, batch)
    if keeps_logits(model):
        inputs["logits_to_keep"] = width
    logits = model(**inputs).logits[:, -width:]
    return logits.flatten(0, 1).float(), batch.labels.flatten()


def _prefix_cache(model: Any, batch: Batch) -> Any:
    """Keys and values of the shared prefix, computed once and repeated for every row; gradients flow through them."""
    inputs: dict[str, Any] = {"input_ids": batch.prefix_ids[None], "use_cache": True}
    if keeps_logits(model):
        inputs["logits_to_keep"] = 1
    cache = model(**inputs).past_key_values
    cache.batch_repeat_interleave(batch.input_ids.shape[0])
    return cache


def keeps_logits(model: Any) -> bool:
    """Whether the model can compute the logits of its last positions only."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(type(bare).forward).parameters


def shares_prefix(model: Any, dropout: float) -> bool:
    """Whether a prefix may be computed once for all rows: plain attention everywhere, no noise that rows share."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    if dropout or getattr(model.config, "attention_dropout", None):
        return False
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    layers = DynamicCache(config=model.config).layers
    return all(kind == "full_attention" for kind in kinds) and all(type(layer) is DynamicLayer for layer in layers)


@dataclass(frozen=True)
class Validation:
    """The loss on rows that are not trained on, in nats per answer token."""

    loss: float
    """The mean over all answer tokens."""
    rows: list[float]
    """The mean over the answer tokens of each row, in the order of the batches."""


def validation_loss(model: Any, batches: Sequence[Batch], device: torch.device) -> Validation:
    """The loss of some batches, in evaluation mode and without gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            losses = [row_losses(model, batch.to(device)).tolist() for batch in batches]
    finally:
        model.train(was_training)
    counts = [(batch.labels != IGNORED).sum(dim=1).tolist() for batch in batches]
    sums = [row for batch in losses for row in batch]
    tokens = [row for batch in counts for row in batch]
    return Validation(
        loss=math.fsum(sums) / sum(tokens),
        rows=[total / max(1, count) for total, count in zip(sums, tokens, strict=True)],
    )


@contextmanager
def float32_on_cpu(model: Any) -> Iterator[None]:
    """Hold frozen bfloat16 weights in float32 while the block trains on the CPU.

    The widening is exact. Without bfloat16 instructions (any CPU with AVX2 alone) a bfloat16 matrix product runs 6 to
    60 times slower than a float32 one, and that is most of a step.
    """
    narrow = [
        (parameter, parameter.data)
        for parameter in model.parameters()
        if parameter.device.type == "cpu" and parameter.dtype == torch.bfloat16 and not parameter.requires_grad
    ]
    for parameter, data in narrow:
        parameter.data = data.float()
    try:
        yield
    finally:
        for parameter, data in narrow:
            parameter.data = data
