"""One `ftlab run` per results folder: a `flock` on `.lock`, which names the holder for those who are refused."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftlab.errors import StoreBusyError
from ftlab.files import file_lock, make_folder, storage_errors

LOCK_FILE = ".lock"
GLANCES = (0.01, 0.03, 0.1)
"""Seconds to wait between tries for the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that works in a results folder."""

    pid: int | None
    host: str


@contextmanager
def hold_results(results: Path) -> Iterator[None]:
    """Be the only `ftlab run` in `results` for the block.

    The lock goes with the process, so a kill leaves nothing to clean up. Raises StoreBusyError naming the holder, and
    StorageError when the folder cannot be made or written.
    """
    make_folder(results)
    lock = results / LOCK_FILE
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(_locked(lock))
        except BlockingIOError:
            raise StoreBusyError(_busy(results, _read(lock))) from None
        _sign(descriptor, lock)
        yield


@contextmanager
def _locked(lock: Path) -> Iterator[int]:
    """The lock, tried a few times: whoever asks `holder` (an open app does every second) has it for an instant."""
    with ExitStack() as stack:
        for pause in (*GLANCES, None):
            try:
                descriptor = stack.enter_context(file_lock(lock, blocking=False))
                break
            except BlockingIOError:
                if pause is None:
                    raise
                time.sleep(pause)
        yield descriptor


def refuse_if_held(results: Path) -> None:
    """Raise StoreBusyError when another `ftlab run` works in `results` now; before work that would be for nothing."""
    if (who := holder(results)) is not None:
        raise StoreBusyError(_busy(results, who))


def holder(results: Path) -> Holder | None:
    """Who works in `results` now, or None."""
    lock = results / LOCK_FILE
    try:
        # A shared lock: two who look at once must not take each other for a sweep.
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(lock)
    except FileNotFoundError:
        pass
    return None


def _sign(descriptor: int, lock: Path) -> None:
    with storage_errors(lock):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)


def _read(lock: Path) -> Holder:
    """The signature of the holder; between its lock and its signature there may be none yet."""
    try:
        signature = json.loads(lock.read_bytes())
        return Holder(int(signature["pid"]), str(signature["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(None, "an unknown host")


def _busy(results: Path, who: Holder) -> str:
    process = f"process {who.pid}" if who.pid is not None else "another process"
    return (
        f"{results} is in use by another `ftlab run`: {process} on {who.host}; "
        "wait for it, watch it by `ftlab status --watch`, end it by `ftlab stop`, or choose another folder by --results"
    )
