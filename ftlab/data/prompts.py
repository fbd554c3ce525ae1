"""Rows as chats: prompts, right answers, and solved examples shown before the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftlab.data.records import Example
from ftlab.data.templates import render
from ftlab.errors import DataError
from ftlab.plan.identity import digest
from ftlab.spec.schema import Message

ChatMessage = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`, as `ftlab.models.chat` takes it."""


def render_messages(
    messages: Sequence[Message], fields: Mapping[str, Any], labels: Sequence[str], place: str = "prompt"
) -> list[ChatMessage]:
    """The chat of one row: each message's template over the row's columns, and `labels` for the list of labels.

    A column called `labels` is hidden by the list, where there is one. `place` names the chat in errors.
    Raises DataError for a template that is not valid, names a column that is not there, or gives too much text.
    """
    context = _context(fields, labels)
    return [
        {"role": message.role, "content": render(message.content, context, f"{place}[{index}]")}
        for index, message in enumerate(messages)
    ]


def _context(fields: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    return {**fields, "labels": list(labels)} if labels else dict(fields)


def render_target(template: str, fields: Mapping[str, Any], place: str = "task.target") -> str:
    """The right answer of one row, without blanks at its ends; empty when the row has none. Raises DataError."""
    return render(template, fields, place).strip()


def shots_for(train: Sequence[Example], labels: Sequence[str], k: int, seed: int) -> list[Example]:
    """`k` solved examples of `train`, chosen by `seed`, spread over the labels as evenly as `k` allows.

    Labels take turns in an order that the seed decides, so that with fewer shots than labels no label is always shown.
    Without labels every distinct target takes turns: no answer is shown twice while there are others.
    The choice depends on what the rows hold, not on where they stand. Raises DataError when `train` has fewer rows.
    """
    if k > len(train):
        raise DataError(_too_many(k, len(train)))
    turns: dict[str, list[Example]] = {label: [] for label in sorted(labels, key=lambda label: digest([seed, label]))}
    for example in sorted(train, key=lambda example: digest([seed, example.example_id])):
        turns.setdefault(example.target, []).append(example)
    chosen: list[Example] = []
    turn = 0
    while len(chosen) < k:
        chosen += [queue[turn] for queue in turns.values() if turn < len(queue)]
        turn += 1
    return chosen[:k]


def check_shots(messages: Sequence[Message], k: int, train_rows: int, place: str = "shots") -> None:
    """Raise DataError when `k` solved examples cannot be shown: too few rows, or no question to show them before."""
    if k > train_rows:
        raise DataError(_too_many(k, train_rows))
    if k:
        _last_question(messages, place)


def _too_many(k: int, rows: int) -> str:
    return f"shots: expected at most the {rows:,} rows of train, found {k}; ask for fewer shots"


def _last_question(messages: Sequence[Message], place: str) -> int:
    """The position of the last user message."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise DataError(f"{place}: shots stand before the last user message, and there is none; add one")
    return last


def few_shot_messages(
    messages: Sequence[Message],
    shots: Sequence[Example],
    fields: Mapping[str, Any],
    labels: Sequence[str],
    place: str = "prompt",
) -> list[ChatMessage]:
    """The chat of one row with solved examples before its question.

    Each shot is a turn of the user (the last user message, rendered over the shot's columns) and one of the assistant
    (its target), right before the last user message. Raises DataError as `render_messages`, and without a user message.
    """
    chat = render_messages(messages, fields, labels, place)
    if not shots:
        return chat
    last = _last_question(messages, place)
    turns: list[ChatMessage] = []
    for shot in shots:
        question = render(messages[last].content, _context(shot.fields, labels), f"{place}[{last}]")
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": shot.target}]
    return [*chat[:last], *turns, *chat[last:]]
