"""Whether an answer has the form and keeps to the instructions that its prompt asks for: plain checks of plain text.

A check never judges whether an answer is good. Blanks around an answer do not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

FOLLOWING_VERSION = 1
"""Raise it when the same answer can be judged otherwise."""

_FENCE = re.compile(r"```[a-z]*\n(.*?)\n?```", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
_WORD = re.compile(r"[\w'’-]+")


def follows(answer: str, checks: Mapping[str, Any]) -> bool:
    """Whether an answer passes every check, `{name: what is asked}`. An empty answer passes none."""
    text = answer.strip()
    return bool(text) and all(CHECKS[name](text, asked) for name, asked in checks.items())


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _json(text: str) -> Any:
    """The whole text as JSON, a code fence around it allowed; None when it is none."""
    fenced = _FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None


def _has_keys(text: str, keys: Sequence[str]) -> bool:
    found = _json(text)
    return isinstance(found, dict) and set(found) == set(keys)


def _has_items(text: str, count: int) -> bool:
    found = _json(text)
    return isinstance(found, list) and len(found) == count and all(isinstance(item, str) for item in found)


def _is_one_of(text: str, options: Sequence[str]) -> bool:
    return text.rstrip(".!").strip(" \"'*`").casefold() in {option.casefold() for option in options}


def _items_begin(text: str, count: int, mark: str) -> bool:
    lines = _lines(text)
    return len(lines) == count and all(re.match(mark, line) for line in lines)


def _numbered(text: str, count: int) -> bool:
    lines = _lines(text)
    return len(lines) == count and all(
        re.match(rf"{number}[.):]\s*\S", line) for number, line in enumerate(lines, start=1)
    )


def _in_case(text: str, case: str) -> bool:
    letters = any(character.isalpha() for character in text)
    return letters and text == (text.upper() if case == "upper" else text.lower())


def _includes(text: str, wanted: Sequence[str]) -> bool:
    return all(part.casefold() in text.casefold() for part in wanted)


CHECKS: Mapping[str, Callable[[str, Any], bool]] = {
    "lines": lambda text, count: len(_lines(text)) == count,
    "words": lambda text, count: len(_words(text)) == count,
    "most_words": lambda text, count: len(_words(text)) <= count,
    "sentences": lambda text, count: len(_SENTENCE_END.findall(text)) == count and text[-1] in ".!?\"')",
    "commas": lambda text, count: len([part for part in text.split(",") if part.strip()]) == count,
    "bullets": lambda text, count: _items_begin(text, count, r"[-*•]\s+\S"),
    "numbered": _numbered,
    "json": _has_keys,
    "json_items": _has_items,
    "one_of": _is_one_of,
    "case": _in_case,
    "digits": lambda text, asked: text.rstrip(".").isdigit() is asked,
    "quoted": lambda text, asked: (len(text) > 2 and text[0] in '"“' and text[-1] in '"”') is asked,
    "begins": lambda text, start: text.casefold().startswith(start.casefold()),
    "ends": lambda text, end: text.casefold().endswith(end.casefold()),
    "includes": _includes,
    "excludes": lambda text, unwanted: not any(part.casefold() in text.casefold() for part in unwanted),
}
"""Every check by its name, given the answer without blanks around it and what the prompt asks."""
