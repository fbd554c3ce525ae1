"""Asking a judge: each pair of answers in both orders, every answer kept, so that none is paid for twice.

A judge that prefers a place over an answer names the same letter in both orders. Such a pair is a tie, and the share of
first places that won, over all pairs, is the position bias; Zheng et al. (2023), Judging LLM-as-a-Judge, section 3.4.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ftlab.data.templates import render
from ftlab.files import storage_errors
from ftlab.plan.identity import digest

JUDGE_VERSION = 1
"""Part of every identity: raise it when the same judge would be asked or read otherwise."""

MAX_UNANSWERED = 0.1
"""With a larger share of pairs unanswered the judge did not answer: what it said of the rest is no fair sample."""

Letter = Literal["A", "B", ""]
"""What a judge said; empty for an answer that names neither or both."""

_LETTER = re.compile(r"\b([AB])\b")


class Judge(Protocol):
    """Whoever answers questions by A or B."""

    def ask(self, questions: Sequence[str]) -> Iterator[tuple[int, Letter]]:
        """The place of a question and what was said, in any order. A question that got no answer at all is left out."""
        ...


@dataclass(frozen=True, slots=True)
class JudgePair:
    """Two answers to one row. `text` is the request, `row` its columns, `target` the right answer."""

    example_id: str
    text: str
    target: str
    row: Mapping[str, Any]
    arm: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of one pair."""

    example_id: str
    arm_first: Letter | None
    """The letter when the arm's answer stood first; None when it was not asked or did not answer at all."""
    baseline_first: Letter | None
    score: float | None
    """1 for the arm, 0 for the baseline, 0.5 for a tie; None when an order has no answer."""


def identity(who: Mapping[str, Any], question: str) -> str:
    """The identity of a judge: the model and what it is asked. A key to a server is no part of it."""
    return digest({"judge": JUDGE_VERSION, "who": dict(who), "question": question})


def read_letter(said: str) -> Letter:
    """`A` or `B` when an answer names exactly one of them as a word of its own, else empty."""
    found = set(_LETTER.findall(said))
    if found == {"A"}:
        return "A"
    return "B" if found == {"B"} else ""


def judge_pairs(
    judge: Judge,
    pairs: Sequence[JudgePair],
    question: str,
    kept: AnswerFile,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Judged]:
    """Every pair in both orders. Equal answers are a tie and are not asked; what `kept` holds is not asked again.

    `progress` hears how many questions have an answer, of how many. Raises DataError for a question that cannot be
    rendered.
    """
    asked = [pair for pair in pairs if pair.arm != pair.baseline]
    texts = [(_text(pair, question, True), _text(pair, question, False)) for pair in asked]
    missing = list(dict.fromkeys(text for both in texts for text in both if text not in kept))
    total = len({text for both in texts for text in both})
    progress(total - len(missing), total)
    for done, (place, letter) in enumerate(judge.ask(missing) if missing else (), start=total - len(missing) + 1):
        kept.keep(missing[place], letter)
        progress(done, total)
    said = {pair.example_id: (kept.get(one), kept.get(other)) for pair, (one, other) in zip(asked, texts, strict=True)}
    return [_judged(pair.example_id, *said.get(pair.example_id, (None, None)), pair) for pair in pairs]


def _text(pair: JudgePair, question: str, arm_first: bool) -> str:
    first, second = (pair.arm, pair.baseline) if arm_first else (pair.baseline, pair.arm)
    context = {"text": pair.text, "target": pair.target, "row": dict(pair.row), "first": first, "second": second}
    return render(question, context, "judge.question")


def _judged(example_id: str, arm_first: Letter | None, baseline_first: Letter | None, pair: JudgePair) -> Judged:
    score: float | None = None
    if pair.arm == pair.baseline:
        score = 0.5
    elif arm_first and baseline_first:
        score = (float(arm_first == "A") + float(baseline_first == "B")) / 2
    return Judged(example_id, arm_first, baseline_first, score)


class AnswerFile:
    """A judge's answers by the hash of the question: one JSON line each, durable before the next is asked.

    A last line torn by a kill is passed over, and asked again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Letter] = {}
        torn = False
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
        for line in data.splitlines():
            try:
                entry = json.loads(line)
                if entry["answer"] in ("A", "B", ""):
                    self._answers[str(entry["question"])] = entry["answer"]
            except (ValueError, KeyError, TypeError):
                torn = True
        self._lead = "\n" if torn or (data and not data.endswith(b"\n")) else ""

    def __contains__(self, question: str) -> bool:
        return _hash(question) in self._answers

    def get(self, question: str) -> Letter | None:
        """What was said to a question; None when nothing was."""
        return self._answers.get(_hash(question))

    def keep(self, question: str, answer: Letter) -> None:
        """Write an answer down. Raises StorageError when the disk is full."""
        line = self._lead + json.dumps({"question": _hash(question), "answer": answer}) + "\n"
        with storage_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._lead = ""
        self._answers[_hash(question)] = answer


def _hash(question: str) -> str:
    return digest(question)
