"""The journal of an attempt, `events.jsonl`: the truth that the ledger is built from. No DuckDB here.

One event is one line and one `os.write` to a file opened with O_APPEND; state changes are followed by `fdatasync`. A
file has one writer at a time, kept by a `flock` on the file itself. A line counts once its newline is there.

Numbers. NaN and infinity are never values. Where a number is optional by nature they become null: the values of a
`curve` (a loss that diverged) and every number of a `progress`. Anywhere else they are a defect, and writing raises
ValueError. Secrets. In `provenance`, texts under keys that name a secret are replaced; in every event, so are texts of
the form of a well-known access token and the secrets of the environment (`ftlab.redaction`).
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ftlab.errors import StorageError, StoreBusyError
from ftlab.events import EventType, Status
from ftlab.files import fsync_dir, keep_from_forks, release, storage_errors
from ftlab.redaction import in_json, known_secrets, redact, without_forms

VERSION = 1
MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is no event: reading must not take more memory than this, whatever stands in a file."""

_DURABLE = frozenset(
    {EventType.ATTEMPT_STARTED, EventType.ATTEMPT_FINISHED, EventType.STAGE, EventType.METRICS, EventType.WARNING}
)


class EventWriter:
    """Appends events to one journal: a `ftlab.events.Reporter`, and safe to call from several threads.

    Opening repairs what a killed writer left: the next event then starts with a newline, so that the torn line is one
    bad line and nothing more. Raises StoreBusyError when another writer has the file, StorageError when it cannot be
    written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = lambda: time.time()) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        with storage_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with storage_errors(path):
                fsync_dir(path.parent)
            self._seq, self._torn = _end_of(path)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreBusyError(f"{path} is being written by another process; wait until it ends") from None
        except BaseException:
            os.close(self._descriptor)
            raise
        keep_from_forks(self._descriptor)

    def __call__(self, type: EventType, **fields: Any) -> None:  # noqa: A002  the journal's own word
        """Append one event. Raises ValueError for one that must not be stored, StorageError when the disk refuses it.

        After an error the journal holds the earlier events and no part of this one.
        """
        type = EventType(type)  # noqa: A001
        body = _checked(type, fields)
        with self._lock:
            event = {"v": VERSION, "seq": self._seq + 1, "ts": self._clock(), "type": str(type), **body}
            line = json.dumps(event, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
            line = in_json(line, known_secrets()) + b"\n"
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(
                    f"an event of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}: {type} in {self.path}"
                )
            self._append(b"\n" + line if self._torn else line)
            self._seq += 1
            if type in _DURABLE:
                with storage_errors(self.path):
                    os.fdatasync(self._descriptor)

    def _append(self, data: bytes) -> None:
        with storage_errors(self.path):
            written = os.write(self._descriptor, data)
        if written == len(data):
            self._torn = False
            return
        # The disk took a part. Nobody has read it, since it has no newline, so it can be taken back; if even that
        # fails, the next event starts a line of its own.
        try:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        except OSError:
            self._torn = True
        raise StorageError(f"cannot write {self.path}: the disk is full; free some space and run the command again")

    def close(self) -> None:
        """Let the file go. May be repeated."""
        if self._descriptor >= 0:
            release(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Line(NamedTuple):
    """One event and where its line begins, which tells events of one file apart and orders them."""

    offset: int
    event: dict[str, Any]


class Batch(NamedTuple):
    """What one reading of a journal gave."""

    lines: list[Line]
    offset: int
    """Where the next reading starts: behind the last whole line."""
    bad_lines: int
    """Whole lines among those read that are no events."""


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Every whole event from `offset` to the end, and the offset to go on from. Other lines are skipped."""
    events: list[dict[str, Any]] = []
    while True:
        batch = read_batch(path, offset)
        events.extend(line.event for line in batch.lines)
        if batch.offset == offset:
            return events, offset
        offset = batch.offset


