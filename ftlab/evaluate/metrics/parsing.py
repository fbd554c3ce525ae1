"""How a model's text becomes one of the allowed labels, or none. The whole rule, in the order it is applied:

1. The text, without blanks around it, is a label exactly: that label.
2. The text reads like exactly one label once both are unified: case, underscores, runs of blanks, and quotes,
   asterisks or punctuation around it do not count.
3. The same two steps for the first line that is not blank, after an optional leading `Answer:`: what follows is
   explanation.
4. Anything else, also a text that reads like two labels, is no label.

A label inside a longer sentence does not count: "not Surgery" names Surgery too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PARSING_VERSION = "1"
"""Part of the version of every metric that reads labels; raise it when the rule changes."""

_AROUND = " \t\"'`*“”‘’«»()[]{}.,;:!?"
_LEAD = re.compile(r"^\W*answer\s*(?::|=|-|is\b)\W*", re.IGNORECASE)


def unify(text: str) -> str:
    """The form in which two spellings of one label are equal."""
    return " ".join(text.replace("_", " ").split()).strip(_AROUND).casefold()


class LabelParser:
    """Reads outputs as one of `labels`."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._exact = {label.strip(): label for label in labels}
        self._unified: dict[str, str | None] = {}
        for label in self._exact.values():
            form = unify(label)
            # Two labels that differ by case alone can be told apart by their exact spelling only.
            self._unified[form] = None if form in self._unified else label

    def __call__(self, output: str) -> str | None:
        """The label that `output` is, or None."""
        text = output.strip()
        return self._read(text) or self._read_first_line(text)

    def _read(self, text: str) -> str | None:
        return self._exact.get(text) or self._unified.get(unify(text))

    def _read_first_line(self, text: str) -> str | None:
        first = text.split("\n", 1)[0].strip()
        return self._read(first) or self._read(_LEAD.sub("", first, count=1))
