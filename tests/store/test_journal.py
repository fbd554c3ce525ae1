"""The journal: one line per event, whole or not at all, and readable whatever stands in it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftlab.errors import StorageError, StoreBusyError
from ftlab.events import EventType, Status
from ftlab.redaction import REDACTED
from ftlab.store import journal
from ftlab.store.journal import MAX_LINE_BYTES, EventWriter, read_batch, read_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def curve(writer: EventWriter, step: int) -> None:
    writer(EventType.CURVE, step=step, values={"train/loss": 1.0 / step})


def test_events_come_back_in_order_with_rising_numbers(path: Path) -> None:
    with EventWriter(path, clock=lambda: 12.5) as writer:
        for step in (1, 2, 3):
            curve(writer, step)
    events, offset = read_events(path)
    assert [(event["v"], event["seq"], event["ts"], event["step"]) for event in events] == [
        (1, 1, 12.5, 1),
        (1, 2, 12.5, 2),
        (1, 3, 12.5, 3),
    ]
    assert offset == path.stat().st_size
    assert read_events(path, offset) == ([], offset)


def test_a_second_writer_is_refused_and_a_later_one_goes_on_counting(path: Path) -> None:
    with EventWriter(path) as writer:
        curve(writer, 1)
        with pytest.raises(StoreBusyError, match="another process"):
            EventWriter(path)
        curve(writer, 2)
    with EventWriter(path) as writer:
        curve(writer, 3)
    assert [event["seq"] for event in read_events(path)[0]] == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"v":1,"seq":3,"ty', b"\xff\xfe garbage", b"x" * 200_000])
def test_a_torn_tail_costs_one_bad_line(path: Path, torn: bytes) -> None:
    with EventWriter(path) as writer:
        curve(writer, 1)
        curve(writer, 2)
    with path.open("ab") as file:
        file.write(torn)
    assert [event["seq"] for event in read_events(path)[0]] == [1, 2]
    with EventWriter(path) as writer:
        curve(writer, 3)
        curve(writer, 4)
    batch = read_batch(path, 0)
    assert [line.event["seq"] for line in batch.lines] == [1, 2, 3, 4]
    assert batch.bad_lines == 1
    assert batch.offset == path.stat().st_size


def test_a_journal_of_garbage_alone_can_be_written_on(path: Path) -> None:
    path.write_bytes(os.urandom(3000).replace(b"\n", b"") + b"\n\xff")
    with EventWriter(path) as writer:
        curve(writer, 1)
    batch = read_batch(path, 0)
    assert [line.event["seq"] for line in batch.lines] == [1]
    assert batch.bad_lines == 2


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"12",
        b"{}",
        b"not json",
        b'{"v":2,"seq":1,"ts":1.0,"type":"curve"}',
        b'{"v":1,"seq":1,"ts":1.0,"type":"unheard_of"}',
        b'{"v":1,"seq":1,"ts":NaN,"type":"curve"}',
        b'{"v":1,"seq":1,"ts":1e999,"type":"curve"}',
        b'{"v":1,"seq":true,"ts":1.0,"type":"curve"}',
        b'{"v":1,"seq":1,"ts":1.0,"type":"curve","values":{"a":Infinity}}',
        b"[" * 100_000,
        b"",
    ],
)
def test_what_is_no_event_is_a_bad_line(path: Path, line: bytes) -> None:
    path.write_bytes(line + b"\n")
    batch = read_batch(path, 0)
    assert (batch.lines, batch.bad_lines, batch.offset) == ([], 1, len(line) + 1)


def test_a_line_without_end_is_left_for_later_and_a_huge_one_is_passed_over(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 * MAX_LINE_BYTES)
    assert read_batch(path, 0) == ([], 0, 0)
    with path.open("ab") as file:
        file.write(b"\n")
    assert read_batch(path, 0) == ([], 3 * MAX_LINE_BYTES + 1, 1)
    with EventWriter(path) as writer:
        curve(writer, 1)
    assert [event["seq"] for event in read_events(path)[0]] == [1]


def test_nan_becomes_null_where_a_number_is_optional_and_is_refused_elsewhere(path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    with EventWriter(path) as writer:
        writer(EventType.CURVE, step=1, values={"train/loss": nan, "train/grad_norm": inf})
        writer(EventType.PROGRESS, phase="train", done=1, total=2, unit="steps", loss=nan)
        for event, fields in (
            (EventType.METRICS, {"split": "validation", "rows": [{"key": "accuracy", "value": nan}]}),
            (EventType.STAGE, {"kind": "weights", "summary": {"train_seconds": inf}}),
        ):
            with pytest.raises(ValueError, match="finite number or null at"):
                writer(event, **fields)
    events = read_events(path)[0]
    assert events[0]["values"] == {"train/loss": None, "train/grad_norm": None}
    assert events[1]["loss"] is None
    assert [event["seq"] for event in events] == [1, 2]


def test_numbers_of_numpy_and_paths_are_plain(path: Path, tmp_path: Path) -> None:
    import numpy as np

    with EventWriter(path) as writer:
        writer(EventType.CURVE, step=np.int64(7), values={"a": np.float32(0.5), "b": np.float64("nan")})
        writer(EventType.WARNING, code="x", message=tmp_path, step=None)
        with pytest.raises(ValueError, match="found object"):
            writer(EventType.WARNING, code="x", message=object(), step=None)
    events = read_events(path)[0]
    assert (events[0]["step"], events[0]["values"]) == (7, {"a": 0.5, "b": None})
    assert events[1]["message"] == str(tmp_path)


def test_secrets_do_not_reach_the_file(path: Path) -> None:
    token = "hf_" + "x" * 34
    with EventWriter(path) as writer:
        writer(
            EventType.ATTEMPT_STARTED,
            run_id="r1",
            attempt=1,
            pid=1,
            host="h",
            provenance={
                "HF_TOKEN": "abcdef",
                "nested": [{"api_key": "abcdef", "password": {"inner": "abcdef"}}],
                "tokenizers": "0.23",
                "train_tokens": 12,
                "command": f"ftlab run --token={token}",
            },
        )
        writer(
            EventType.ATTEMPT_FINISHED, status=Status.FAILED, reason=f"401 for {token}", error=f"Bearer {token} refused"
        )
    text = path.read_text()
    assert "abcdef" not in text
    assert token not in text
    provenance = read_events(path)[0][0]["provenance"]
    assert provenance["HF_TOKEN"] == REDACTED
    assert provenance["tokenizers"] == "0.23"
    assert provenance["train_tokens"] == 12


@pytest.mark.parametrize(
    ("status", "reason"),
    [("running", None), ("waiting", "why"), ("failed", None), ("killed", ""), ("complete", "too good"), ("done", None)],
)
def test_an_end_against_the_rules_is_refused(path: Path, status: str, reason: str | None) -> None:
    with EventWriter(path) as writer, pytest.raises(ValueError, match=status):
        writer(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=None)
    assert path.read_bytes() == b""


def test_the_journals_own_fields_cannot_be_overwritten(path: Path) -> None:
    with EventWriter(path) as writer, pytest.raises(ValueError, match="'seq'"):
        writer(EventType.CURVE, seq=99, step=1, values={})


def test_half_a_character_does_not_stop_the_journal(path: Path) -> None:
    with EventWriter(path) as writer:
        writer(EventType.WARNING, code="x", message="a\udcff\x00b\n\u2028", step=None)
    assert read_events(path)[0][0]["message"] == "a?\x00b\n\u2028"


def test_threads_share_a_writer(path: Path) -> None:
    with EventWriter(path) as writer:
        threads = [threading.Thread(target=lambda: [curve(writer, step) for step in range(1, 101)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [event["seq"] for event in read_events(path)[0]] == list(range(1, 801))


def test_state_changes_are_made_durable_and_curves_are_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with EventWriter(path) as writer:
        curve(writer, 1)
        writer(EventType.PROGRESS, phase="train", done=1, total=2, unit="steps")
        assert not synced
        writer(EventType.WARNING, code="a", message="b", step=None)
        writer(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)
        assert len(synced) == 2


def write_for_ever(writer: EventWriter) -> None:
    for step in itertools.count(1):
        curve(writer, step)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_error_and_no_half_event(small_disk: Path) -> None:
    path = small_disk / "events.jsonl"
    with EventWriter(path) as writer:
        with pytest.raises(StorageError, match=r"events\.jsonl: the disk is full"):
            write_for_ever(writer)
        whole = path.read_bytes()
        assert whole.endswith(b"\n")
        lines = whole.count(b"\n")
        # Space comes back: the journal goes on where it was.
        subprocess.run(["mount", "-o", "remount,size=256k", small_disk], check=True)
        curve(writer, 1)
    batch = read_batch(path, 0)
    assert [line.event["seq"] for line in batch.lines] == list(range(1, lines + 2))
    assert batch.bad_lines == 0


def test_half_a_write_that_cannot_be_taken_back_costs_one_bad_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    def refuse(*args: object) -> None:
        raise OSError(errno.EIO, "no")

    with EventWriter(path) as writer:
        curve(writer, 1)
        monkeypatch.setattr(journal.os, "write", half)
        monkeypatch.setattr(journal.os, "ftruncate", refuse)
        with pytest.raises(StorageError):
            curve(writer, 2)
        monkeypatch.undo()
        curve(writer, 3)
    batch = read_batch(path, 0)
    assert [(line.event["seq"], line.event["step"]) for line in batch.lines] == [(1, 1), (2, 3)]
    assert batch.bad_lines == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(journal.os, "open", refuse)
    with pytest.raises(StorageError, match=r"events\.jsonl: the file system is read-only"):
        EventWriter(tmp_path / "events.jsonl")


def test_a_line_is_json_in_ascii(path: Path) -> None:
    with EventWriter(path) as writer:
        writer(EventType.WARNING, code="x", message="Größe\n", step=None)
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == 1
    assert json.loads(data)["message"] == "Größe\n"
