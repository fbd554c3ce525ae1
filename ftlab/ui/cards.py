"""Outputs side by side: the same case as several arms answered it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftlab.report import format as fmt
from ftlab.store.side_by_side import Cell
from ftlab.ui.parts import MISSING, clip, escape, plain


@dataclass(frozen=True, slots=True)
class Answer:
    """One column of a case. `output` is finished HTML, escaped by its maker; `mark` is a key of MARKS."""

    who: str
    output: str
    mark: str
    meta: str


MARKS = {
    "right": ("ft-right", "✓ right"),
    "wrong": ("ft-wrong", "✕ wrong"),
    "graded": ("ft-muted", "◐ graded"),
    "invalid": ("ft-invalid", "∅ no label found"),
    "unscored": ("ft-muted", "? not scored"),
    "absent": ("ft-muted", "no output"),
    "plain": ("ft-muted", ""),
}


def judged(cell: Cell | None) -> str:
    """The mark of an answer. What cannot be read is not wrong, it is invalid; a score between is neither right nor
    wrong."""
    if cell is None:
        return "absent"
    if cell.score is None and cell.parsed is None:
        return "unscored"
    if cell.parsed is None:
        return "invalid"
    score = cell.score or 0
    return "right" if abs(score - 1) < 1e-9 else "wrong" if score == 0 else "graded"


def answer(who: str, cell: Cell | None) -> Answer:
    """What one arm said, with its score where it is graded, what it was read as, its length and its time."""
    if cell is None:
        return Answer(who, "", "absent", "this arm has no output for this example")
    facts = []
    if judged(cell) == "graded":
        facts.append(f"score {fmt.number(cell.score, 'score')}")
    if cell.parsed is not None and plain(cell.parsed) != plain(cell.output).strip():
        facts.append(f"read as “{clip(plain(cell.parsed), 80)}”")
    if cell.output_tokens is not None:
        facts.append(f"{fmt.count(cell.output_tokens)} token{'' if cell.output_tokens == 1 else 's'}")
    if cell.seconds is not None:
        facts.append(fmt.duration(cell.seconds))
    if cell.finish == "length":
        facts.append("cut at the longest answer allowed")
    shown = escape(clip(plain(cell.output))) if cell.output.strip() else '<span class="ft-muted">(empty)</span>'
    return Answer(who, shown, judged(cell), " · ".join(facts) or MISSING)


def case(question: str, target: str | None, answers: Sequence[Answer], link: str | None = None) -> str:
    """One case as HTML: the question, the right answer where there is one, and a cell per arm."""
    cells = "".join(_cell(item) for item in answers)
    anchor = f' · <a href="{escape(link)}" target="_self">link to this example</a>' if link else ""
    right = (
        ""
        if target is None
        else f'<p class="ft-target">right answer: <b>{escape(clip(plain(target), 200))}</b>{anchor}</p>'
    )
    return (
        f'<article class="ft ft-case"><header><div class="ft-question">{escape(clip(plain(question)))}</div>'
        f'{right}</header><div class="ft-cells">{cells}</div></article>'
    )


def _cell(item: Answer) -> str:
    tone, words = MARKS[item.mark]
    return (
        f'<div class="ft-cell"><div class="ft-who">{escape(clip(item.who, 120))}</div>'
        f'<div class="ft-output">{item.output}</div>'
        f'<span class="ft-mark {tone}">{words}</span> <span class="ft-meta">{escape(item.meta)}</span></div>'
    )
