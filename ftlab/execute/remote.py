"""One attempt on another machine: the same worker command, attended to by whoever the cluster started there.

An `Order` goes out, a `Finished` comes back; all that happens in between is told by the attempt's journal, as on this
machine. The attendant watches for two things besides the worker: a request to end, left beside the journal
(`ftlab.execute.attempts.ask_to_end`), and the coordinator's pulse. A coordinator that was killed beats no more, and
then nobody would read what is computed: the worker ends at its next step, its checkpoint kept.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ftlab.errors import FtlabError
from ftlab.events import Status
from ftlab.execute.attempts import EndRequest, asked_to_end
from ftlab.execute.base import Finished, Handle
from ftlab.execute.process import WorkerProcess, worker_command
from ftlab.execute.provenance import package_versions
from ftlab.execute.share import worker_environment
from ftlab.files import write_atomic

PULSE_FILE = ".pulse"
BEAT_SECONDS = 2.0
GLANCE_SECONDS = 0.25
"""How often an attendant looks for requests."""

LOST_COORDINATOR = EndRequest(
    Status.KILLED, "`ftlab run` was no longer there to be told of it; `ftlab resume` goes on from its checkpoint"
)
GIVEN_BACK = EndRequest(Status.KILLED, "the cluster took the machine back (its time limit, or preemption)")


@dataclass(frozen=True, slots=True)
class Order:
    """All that a machine needs to execute one attempt. Plain data, pickled."""

    results: Path
    """The results folder, under the same name there as here."""
    attempt: Path
    base: str
    pipeline: str
    threads: int
    packages: dict[str, str | None]
    """What is installed where the order comes from: another version could bring another result."""
    patience: float
    """Seconds without a pulse after which the coordinator is dead."""
    grace: float
    """Seconds that a worker has to reach its next step once it is asked to end."""


class Pulse:
    """The coordinator's: a file that changes every two seconds, from a thread of its own, as long as this lives."""

    def __init__(self, results: Path) -> None:
        self._file = results / PULSE_FILE
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            with suppress(OSError, FtlabError):  # a full disk is told by those who have something to say
                write_atomic(self._file, f"{os.getpid()}@{socket.gethostname()} {count}".encode())
            if self._stop.wait(BEAT_SECONDS):
                return


class PulseWatch:
    """Whether a pulse still beats, told by its changes alone: no two machines need agree on the time."""

    def __init__(self, results: Path, patience: float) -> None:
        self._file = results / PULSE_FILE
        self._patience = patience
        self._seen: bytes | None = None
        self._since = time.monotonic()

    def lost(self) -> bool:
        """Whether it has not changed for longer than `patience` seconds."""
        try:
            now = self._file.read_bytes()
        except OSError:
            now = None
        if now is not None and now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return time.monotonic() - self._since > self._patience


def carry_out(order: Order) -> Finished:
    """Execute an order on this machine and return how it ended. Leaves no process behind."""
    handle = Handle(order.attempt, order.base)
    if wrong := _differences(order.packages):
        return Finished(handle, Status.FAILED, wrong, died=True)
    with _taken_back() as taken_back:
        watch = PulseWatch(order.results, order.patience)

        def asked() -> EndRequest | None:
            if taken_back.is_set():
                return GIVEN_BACK
            return asked_to_end(order.attempt) or (LOST_COORDINATOR if watch.lost() else None)

        command = worker_command(order.results, order.pipeline, order.threads)
        process = WorkerProcess(command, worker_environment(order.threads))
        try:
            process.start(handle)
            return _attend(process, handle, asked, order.grace)
        finally:
            process.kill()


def _attend(process: WorkerProcess, handle: Handle, asked: Callable[[], EndRequest | None], grace: float) -> Finished:
    """Wait for the worker's answer or death; pass a request on, and be done with a worker that does not heed it."""
    request: EndRequest | None = None
    deadline = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(process.answers, selectors.EVENT_READ)
        while True:
            if selector.select(GLANCE_SECONDS) and (news := process.read()) is not None:
                return news
            found = asked()
            if found is not None and request is None:
                process.cancel(found.status, found.reason)
                request, deadline = found, time.monotonic() + grace
            if request is not None and ((found is not None and found.now) or time.monotonic() > deadline):
                return Finished(handle, request.status, request.reason, died=True)


def _differences(wanted: dict[str, str | None]) -> str | None:
    """What is installed here in another version than where the order came from; a build (`+cpu`) makes none."""
    here = package_versions()
    wrong = [
        f"{name} {_release(here.get(name)) or 'missing'} (there {_release(version)})"
        for name, version in wanted.items()
        if _release(here.get(name)) != _release(version)
    ]
    if not wrong:
        return None
    return f"{socket.gethostname()} has other versions than the machine of `ftlab run`: {', '.join(wrong)}"


def _release(version: str | None) -> str | None:
    return version.partition("+")[0] if version else version


@contextmanager
def _taken_back() -> Iterator[threading.Event]:
    """Set when a cluster announces by a signal that it wants its machine back.

    Slurm sends SIGTERM ahead of a kill, and the signal that submitit asked for (SIGUSR2) some time before the limit.
    """
    event = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
