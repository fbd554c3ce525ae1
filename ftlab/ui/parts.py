"""Small pieces of the pages, and the one door for text that is not ours.

Whatever a model, a data set or a spec wrote is hostile. It reaches the page in one of three ways: `escape` for our own
HTML, `safe_markdown` for the labels that Streamlit reads as markdown, or `st.code`/`st.text` after `plain`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

import streamlit as st

from ftlab.report.format import STATUS_WORDS
from ftlab.text import MISSING, plain

LONGEST = 4_000
"""Characters of one model output or question that a page shows; what is cut off is said."""

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Streamlit finds :icon:, $maths$, links and addresses in the text that is left after markdown's own escapes are read.
_AFTER_PARSING = re.compile(r"([:@]|www|->|<-|--)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def clip(text: str, limit: int = LONGEST) -> str:
    """At most `limit` characters, with a note of how many are not shown."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} more characters)"


def escape(text: object) -> str:
    """Any text as it reads, for HTML content and for quoted attributes."""
    return html.escape(plain(str(text)), quote=True)


def safe_markdown(text: object) -> str:
    """Any text as it reads, for a label that Streamlit renders as markdown.

    A backslash before every punctuation mark stops markdown. Icons (`:material/home:`), directives, arrows and bare
    links are found later, in the finished text, so an invisible word joiner breaks them up as well.
    """
    line = " ".join(plain(str(text)).split())
    # The joiner goes in first: the backslash then still stands right before its mark.
    return _PUNCTUATION.sub(r"\\\1", _AFTER_PARSING.sub(_broken, line))


def _broken(found: re.Match[str]) -> str:
    mark = found.group(1)
    return _WORD_JOINER.join([*mark, ""])


def safe_cell(text: object) -> str:
    """Any text for a table that offers itself as CSV: a leading `=`, `+`, `-` or `@` would be a formula there."""
    line = " ".join(plain(str(text)).split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") and not _is_number(line) else line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def markup(body: str) -> None:
    """Our own HTML. Every value in `body` has been through `escape`."""
    st.html(body)


def heading(title: str, note: str = "", level: int = 2) -> None:
    """A section's heading and one line that says how to read it."""
    under = f'<p class="ft-note">{escape(note)}</p>' if note else ""
    markup(f'<div class="ft ft-head"><h{level}>{escape(title)}</h{level}>{under}</div>')


def chips(items: Iterable[tuple[str, str]]) -> None:
    """A row of small facts, each a name and a value."""
    cells = "".join(f"<li><span>{escape(name)}</span> {escape(value)}</li>" for name, value in items)
    markup(f'<ul class="ft ft-chips">{cells}</ul>')


def facts(rows: Iterable[tuple[str, object]], caption: str) -> None:
    """A two-column table of names and values."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(MISSING if value is None else value)}</td></tr>'
        for name, value in rows
    )
    markup(scrolling(f"<tbody>{body}</tbody>", caption, "ft-facts"))


def scrolling(content: str, caption: str, kind: str = "", box: str = "") -> str:
    """A table as HTML in a box that scrolls by itself, reachable by keyboard. `content` is finished HTML."""
    name = escape(caption)
    return (
        f'<div class="ft ft-scroll {box}" role="region" aria-label="{name}" tabindex="0"><table class="{kind}">'
        f'<caption class="ft-hidden">{name}</caption>{content}</table></div>'
    )


def listing(
    caption: str, columns: Iterable[tuple[str, bool]], rows: Iterable[Iterable[object]], tall: bool = False
) -> None:
    """A plain table. `columns` are names and whether they hold numbers; a row's first cell heads it.

    One that may be `tall` scrolls in a box of its own.
    """
    kinds = [(name, ' class="ft-num"' if is_number else "") for name, is_number in columns]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in kinds)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, (_, kind) in zip(rest, kinds[1:], strict=True))
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    markup(scrolling(table, caption, box="ft-tall" if tall else ""))


def empty(title: str, why: str, command: str | None = None) -> None:
    """What a page says instead of its content: what is missing, and the command that brings it."""
    markup(f'<div class="ft ft-empty" role="status"><h2>{escape(title)}</h2><p>{escape(why)}</p></div>')
    if command:
        st.code(plain(command), language=None)


STATUS_MARKS = {
    "waiting": "○",
    "running": "◐",
    "complete": "✓",
    "pruned": "✂",
    "failed": "✕",
    "oom": "✕",
    "cancelled": "–",
    "killed": "✕",
}


def status_words(status: str) -> str:
    """A status with its symbol, e.g. `✓ complete`."""
    return f"{STATUS_MARKS.get(status, '?')} {STATUS_WORDS.get(status, status)}"


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested data as rows of dotted path and value, in order."""
    if isinstance(value, dict):
        return [
            row for name, item in value.items() for row in flatten(item, f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        return [row for index, item in enumerate(value) for row in flatten(item, f"{prefix}[{index}]")]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(map(str, value)) or MISSING)]
    return [(prefix, MISSING if value is None else str(value))]
