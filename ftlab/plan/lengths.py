"""How many tokens the arms of a plan will read and write, counted with the model's own tokenizer and without torch.

The chat template is not applied here: the few tokens it adds to each message are allowed for by a constant, so counts
are close, not exact. What was really cut is counted again when a run reads its data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.errors import blame
from ftlab.plan.run import Arm, ModelRef, Plan
from ftlab.spec.schema import Message

if TYPE_CHECKING:
    from ftlab.data.dataset import Dataset, Example

TEMPLATE_TOKENS = 6
"""What a chat template adds to one message: role, separators, end of turn (ChatML adds 5, Llama 3 adds 6)."""
SAMPLE = 4000
"""The most rows per split that are counted; of more, every so-manieth."""


@dataclass(frozen=True, slots=True)
class ArmLengths:
    """Token counts of one arm with one seed."""

    train_rows: int
    train_tokens: int
    """Tokens of one pass over the training rows, cut to `max_length`; 0 for an arm that trains nothing."""
    too_long: int
    """Training rows that `max_length` cuts."""
    longest: int
    """Tokens of the longest training row, uncut; 0 for an arm that trains nothing."""
    predict_rows: int
    predict_tokens: int
    """Tokens read and written for all predicted rows: prompts with their shots, and answers or every label to rank."""
    computed_tokens: int
    """The same, with what all prompts begin with (the system message, the shots) once: so prediction computes it."""
    too_long_prompts: int
    """Predicted rows whose prompt and answer exceed the model's context."""


class Tokens:
    """Counts the tokens of texts with one model's tokenizer, each text once."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._counts: dict[str, int] = {}
        self.context = _context(folder)

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""
        new = list(dict.fromkeys(text for text in texts if text not in self._counts))
        for text, encoded in zip(new, self._tokenizer.encode_batch_fast(new, add_special_tokens=False), strict=True):
            self._counts[text] = len(encoded)
        return [self._counts[text] for text in texts]


def open_tokens(model: ModelRef) -> Tokens | None:
    """The tokenizer of a model whose files are on this machine, or None."""
    if model.folder is None:
        return None
    try:
        return Tokens(Path(model.folder))
    except Exception:  # the tokenizers library raises plain Exception for a file that is missing or of another kind
        return None


def count_lengths(plan: Plan, dataset: Dataset) -> dict[str, ArmLengths]:
    """Token counts by arm id; arms whose model has no tokenizer on this machine are left out.

    Raises DataError for a template that does not fit the columns, whether there is a tokenizer or not.
    """
    tokenizers: dict[str, Tokens | None] = {}
    counters: dict[str, _Counter] = {}
    lengths = {}
    for arm in plan.arms:
        revision = arm.model.revision
        if revision not in tokenizers:
            tokenizers[revision] = open_tokens(arm.model)
        counter = counters.setdefault(revision, _Counter(plan, dataset, tokenizers[revision]))
        with blame("methods", arm.method_name):
            found = counter.arm(arm)
        if found is not None:
            lengths[arm.arm_id] = found
    return lengths


class _Counter:
    """Counts the arms of one model; arms that share a chat share its counts."""

    def __init__(self, plan: Plan, dataset: Dataset, tokens: Tokens | None) -> None:
        self.plan = plan
        self.dataset = dataset
        self.tokens = tokens
        self.chats: dict[str, dict[str, list[int]]] = {}
        self.heads: dict[str, int] = {}

    def arm(self, arm: Arm) -> ArmLengths | None:
        """The counts of one arm, or None without a tokenizer."""
        run = next(run for run in self.plan.runs if run.arm_id == arm.arm_id)
        prompts = {split: self._prompts(run.messages, split) for split in ("train", *run.splits)}
        if self.tokens is None:
            return None
        train = self.dataset.splits.get("train", [])
        answers = self._answers(train)
        whole = [prompt + answer for prompt, answer in zip(prompts["train"], answers, strict=True)]
        labels = [count + 1 for count in self.tokens.count(self.dataset.labels)]
        ranked = run.decode == "choose"
        # Where there are no labels, answers are taken to be as long as those of the training rows.
        answer = sum(labels) if ranked else max(labels, default=round(sum(answers) / max(1, len(answers))))
        shots = arm.method["shots"] * (sum(whole) // max(1, len(whole)))
        asked = [count + shots for split in run.splits for count in prompts[split]]
        limit = arm.method.get("max_length")
        rows = sum(len(self.dataset.splits.get(split, [])) for split in run.splits)
        predicted = _scaled(sum(asked) + answer * len(asked), rows, len(asked))
        return ArmLengths(
            train_rows=len(train) if limit else 0,
            train_tokens=_scaled(sum(min(count, limit) for count in whole), len(train), len(whole)) if limit else 0,
            too_long=_scaled(sum(count > limit for count in whole), len(train), len(whole)) if limit else 0,
            longest=max(whole, default=0) if limit else 0,
            predict_rows=rows,
            predict_tokens=predicted,
            computed_tokens=predicted - max(0, rows - 1) * (self.heads[_identity(run.messages)] + shots),
            too_long_prompts=sum(count + max(labels or answers, default=0) > self.tokens.context for count in asked),
        )

    def _prompts(self, messages: list[Message], split: str) -> list[int]:
        """Tokens of the chat of every counted row. Renders even without a tokenizer: templates are checked that way."""
        from ftlab.data.prompts import render_messages

        key = _identity(messages)
        counts = self.chats.setdefault(key, {})
        if split not in counts:
            rows = _sample(self.dataset.splits.get(split, []))
            if self.tokens is None:
                rows = rows[:1]
            chats = [render_messages(messages, row.fields, self.dataset.labels) for row in rows]
            counts[split] = self._chat_tokens(chats)
            self.heads[key] = self._head_tokens(chats)
        return counts[split]

    def _head_tokens(self, chats: list[list[dict[str, Any]]]) -> int:
        """Tokens of the messages that all chats begin with, their last message apart."""
        if self.tokens is None or not chats:
            return 0
        texts = [[message["content"] for message in chat[:-1]] for chat in chats]
        same = takewhile(lambda turns: len(set(turns)) == 1, zip(*texts, strict=True))
        return sum(count + TEMPLATE_TOKENS for count in self.tokens.count([turns[0] for turns in same]))

    def _chat_tokens(self, chats: list[list[dict[str, Any]]]) -> list[int]:
        if self.tokens is None:
            return []
        counted = iter(self.tokens.count([message["content"] for chat in chats for message in chat]))
        return [sum(next(counted) + TEMPLATE_TOKENS for _ in chat) + TEMPLATE_TOKENS for chat in chats]

    def _answers(self, train: Sequence[Example]) -> list[int]:
        assert self.tokens is not None
        return [count + 1 for count in self.tokens.count([row.target for row in _sample(train)])]


def _identity(messages: Sequence[Message]) -> str:
    return json.dumps([message.model_dump() for message in messages])


def _sample(rows: Sequence[Example]) -> Sequence[Example]:
    """At most `SAMPLE` rows, evenly over the split."""
    step = -(-len(rows) // SAMPLE)
    return rows[:: max(1, step)]


def _scaled(total: int, rows: int, counted: int) -> int:
    """A sum over the counted rows as one over all rows."""
    return round(total * rows / counted) if counted else 0


def _context(folder: Path) -> int:
    """The model's context in tokens; practically no limit when its config names none."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return int(config.get("text_config", config).get("max_position_embeddings") or 2**31)
    except (OSError, ValueError, TypeError, AttributeError):
        return 2**31
