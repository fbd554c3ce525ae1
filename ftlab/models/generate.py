"""Greedy generation for many prompts: their shared beginning is computed once, batches are of like length.

The prompts of one task differ in their last part alone (system message, label list and solved examples come before
it), so the key-value cache of the longest common beginning is computed once and branched into every batch. Within a
batch the rest is padded on the left, between the beginning and the prompt's own part; padded places are masked and
positions count real tokens only, so a prompt's output does not depend on its neighbours, up to rounding: in float32
two tokens whose logits differ by less than about 1e-5 may change places, in 16 bits by less than about 1e-2.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import DynamicCache

from ftlab.events import EventType, Reporter, ignore
from ftlab.models.branching import MIN_PREFIX, Prefix, Way, common_prefix, last_logits, prefill
from ftlab.models.chat import end_token_ids

TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}
"""How far logits after a branched beginning may be from plain ones in the check of an unknown model."""
COARSE_TOLERANCE = 1.0
"""The same for 16-bit weights."""


Output = tuple[list[int], Literal["stop", "length"]]
"""Generated tokens without the end token, and how they ended."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer."""

    output_ids: list[int]
    """The generated tokens without the end token."""
    text: str
    """The tokens as text, special tokens left out."""
    seconds: float
    """The prompt's share of the wall time of its batch, by tokens; the shared beginning is spread over all prompts."""
    finish: Literal["stop", "length"]
    """Whether the model ended the answer itself or was cut off."""


@dataclass(frozen=True, slots=True)
class _StopRule:
    """When an answer is over: at an end token, or once its text holds one of `texts`."""

    tokens: Collection[int]
    tokenizer: Any
    texts: tuple[str, ...]

    def met(self, output: Sequence[int]) -> bool:
        """Whether the newest token completed a stop text. A token is a byte at least, so the tail is long enough."""
        if not self.texts:
            return False
        tail = self.tokenizer.decode(output[-max(len(text.encode()) for text in self.texts) - 1 :])
        return any(text in tail for text in self.texts)

    def cut(self, row: Sequence[int]) -> Output:
        """A row of tokens up to where this rule ends it."""
        for place, token in enumerate(row):
            if token in self.tokens:
                return list(row[:place]), "stop"
            if self.met(row[: place + 1]):
                return list(row[: place + 1]), "stop"
        return list(row), "length"


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_tokens: int = 4096,
    report: Reporter = ignore,
    phase: str = "predict",
    stop_texts: Sequence[str] = (),
    way: Way = "check",
) -> list[Generation]:
    """Continue every prompt (at least one token each) greedily until an end token or for `max_new_tokens` tokens.

    An answer also ends once it holds one of `stop_texts`; the text is left in, for the caller to cut.

    `batch_tokens` bounds the tokens of one batch, prompts and answers together, unless one prompt is longer. `report`
    hears progress in examples with tokens per second, and a warning when the model's cache cannot be branched.
    """
    if not all(prompts):
        raise ValueError("expected at least one token in every prompt")
    if not prompts:
        return []
    rule = _StopRule(end_token_ids(tokenizer), tokenizer, tuple(stop_texts))
    started = time.perf_counter()
    prefix = _shared(model, prompts, batch_tokens) if way == "check" else Prefix(0, None) if way == "branch" else None
    if prefix is None and way == "check":
        report(
            EventType.WARNING,
            code="cache_not_branched",
            message="this model's cache cannot be shared between prompts; each is computed whole, which is slower",
            step=None,
        )
    share = (time.perf_counter() - started) / len(prompts)
    results: dict[int, Generation] = {}
    tokens = 0
    for batch in _batches(prompts, prefix, max_new_tokens, batch_tokens):
        begun = time.perf_counter()
        rows = [prompts[index] for index in batch]
        if prefix is None:
            outputs = _plain(model, rows, max_new_tokens, rule)
        else:
            outputs = _continue(model, prefix, rows, max_new_tokens, rule)
        spent = time.perf_counter() - begun
        shared = prefix.length if prefix is not None else 0
        sizes = [len(row) - shared + len(output) for row, (output, _) in zip(rows, outputs, strict=True)]
        for index, size, (output, finish) in zip(batch, sizes, outputs, strict=True):
            text = tokenizer.decode(output, skip_special_tokens=True)
            results[index] = Generation(output, text, share + spent * size / sum(sizes), finish)
            tokens += len(prompts[index]) + len(output)
        rate = tokens / (time.perf_counter() - started)
        report(
            EventType.PROGRESS,
            phase=phase,
            done=len(results),
            total=len(prompts),
            unit="examples",
            tokens_per_second=rate,
        )
    return [results[index] for index in range(len(prompts))]


