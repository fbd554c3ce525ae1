"""What a reader chose, kept in the URL: a link shows the same page to somebody else.

Streamlit's own `bind="query-params"` drops a value that equals the default, so a link would change its meaning as soon
as the default does (another experiment, another best arm). Here every choice is written out. The URL wins when it
changed from outside (a link, the back button), the widget when the reader used it, and after a change of page what was
chosen last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st


def widget_key(name: str) -> str:
    """The key of the widget that shows the choice `name`."""
    return f"choice.{name}"


def seed(name: str, parse: Callable[[list[str]], Any], default: Any) -> Any:
    """Settle the choice `name` before its widget is drawn, and return it.

    `parse` turns the URL's values into a valid choice or returns None, e.g. for an arm that is gone.
    """
    key, kept = widget_key(name), f"kept.{name}"
    in_url = st.query_params.get_all(name)
    known: list[str] | None = st.session_state.get(kept)
    value = None
    if in_url and in_url != known:
        value = parse(in_url)
    elif key in st.session_state:
        value = st.session_state[key]
        # A choice that the data no longer offers would be an error inside the widget.
        if value is not None:
            value = parse(_texts(value))
    elif known:
        value = parse(known)
    if value is None:
        value = default
    st.session_state[key] = value
    return value


def publish(name: str, value: Any) -> None:
    """Write the choice to the URL and remember it across pages."""
    texts = _texts(value)
    st.session_state[f"kept.{name}"] = texts
    if st.query_params.get_all(name) == texts:
        return
    if texts:
        st.query_params[name] = texts
    else:
        st.query_params.pop(name, None)


def choose(name: str, value: Any) -> None:
    """Set a choice that no widget of that name holds, or from a callback: the widget then follows in the next run."""
    st.session_state[widget_key(name)] = value
    publish(name, value)


def one_of(options: Sequence[str]) -> Callable[[list[str]], str | None]:
    """A parser that accepts one of `options`."""
    return lambda texts: texts[0] if texts and texts[0] in options else None


def some_of(options: Sequence[str], most: int) -> Callable[[list[str]], list[str] | None]:
    """A parser that keeps those of `options`, at most `most` of them, each once; None when none is left."""
    return lambda texts: [text for text in dict.fromkeys(texts) if text in options][:most] or None


def text_up_to(most: int) -> Callable[[list[str]], str | None]:
    """A parser for free text."""
    return lambda texts: texts[0][:most] if texts else None


def whole_number(highest: int) -> Callable[[list[str]], int | None]:
    """A parser for a number from 1 to `highest`; larger ones become `highest`."""

    def parse(texts: list[str]) -> int | None:
        if not texts or not texts[0].isdecimal():
            return None
        return min(max(int(texts[0][:9]), 1), highest)

    return parse


def amount(highest: float) -> Callable[[list[str]], float | None]:
    """A parser for a number from 0 to `highest`; larger ones become `highest`."""

    def parse(texts: list[str]) -> float | None:
        try:
            value = float(texts[0][:32]) if texts else math.nan
        except ValueError:
            return None
        return min(value, highest) if value >= 0 else None

    return parse


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
