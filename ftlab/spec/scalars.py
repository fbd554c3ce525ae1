"""Single values of a spec: what an unquoted one means, and how a message shows one."""

from __future__ import annotations

import re
from typing import Any

Scalar = str | int | float | bool | None

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def plain_scalar(text: str) -> Scalar:
    """What an unquoted scalar means in YAML 1.2's core schema (section 10.3.2), infinities and NaN included."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            # Python refuses to read integers beyond 4,300 digits; 64 bits need 20.
            return 2**64 if len(text) > 25 else int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def shown(text: str, limit: int = 60) -> str:
    """Text of the spec as a message may show it: printable and short."""
    visible = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return visible if len(visible) <= limit else f"{visible[:limit]}..."


def found_value(value: Any) -> str:
    """A value of a spec as a sentence names it: short, printable, in YAML's spelling."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return f"'{shown(value)}'" if isinstance(value, str) else str(value)