def _shared(model: Any, prompts: Sequence[Sequence[int]], batch_tokens: int) -> Prefix | None:
    """The cache of the beginning that all prompts share (of length 0 when it is short), or None if it cannot be
    branched.

    The check: the longest and the shortest prompt, side by side and padded, must be continued as each is on its own.
    """
    # Everything that the first and the last in sorted order share, all share.
    length = min(
        common_prefix(min(prompts, key=tuple), max(prompts, key=tuple)), min(len(prompt) for prompt in prompts) - 1
    )
    probe = [max(prompts, key=len), min(prompts, key=len)]
    try:
        prefix = prefill(model, probe[0][: length if length >= MIN_PREFIX and len(prompts) > 1 else 0], batch_tokens)
        branched = _Batch(model, prefix, probe).logits
    except torch.OutOfMemoryError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError):
        return None  # the model takes no cache, mask or positions of this form
    whole = [
        model(input_ids=torch.tensor([list(prompt)], device=model.device), **last_logits(model, 1)).logits[0, -1]
        for prompt in probe
    ]
    difference = (branched.log_softmax(-1) - torch.stack(whole).float().log_softmax(-1)).abs().max().item()
    return prefix if difference <= TOLERANCE.get(model.dtype, COARSE_TOLERANCE) else None


def _batches(
    prompts: Sequence[Sequence[int]], prefix: Prefix | None, max_new_tokens: int, batch_tokens: int
) -> Iterator[list[int]]:
    """Indices of prompts, the longest first; batches of one length only for a model that has to do without the
    cache."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    batch: list[int] = []
    for index in order:
        width = len(prompts[batch[0] if batch else index]) + max_new_tokens
        too_large = width * (len(batch) + 1) > batch_tokens
        if batch and (too_large or (prefix is None and len(prompts[index]) != len(prompts[batch[0]]))):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _plain(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, rule: _StopRule) -> list[Output]:
    """Prompts of one length by the model's own `generate`: needs no padding, which recurrent models do not ignore."""
    ids = torch.tensor([list(prompt) for prompt in prompts], device=model.device)
    produced = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted(rule.tokens),
        pad_token_id=min(rule.tokens),
    )
    return [rule.cut(row) for row in produced[:, ids.shape[1] :].tolist()]


def _continue(
    model: Any, prefix: Prefix, prompts: Sequence[Sequence[int]], max_new_tokens: int, rule: _StopRule
) -> list[Output]:
    batch = _Batch(model, prefix, prompts)
    outputs: list[list[int]] = [[] for _ in prompts]
    finishes: list[Literal["stop", "length"]] = ["length"] * len(prompts)
    rows = list(range(len(prompts)))
    """The prompt of each row of the batch; rows of finished answers are left out as soon as they are half of it."""
    open_rows = set(rows)
    for step in range(max_new_tokens):
        chosen = batch.logits.argmax(dim=-1).tolist()
        for row, token in zip(rows, chosen, strict=True):
            if row not in open_rows:
                continue
            if token in rule.tokens:
                open_rows.discard(row)
                finishes[row] = "stop"
                continue
            outputs[row].append(token)
            if rule.met(outputs[row]):
                open_rows.discard(row)
                finishes[row] = "stop"
        if not open_rows or step == max_new_tokens - 1:
            break
        if 2 * len(open_rows) <= len(rows):
            kept = [place for place, row in enumerate(rows) if row in open_rows]
            batch.keep(kept)
            rows, chosen = [rows[place] for place in kept], [chosen[place] for place in kept]
        batch.step(chosen)
    return list(zip(outputs, finishes, strict=True))


class _Batch:
    """Prompts on their way: the cache of all tokens so far, and the logits of the next one."""

    def __init__(self, model: Any, prefix: Prefix, prompts: Sequence[Sequence[int]]) -> None:
        """Read the prompts, all of which begin with `prefix`. `logits` is `(rows, vocabulary)` in float32."""
        self._model = model
        own = [list(prompt[prefix.length :]) for prompt in prompts]
        width = max(len(ids) for ids in own)
        pads = [width - len(ids) for ids in own]
        self._mask = torch.ones((len(own), prefix.length + width), dtype=torch.long, device=model.device)
        for row, pad in enumerate(pads):
            self._mask[row, prefix.length : prefix.length + pad] = 0
        ids = torch.tensor([[0] * pad + part for pad, part in zip(pads, own, strict=True)], device=model.device)
        positions = (self._mask.cumsum(dim=1) - 1)[:, prefix.length :]
        self._cache = _repeated(prefix, len(own))
        self._lengths = self._mask.sum(dim=1)
        self._read(ids, positions)

    def step(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        ids = torch.tensor(tokens, device=self._model.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        positions = self._lengths[:, None]
        self._lengths = self._lengths + 1
        self._read(ids, positions)

    def keep(self, rows: Sequence[int]) -> None:
        """Leave out all other rows."""
        index = torch.tensor(rows, device=self._model.device)
        self._cache.batch_select_indices(index)
        self._mask, self._lengths = self._mask[index], self._lengths[index]

    def _read(self, ids: torch.Tensor, positions: torch.Tensor) -> None:
        output = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            **last_logits(self._model, 1),
        )
        self.logits = output.logits[:, -1].float()


def _repeated(prefix: Prefix, rows: int) -> DynamicCache:
    if prefix.cache is None:
        return DynamicCache()
    cache = copy.deepcopy(prefix.cache)
    cache.batch_repeat_interleave(rows)
    return cache