def read_batch(path: Path, offset: int, limit: int = MAX_LINE_BYTES) -> Batch:
    """The whole lines among the next `limit` bytes from `offset`. Takes memory for `limit`, not for the file.

    A single line longer than `limit` (at least MAX_LINE_BYTES) counts as bad.
    """
    limit = max(limit, MAX_LINE_BYTES)
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(limit)
        end = data.rfind(b"\n") + 1
        if not end:
            beyond = _skip_line(file) if len(data) == limit else None
            return Batch([], offset, 0) if beyond is None else Batch([], beyond, 1)
    lines: list[Line] = []
    bad = 0
    start = 0
    while start < end:
        stop = data.index(b"\n", start) + 1
        event = parse_line(data[start:stop])
        if event is not None:
            lines.append(Line(offset + start, event))
        else:
            bad += 1
        start = stop
    return Batch(lines, offset + end, bad)


def _skip_line(file: Any) -> int | None:
    """The offset behind the next newline, found without keeping what lies before it; None when there is none yet."""
    while chunk := file.read(1024 * 1024):
        newline = chunk.find(b"\n")
        if newline >= 0:
            return int(file.tell()) - len(chunk) + newline + 1
    return None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The event in a line, or None: for what is not JSON, another version or type, or has no place in time."""
    try:
        event = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("v") != VERSION or event.get("type") not in _TYPES:
        return None
    seq, ts = event.get("seq"), event.get("ts")
    if type(seq) is not int or not isinstance(ts, (int, float)) or isinstance(ts, bool) or not math.isfinite(ts):
        return None
    return event


_TYPES = frozenset(str(kind) for kind in EventType)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is never a value")


# Made once: json.loads with an option makes one for every line, which costs as much as the parsing.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _end_of(path: Path) -> tuple[int, bool]:
    """The number of the last whole event in a journal (0 for none), and whether its last line lacks its newline."""
    size = path.stat().st_size
    reach = 64 * 1024
    while True:
        start = max(0, size - reach)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size - start)
        whole = data[: data.rfind(b"\n") + 1].split(b"\n")
        for line in reversed(whole if start == 0 else whole[1:]):
            event = parse_line(line)
            if event is not None:
                return event["seq"], not data.endswith(b"\n")
        if start == 0:
            return 0, bool(data) and not data.endswith(b"\n")
        reach *= 16


def _checked(type: EventType, fields: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """The fields as they are stored. Raises ValueError for what is no JSON, not finite, or against a status's rules."""
    for name in ("v", "seq", "ts"):
        if name in fields:
            raise ValueError(f"'{name}' is the journal's own field, found it in an event of type {type}")
    lenient = type is EventType.PROGRESS
    body = {
        name: _plain(value, name, lenient or (type is EventType.CURVE and name == "values"))
        for name, value in fields.items()
    }
    if type is EventType.ATTEMPT_STARTED:
        body["provenance"] = redact(body.get("provenance") or {})
    if type is EventType.ATTEMPT_FINISHED:
        _check_end(body)
    return body


def _check_end(body: dict[str, Any]) -> None:
    status = Status(body["status"])
    if not status.is_final:
        raise ValueError(f"an attempt cannot end as '{status}'; expected one of the final statuses")
    if status.needs_reason and not body.get("reason"):
        raise ValueError(f"an attempt that ends as '{status}' needs a reason")
    if not status.needs_reason and body.get("reason"):
        raise ValueError(f"an attempt that ends as '{status}' has no reason, found '{body['reason']}'")


def _plain(value: Any, place: str, lenient: bool) -> Any:
    """`value` in JSON's own types. Not finite: None where `lenient`, else ValueError naming `place`."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        if lenient:
            return None
        raise ValueError(f"expected a finite number or null at '{place}', found {value}")
    if isinstance(value, str):
        # A lone surrogate (a file name in no encoding, say) has no UTF-8, and so no place in the ledger.
        return without_forms(str(value).encode("utf-8", "replace").decode())
    if isinstance(value, dict):
        return {
            str(_plain(str(key), place, False)): _plain(item, f"{place}.{key}", lenient) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{index}]", lenient) for index, item in enumerate(value)]
    if hasattr(value, "item"):  # a number of numpy or torch
        return _plain(value.item(), place, lenient)
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value), place, lenient)
    raise ValueError(f"expected a value that JSON can hold at '{place}', found {type(value).__name__}")
