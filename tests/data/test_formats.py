"""Files of rows: what is read, and what each kind of broken file is told."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftlab.data import formats
from ftlab.data.formats import read_rows
from ftlab.errors import DataError


def read(name: str, data: bytes | str) -> list[dict[str, Any]]:
    return read_rows(Path(name), data.encode() if isinstance(data, str) else data)


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


ROWS = [{"q": "é\u2028 x", "n": 1, "deep": {"a": [1.5, None, True]}}, {"q": "", "n": 2, "deep": None}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
        ("a.JSONL", "\ufeff" + "\r\n\r\n".join(json.dumps(row) for row in ROWS) + "\r\n"),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.json", "\ufeff" + json.dumps(ROWS)),
    ],
)
def test_json_in_its_two_forms(name: str, data: str) -> None:
    assert read(name, data) == ROWS


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_each_delimiter(delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    rows = [["q", "label"], [f'a "b"{delimiter}\nc', "x"], ["", "y"]]
    writer.writerows(rows)
    assert read("a.csv", "\ufeff" + out.getvalue()) == [
        {"q": f'a "b"{delimiter}\nc', "label": "x"},
        {"q": "", "label": "y"},
    ]


def test_csv_of_one_column_and_of_long_cells() -> None:
    assert read("a.csv", "q\n" + "x" * 300_000 + "\n") == [{"q": "x" * 300_000}]
    assert csv.field_size_limit() < 300_000, "the limit of other users of the csv module is as it was"


def test_parquet_gives_plain_values() -> None:
    table = pa.table(
        {
            "q": ["a", "b"],
            "when": [datetime(2020, 1, 2, tzinfo=UTC), None],
            "price": [Decimal("1.50"), None],
            "score": [float("nan"), 0.5],
            "tags": [["x"], []],
        }
    )
    assert read("a.parquet", parquet(table)) == [
        {"q": "a", "when": "2020-01-02T00:00:00+00:00", "price": "1.50", "score": None, "tags": ["x"]},
        {"q": "b", "when": None, "price": None, "score": 0.5, "tags": []},
    ]


DUPLICATE_COLUMNS = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["q", "q"])

BROKEN = [
    ("a.txt", b"x", r"a\.txt: expected an ending of \.jsonl, \.json, \.csv, \.parquet, found '\.txt'"),
    ("a.jsonl", b"", r"a\.jsonl: there are no rows"),
    ("a.jsonl", b"\n \n", r"a\.jsonl: there are no rows"),
    ("a.jsonl", b'{"q": 1}\n{"q": \n', r"a\.jsonl:2:\d+: not valid JSON"),
    ("a.jsonl", b'{"q": 1}\n[1]\n', r"a\.jsonl:2: expected an object with named columns, found a list"),
    ("a.jsonl", b'{"q": 1, "q": 2}', r"a\.jsonl:1: .*the key 'q' comes twice"),
    ("a.jsonl", b'{"q": NaN}', r"a\.jsonl:1: .*NaN is not a JSON value, write null"),
    ("a.jsonl", b'{"q": "\\ud800"}', r"a\.jsonl:1: column 'q' holds half of a surrogate pair"),
    ("a.jsonl", b'{"q": "a"}\n{"q": "\xff"}', r"a\.jsonl:2: not UTF-8 \(byte 0xff\)"),
    ("a.jsonl", b'{"q": "a"}\n{"q": "\0"}', r"a\.jsonl:2: a NUL byte"),
    ("a.jsonl", '{"q": 1}'.encode("utf-16"), r"a\.jsonl: this is UTF-16"),
    ("a.jsonl", b"[" * 200_000, r"a\.jsonl:1: .*nested too deeply"),
    ("a.jsonl", b'{"n": ' + b"9" * 5000 + b"}", r"a\.jsonl:1: not usable JSON"),
    ("a.json", b'{"q": 1}', r"a\.json: expected a list of objects, found an object; .*\.jsonl"),
    ("a.json", b'[{"q": 1}, 2]', r"a\.json: item 2: expected an object with named columns, found a number"),
    ("a.json", b'[\n{"q": 1},\n]', r"a\.json:3:1: not valid JSON"),
    ("a.json", b"[]", r"a\.json: there are no rows"),
    ("a.json", b"[\n\xe9]", r"a\.json:2: not UTF-8 \(byte 0xe9\)"),
    ("a.csv", b"q,label\n", r"a\.csv: there are no rows"),
    ("a.csv", b"q,label\na,b,c\n", r"a\.csv:2: expected 2 columns as in the header, found 3; .*','"),
    ("a.csv", b"q,label\na\n", r"a\.csv:2: expected 2 columns as in the header, found 1"),
    ("a.csv", b"q,q\na,b\n", r"a\.csv:1: two columns are called 'q'"),
    ("a.csv", b"q,\na,b\n", r"a\.csv:1: column 2 has no name"),
    ("a.csv", b'q,label\n"a"b,c\n', r"a\.csv:2: not readable as CSV .*double quotes"),
    ("a.csv", b'q,label\n"a,c\n', r"a\.csv:2: not readable as CSV"),
    ("a.csv", "q,label\nÄ,b\n".encode("latin-1"), r"a\.csv:2: not UTF-8 \(byte 0xc4\)"),
    ("a.csv", b"PK\x03\x04...", r"a\.csv: this is a zip or Excel file"),
    ("a.parquet", b"PAR1 no", r"a\.parquet: not readable as Parquet"),
    (
        "a.parquet",
        parquet(pa.table({"q": pa.array([b"raw"])})),
        r"a\.parquet: row 1: column 'q' holds a value of type bytes",
    ),
    ("a.parquet", parquet(DUPLICATE_COLUMNS), r"a\.parquet: two columns are called 'q'"),
    ("a.parquet", parquet(pa.table({"q": pa.array([], pa.string())})), r"a\.parquet: there are no rows"),
]


@pytest.mark.parametrize(("name", "data", "message"), BROKEN, ids=lambda value: str(value)[:40])
def test_a_broken_file_is_one_sentence_with_its_place(name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(name, data)
    assert "\n" not in str(caught.value)


def test_a_huge_line_is_refused_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ROW_BYTES", 100)
    with pytest.raises(DataError, match=r"a\.jsonl:2: a line of 211 bytes is more than the 100 of a row"):
        read("a.jsonl", '{"q": 1}\n{"q": "' + "x" * 201 + '"}\n')
    with pytest.raises(DataError, match=r"a\.csv:2: not readable as CSV \(field larger"):
        read("a.csv", "q\n" + "x" * 201)
