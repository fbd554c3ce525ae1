"""What a row may hold: plain JSON values.

A row is a dict of plain JSON values: text, whole and finite numbers, booleans, None, lists and dicts of them. A number
that is not finite becomes None, a date its ISO text, a decimal its digits; anything else (an image, say) is refused.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from ftlab.errors import DataError

Row = dict[str, Any]


def plain_row(row: Any, place: str) -> Row:
    """`row` with plain JSON values only. Raises DataError naming `place` and the column."""
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object with named columns, found {kind(row)}")
    return {_name(key, place): _plain(value, f"{place}: column '{key}'") for key, value in row.items()}


def _name(key: Any, place: str) -> str:
    if not isinstance(key, str):
        raise DataError(f"{place}: expected a text as column name, found {key!r}")
    return _plain(key, place)


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"{place} holds half of a surrogate pair, which is no character; remove it") from error
        return value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item, place) for item in value]
    if isinstance(value, dict):
        return {_name(key, place): _plain(item, place) for key, item in value.items()}
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, timedelta)):
        return str(value)
    raise DataError(
        f"{place} holds {kind(value)}, which is neither text nor number; leave it out or convert it to text"
    )


def kind(value: Any) -> str:
    """What a value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(
        type(value), "a number" if isinstance(value, (int, float)) else f"a value of type {type(value).__name__}"
    )
