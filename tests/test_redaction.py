"""Secrets of the environment reach no record and no log, wherever a text picked them up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ftlab.events import EventType, Status
from ftlab.execute.attempts import close_attempt, create_attempt
from ftlab.redaction import REDACTED, clean_file, known_secrets, remember
from ftlab.store.journal import EventWriter, read_events
from ftlab.testing.fakes import fake_plan


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "0123456789", True),
        ("JUDGE_KEY", "0123456789", True),
        ("OPENAI_API_KEY", "0123456789", True),
        ("db_password", "0123456789", True),
        ("SLACK_WEBHOOK", "https://hooks.example.org/T0", True),
        ("TOKENIZERS_PARALLELISM", "0123456789", False),
        ("HOME", "/home/somebody", False),
        ("KEYBOARD", "0123456789", False),
        ("MY_TOKEN", "short", False),
        ("HOOK", "https://hooks.example.org/T0", False),
    ],
)
def test_variables_are_known_by_their_names(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, secret: bool
) -> None:
    monkeypatch.setenv(name, value)
    assert known_secrets() == ((value,) if secret else ())


def test_a_variable_that_the_spec_names_is_one_here_and_in_processes_started_from_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.example.org/T0")
    monkeypatch.setenv("FTLAB_SECRETS", "OTHER")
    remember(["HOOK"])
    assert known_secrets() == ("https://hooks.example.org/T0",)
    assert os.environ["FTLAB_SECRETS"] == "HOOK OTHER"


def test_no_event_holds_a_secret_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = 'quote" back\\slash ü/line'
    monkeypatch.setenv("MY_SECRET", secret)
    monkeypatch.setenv("MY_OTHER_SECRET", secret + " and more")
    with EventWriter(tmp_path / "events.jsonl") as write:
        write(EventType.WARNING, code="x", message=f"before {secret} and more after", step=None)
        write(EventType.ATTEMPT_FINISHED, status=Status.FAILED, reason=secret, error=f"Traceback {secret}")
    first, second = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert first["message"] == f"before {REDACTED} after"
    assert (second["reason"], second["error"]) == (REDACTED, f"Traceback {REDACTED}")


def test_digits_of_a_secret_within_a_number_leave_the_line_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "00000000")
    with EventWriter(tmp_path / "events.jsonl", clock=lambda: 1.5) as write:
        write(EventType.CURVE, step=1, values={"train/loss": 0.1 + 0.2}, note="00000000")
    (event,), _ = read_events(tmp_path / "events.jsonl")
    assert (event["values"]["train/loss"], event["note"]) == (0.30000000000000004, REDACTED)


def test_a_log_is_cleaned_in_place_and_no_other_file_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "0123456789")
    log, outside, link = tmp_path / "log.txt", tmp_path / "outside", tmp_path / "link"
    log.write_bytes(b"401 for 0123456789\xff\r\n")
    outside.write_text("0123456789")
    link.symlink_to(outside)
    for path in (log, link, tmp_path / "nothing"):
        clean_file(path)
    assert log.read_bytes() == f"401 for {REDACTED}".encode() + b"\xff\r\n"
    assert outside.read_text() == "0123456789"


def test_the_log_of_a_worker_that_was_killed_is_cleaned_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "0123456789")
    attempt = create_attempt(tmp_path, fake_plan({"a": {"type": "fake_prompt"}}).runs[0])
    (attempt / "log.txt").write_text("0123456789")
    close_attempt(attempt, Status.KILLED, "killed with 0123456789")
    assert (attempt / "log.txt").read_text() == REDACTED
    assert "0123456789" not in (attempt / "events.jsonl").read_text()
