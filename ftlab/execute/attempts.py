"""Attempt directories: made here, read here, and closed here when their worker can no longer do it.

    <experiment_id>/runs/<run_id>/a<n>/{config.json, events.jsonl, log.txt, lease, end.json, checkpoints/}

The worker holds a `flock` on `lease` as long as it works. The kernel drops it with the process, however that ends, so
an attempt whose lease can be taken and whose journal has no end is dead.

An attempt that was closed is fenced: its journal is another file under the same name, so that a worker that was given
up and works on (on a node that only the network lost, say) tells the rest to a file that nobody reads.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.errors import StoreBusyError
from ftlab.events import EventType, Status
from ftlab.execute.pruning import standing_verdict
from ftlab.files import file_lock, storage_errors, write_atomic
from ftlab.plan.run import RunConfig
from ftlab.redaction import clean_file
from ftlab.store.journal import EventWriter, parse_line

TAIL_BYTES = 64 * 1024
"""Holds the last line of every journal: the longest, `attempt_finished`, is cut far below this by the worker."""

_ATTEMPT = re.compile(r"a[0-9]+")
END_REQUEST = "end.json"
"""Asks for the attempt's end, where its worker cannot be spoken to directly."""

ABANDONED_REASON = "`ftlab run` ended in the middle of it (killed, or the machine went down)"


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended, read from the last line of its journal."""

    status: Status
    reason: str | None
    error: str | None
    ts: float


def run_folder(results: Path, config: RunConfig) -> Path:
    """Where the attempts of a run are."""
    return results / config.experiment_id / "runs" / config.run_id


def list_attempts(run: Path) -> list[Path]:
    """The attempt directories of a run, oldest first."""
    # A folder of ten thousand runs is gone through on every start: one system call for each, no pattern.
    try:
        with os.scandir(run) as entries:
            names = [entry.name for entry in entries if _ATTEMPT.fullmatch(entry.name) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((run / name for name in names), key=number)


def number(attempt: Path) -> int:
    """The number of an attempt: 1 for the first."""
    return int(attempt.name[1:])


def create_attempt(results: Path, config: RunConfig) -> Path:
    """Make the directory of the next attempt of a run and move what the last one left of its training into it.

    Raises StorageError when the results folder cannot be written.
    """
    run = run_folder(results, config)
    earlier = list_attempts(run)
    attempt = run / f"a{number(earlier[-1]) + 1 if earlier else 1}"
    with storage_errors(attempt):
        attempt.mkdir(parents=True)
    write_atomic(attempt / "config.json", config.model_dump_json().encode())
    if earlier:
        _inherit_checkpoints(earlier, attempt, config)
    return attempt


def _inherit_checkpoints(earlier: list[Path], attempt: Path, config: RunConfig) -> None:
    """One rename: checkpoints are in the old place or in the new, never in between."""
    for old in reversed(earlier):
        checkpoints = old / "checkpoints"
        if checkpoints.is_dir():
            if read_config(old).key("weights") == config.key("weights"):
                os.rename(checkpoints, attempt / "checkpoints")
            return


def read_config(attempt: Path) -> RunConfig:
    """What the attempt was asked to do."""
    return RunConfig.model_validate_json((attempt / "config.json").read_bytes())


def read_end(attempt: Path) -> AttemptEnd | None:
    """How the attempt ended, or None when its journal has no end (yet). Reads the tail only."""
    event = _last_event(attempt / "events.jsonl")
    if event is None or event.get("type") != EventType.ATTEMPT_FINISHED:
        return None
    return AttemptEnd(Status(event["status"]), event.get("reason"), event.get("error"), float(event["ts"]))


def _last_event(journal: Path) -> dict[str, Any] | None:
    """The last whole event; None when the tail of the journal has none, or there is no journal."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            tail = file.read()
    except FileNotFoundError:
        return None
    whole = tail[: tail.rfind(b"\n") + 1]
    return next((event for line in reversed(whole.splitlines()) if (event := parse_line(line)) is not None), None)


