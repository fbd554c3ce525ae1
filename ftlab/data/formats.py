"""Files of rows: JSONL, JSON, CSV, Parquet. Each error names the file, the line and the mend.

A row is a dict of plain JSON values: text, whole and finite numbers, booleans, None, lists and dicts of them. A number
that is not finite becomes None, a date its ISO text, a decimal its digits; anything else (an image, say) is refused.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from ftlab.errors import DataError, first_line

Row = dict[str, Any]

MAX_ROW_BYTES = 16 * 2**20
"""The longest row that is still an example; anything longer is a file in another format or a broken one."""

_DELIMITERS = ",;\t|"
_ENCODINGS = (
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip or Excel file"),
    (b"\x1f\x8b", "gzip"),
)


def read_rows(path: Path, data: bytes) -> list[Row]:
    """The rows of a file that was read as `data`; the ending of `path` names the format.

    Raises DataError for an unknown ending, for data that is not what the ending says, and for a file without rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: expected an ending of {', '.join(READERS)}, found '{path.suffix}'; rename or convert it"
        )
    rows = reader(path, data)
    if not rows:
        raise DataError(f"{path}: there are no rows in it; name a file that has some")
    return rows


def plain_row(row: Any, place: str) -> Row:
    """`row` with plain JSON values only. Raises DataError naming `place` and the column."""
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object with named columns, found {_kind(row)}")
    return {_name(key, place): _plain(value, f"{place}: column '{key}'") for key, value in row.items()}


def parse_json(text: str) -> Any:
    """One JSON value, strictly (RFC 8259): no NaN, no number beyond a float, no key twice. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _read_jsonl(path: Path, data: bytes) -> list[Row]:
    return [plain_row(_json(path, line, number), f"{path}:{number}") for number, line in _lines(path, data) if line]


def _read_json(path: Path, data: bytes) -> list[Row]:
    items = _json(path, _text(path, data), 1)
    if not isinstance(items, list):
        raise DataError(
            f"{path}: expected a list of objects, found {_kind(items)}; one object per line is a .jsonl file"
        )
    return [plain_row(item, f"{path}: item {number}") for number, item in enumerate(items, 1)]


def _read_csv(path: Path, data: bytes) -> list[Row]:
    text = _text(path, data)
    previous = csv.field_size_limit(MAX_ROW_BYTES)
    try:
        return list(_csv_rows(path, text))
    finally:
        csv.field_size_limit(previous)


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    head = text.split("\n", 1)[0]
    # Of the usual delimiters the one that the header uses most; a file of one column has none and reads the same.
    delimiter = max(_DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = _header(path, cells)
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: expected {len(header)} columns as in the header, found {len(cells)}; "
                    f"put cells that hold a {_spell(delimiter)} or a line break in double quotes"
                )
            yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not readable as CSV ({error}); check the double quotes") from error


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, 1):
        if not name:
            raise DataError(f"{path}:1: column {number} has no name; the first line must name every column")
        if names.index(name) != number - 1:
            raise DataError(f"{path}:1: two columns are called '{name}'; rename one")
    return names


def _read_parquet(path: Path, data: bytes) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{path}: two columns are called '{twice[0]}'; rename one")
        items = file.read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as Parquet ({first_line(error)}); write it again") from error
    return [plain_row(item, f"{path}: row {number}") for number, item in enumerate(items, 1)]


READERS: dict[str, Callable[[Path, bytes], list[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""The reader of each file ending."""


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1, decoded by itself so that an error can name it. Only line feeds end a line."""
    _refuse_binary(path, data)
    for number, line in enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        if len(line) > MAX_ROW_BYTES:
            raise DataError(
                f"{path}:{number}: a line of {len(line):,} bytes is more than the {MAX_ROW_BYTES:,} of a row"
            )
        yield number, _decode(path, line, number).strip()


def _text(path: Path, data: bytes) -> str:
    _refuse_binary(path, data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        _not_utf8(path, data.count(b"\n", 0, error.start) + 1, error)


def _decode(path: Path, line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        _not_utf8(path, number, error)


def _not_utf8(path: Path, line: int, error: UnicodeDecodeError) -> NoReturn:
    byte = error.object[error.start]
    raise DataError(f"{path}:{line}: not UTF-8 (byte 0x{byte:02x}); save the file in the encoding UTF-8") from error


def _refuse_binary(path: Path, data: bytes) -> None:
    for magic, kind in _ENCODINGS:
        if data.startswith(magic):
            raise DataError(f"{path}: this is {kind}, not text in UTF-8; save it as UTF-8 text")
    place = data.find(b"\0")
    if place >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise DataError(f"{path}:{line}: a NUL byte, so this is not text in UTF-8; save it as UTF-8 text")


def _json(path: Path, text: str, line: int) -> Any:
    """Strict JSON. `line` is where `text` begins in the file."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"{path}:{line + error.lineno - 1}:{error.colno}"
        raise DataError(f"{place}: not valid JSON ({error.msg}); correct it or write the file again") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else first_line(error)
        raise DataError(f"{path}:{line}: not usable JSON ({reason}); correct it") from error


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' comes twice in one object")
    return row


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value, write null for a missing number")


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
        f"{place} holds {_kind(value)}, which is neither text nor number; leave it out or convert it to text"
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return names.get(
        type(value), "a number" if isinstance(value, (int, float)) else f"a value of type {type(value).__name__}"
    )


def _spell(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
