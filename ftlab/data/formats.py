"""Files of rows: JSONL, JSON, CSV, Parquet. Each error names the file, the line and the mend."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ftlab.data.values import Row, kind, plain_row
from ftlab.errors import DataError, Fault, first_line

MAX_ROW_BYTES = 16 * 2**20
"""The longest row that is still an example; anything longer is a file in another format or a broken one."""

SHOWN_ROWS = 5
"""How many broken rows of a file are told one by one; the rest is counted."""

_DELIMITERS = ",;\t|"
_ENCODINGS = (
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip or Excel file"),
    (b"\x1f\x8b", "gzip"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file, each with its place."""

    rows: list[Row]
    numbers: list[int]
    """For each row its line in a text file (a CSV row's last one), else its number from 1."""
    form: str
    """How a place is written, e.g. `rows.csv:{}`."""

    def place(self, index: int) -> str:
        """Where a row stands, for messages: `rows.csv:17`."""
        return self.form.format(self.numbers[index])


def read_rows(path: Path, data: bytes) -> list[Row]:
    """The rows of `read_table`."""
    return read_table(path, data).rows


def read_table(path: Path, data: bytes) -> Table:
    """The rows of a file that was read as `data`, with their places; the ending of `path` names the format.

    Raises DataError for an unknown ending, for data that is not what the ending says (the first `SHOWN_ROWS` broken
    rows each with its line), and for a file without rows.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: expected an ending of {', '.join(READERS)}, found '{path.suffix}'; rename or convert it"
        )
    numbered = _gathered(path, reader(path, data))
    if not numbered:
        raise DataError(f"{path}: there are no rows in it; name a file that has some")
    name = str(path).replace("{", "{{").replace("}", "}}")
    form = {".json": f"{name}: item {{}}", ".parquet": f"{name}: row {{}}"}.get(path.suffix.lower(), f"{name}:{{}}")
    return Table([row for _, row in numbered], [number for number, _ in numbered], form)


_Numbered = Iterator[tuple[int, Row | DataError]]
"""Rows with their numbers, and for a broken row what is wrong with it: reading goes on behind it."""


def _gathered(path: Path, rows: Iterable[tuple[int, Row | DataError]]) -> list[tuple[int, Row]]:
    """All rows, or a DataError with the first of those that are broken."""
    found: list[tuple[int, Row]] = []
    broken: list[Fault] = []
    for number, row in rows:
        if isinstance(row, DataError):
            broken += row.faults
        elif not broken:
            found.append((number, row))
    if len(broken) > SHOWN_ROWS:
        more = len(broken) - SHOWN_ROWS
        broken = [*broken[:SHOWN_ROWS], Fault(f"{path}: and {more:,} more broken row{'s' * (more > 1)}")]
    if broken:
        raise DataError.of(broken)
    return found


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


def _tried(function: Callable[..., Row], *arguments: Any) -> Row | DataError:
    try:
        return function(*arguments)
    except DataError as error:
        return error


def _read_jsonl(path: Path, data: bytes) -> _Numbered:
    for number, line in _lines(path, data):
        if isinstance(line, DataError):
            yield number, line
        elif line:
            yield number, _tried(_line_row, path, line, number)


def _line_row(path: Path, line: str, number: int) -> Row:
    return plain_row(_json(path, line, number), f"{path}:{number}")


def _read_json(path: Path, data: bytes) -> _Numbered:
    items = _json(path, _text(path, data), 1)
    if not isinstance(items, list):
        raise DataError(
            f"{path}: expected a list of objects, found {kind(items)}; one object per line is a .jsonl file"
        )
    for number, item in enumerate(items, 1):
        yield number, _tried(plain_row, item, f"{path}: item {number}")


def _read_csv(path: Path, data: bytes) -> _Numbered:
    text = _text(path, data)
    previous = csv.field_size_limit(MAX_ROW_BYTES)
    try:
        yield from list(_csv_rows(path, text))
    finally:
        csv.field_size_limit(previous)


def _csv_rows(path: Path, text: str) -> _Numbered:
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
            if len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
                continue
            message = (
                f"{path}:{reader.line_num}: expected {len(header)} columns as in the header, found {len(cells)}; "
                f"put cells that hold a {_spell(delimiter)} or a line break in double quotes"
            )
            yield reader.line_num, DataError(message)
    except csv.Error as error:
        # What follows an unclosed quote would be read wrongly.
        message = f"{path}:{reader.line_num}: not readable as CSV ({error}); check the double quotes"
        yield reader.line_num, DataError(message)


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for number, name in enumerate(names, 1):
        if not name:
            raise DataError(f"{path}:1: column {number} has no name; the first line must name every column")
        if names.index(name) != number - 1:
            raise DataError(f"{path}:1: two columns are called '{name}'; rename one")
    return names


def _read_parquet(path: Path, data: bytes) -> _Numbered:
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
    for number, item in enumerate(items, 1):
        yield number, _tried(plain_row, item, f"{path}: row {number}")


READERS: dict[str, Callable[[Path, bytes], _Numbered]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""The reader of each file ending."""


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, str | DataError]]:
    """Each line with its number from 1, decoded by itself so that an error can name it. Only line feeds end a line."""
    _refuse_binary(path, data)
    for number, line in enumerate(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")), 1):
        if len(line) > MAX_ROW_BYTES:
            message = f"{path}:{number}: a line of {len(line):,} bytes is more than the {MAX_ROW_BYTES:,} of a row"
            yield number, DataError(message)
            continue
        try:
            yield number, _decode(path, line, number).strip()
        except DataError as error:
            yield number, error


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
    for magic, format_ in _ENCODINGS:
        if data.startswith(magic):
            raise DataError(f"{path}: this is {format_}, not text in UTF-8; save it as UTF-8 text")
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


def _spell(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