def close_attempt(attempt: Path, status: Status, reason: str) -> None:
    """Write the end that a dead worker could not write, and fence one that lives. A torn last line is repaired, and an
    end that the worker wrote in the meantime stands.

    An attempt that was given up by its search ends as that, whoever killed its worker before it could obey. The end has
    the time of the last event: another machine's clock may be wrong by hours, and a run must not seem to last longer or
    shorter by that. Raises StorageError when the journal cannot be written.
    """
    if (verdict := standing_verdict(attempt)) is not None:
        status, reason = Status.PRUNED, verdict.words
    journal = attempt / "events.jsonl"
    ask_to_end(attempt, status, reason)
    _replace_by_copy(journal)
    clean_file(attempt / "log.txt")
    if read_end(attempt) is not None:
        return  # it lived after all, and said so before it was fenced
    last = _last_event(journal)
    with EventWriter(journal, clock=time.time if last is None else lambda: float(last["ts"])) as write:
        if not journal.stat().st_size:
            config = read_config(attempt)
            here = {"pid": os.getpid(), "host": socket.gethostname()}
            write(EventType.ATTEMPT_STARTED, run_id=config.run_id, attempt=number(attempt), **here, provenance={})
        write(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=None)


def _replace_by_copy(journal: Path) -> None:
    """Put a copy of the journal in its place, byte for byte: who has the old file open writes to it for nobody.

    What arrived in the old file during the copy may have been read already, so it is taken along.
    """
    copy = journal.with_name(f".events.{secrets.token_hex(6)}.tmp")
    with storage_errors(journal), suppress(FileNotFoundError), journal.open("rb") as old:
        with copy.open("xb") as new:
            shutil.copyfileobj(old, new)
        os.replace(copy, journal)
        with journal.open("ab") as new:
            shutil.copyfileobj(old, new)


@dataclass(frozen=True, slots=True)
class EndRequest:
    """What a worker that another process attends to is asked: to end at its next step."""

    status: Status
    """What the attempt then ends as."""
    reason: str
    now: bool = False
    """At once, rather than at the next step."""


def ask_to_end(attempt: Path, status: Status, reason: str, *, now: bool = False) -> None:
    """Leave the request beside the journal, for whoever attends to the worker. Raises StorageError."""
    write_atomic(attempt / END_REQUEST, json.dumps({"status": status, "reason": reason, "now": now}).encode())


def asked_to_end(attempt: Path) -> EndRequest | None:
    """The request, if there is one."""
    try:
        asked = json.loads((attempt / END_REQUEST).read_bytes())
    except FileNotFoundError:
        return None
    return EndRequest(Status(asked["status"]), str(asked["reason"]), bool(asked["now"]))


@contextmanager
def hold_lease(attempt: Path) -> Iterator[bool]:
    """Take the attempt's lease for the block; yields False when another process has it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(attempt / "lease", blocking=False))
        except BlockingIOError:
            yield False
        else:
            yield True


def close_dead_attempts(results: Path, config: RunConfig, patience: float = 10.0) -> int:
    """Close every attempt of a run that has no end and no worker; returns how many.

    A worker dies with its coordinator, but not in the same instant, and one on a cluster has to be asked: `patience`
    seconds are granted. Raises StoreBusyError when one still works after that.
    """
    closed = 0
    for attempt in list_attempts(run_folder(results, config)):
        if read_end(attempt) is not None or not (attempt / "config.json").exists():
            continue
        deadline = time.monotonic() + patience
        while not _close_if_dead(attempt):
            if asked_to_end(attempt) is None:
                ask_to_end(attempt, Status.KILLED, ABANDONED_REASON)
            if time.monotonic() > deadline:
                raise StoreBusyError(f"a worker of an earlier `ftlab run` still works on {attempt}; end it first")
            time.sleep(0.05)
        closed += 1
    return closed


def _close_if_dead(attempt: Path) -> bool:
    with hold_lease(attempt) as dead:
        if dead and read_end(attempt) is None:
            close_attempt(attempt, Status.KILLED, ABANDONED_REASON)
        return dead
