"""A word diff of two outputs as HTML. Every word is escaped; a change is struck or underlined, not only coloured."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from ftlab.ui.parts import clip, escape, plain

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
MOST_WORDS = 800
"""Longer texts are shown without marks: the comparison grows with the square of the length."""
LEAST_ALIKE = 0.3
"""Texts with less in common than this are two answers, not one with changes; marking every word would say nothing."""


def word_diff(before: str, after: str) -> tuple[str, str]:
    """HTML of `before` with its lost words in `<del>`, and of `after` with its new words in `<ins>`."""
    before, after = clip(plain(before)), clip(plain(after))
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if len(old) > MOST_WORDS or len(new) > MOST_WORDS:
        return escape(before), escape(after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return escape(before), escape(after)
    left: list[str] = []
    right: list[str] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        was, is_now = escape("".join(old[a:b])), escape("".join(new[c:d]))
        if kind == "equal":
            left.append(was)
            right.append(is_now)
            continue
        if was:
            left.append(f"<del>{was}</del>")
        if is_now:
            right.append(f"<ins>{is_now}</ins>")
    return "".join(left), "".join(right)
