"""Keep the ledger up to date while a sweep runs: take in the journals, publish snapshots, neither too often.

It happens in a thread of its own, so that a worker that has just finished never waits for the books before it is given
the next run.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

TICK_SECONDS = 0.2
INGEST_SECONDS = 1.0
RUN_END_SECONDS = 0.5
"""The end of a run is published at once, unless runs end faster than this."""
PUBLISH_SHARE = 0.1
"""A snapshot is put off until writing it takes at most this share of the time."""


class Books(Protocol):
    """What is needed of the ledger (`ftlab.store.ledger.Ledger`)."""

    def ingest(self) -> Any:
        """Take in what the journals have new, some of it when it is much."""

    def catch_up(self) -> Any:
        """Take in all of it."""

    def publish_if_due(self) -> int | None:
        """Publish a snapshot if there is news and the last one is old enough."""

    def publish(self) -> int:
        """Publish a snapshot if there is news."""


class Bookkeeping:
    """Uses the ledger from one thread at a time: its own between `start` and `finish`, else the caller's."""

    def __init__(self, ledger: Books) -> None:
        self._ledger = ledger
        self._thread: threading.Thread | None = None
        self._run_ended = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._ingest_at = 0.0
        self._publish_at = 0.0

    def start(self) -> None:
        """Begin to keep the books."""
        self._thread = threading.Thread(target=self._keep, name="bookkeeping", daemon=True)
        self._thread.start()

    def run_ended(self) -> None:
        """A run ended: people should see it soon."""
        self._run_ended.set()

    def check(self) -> None:
        """Raise what went wrong in the thread, StorageError for a full disk."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the thread after what it is doing now. May be repeated."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self) -> None:
        """End the thread, take in the last events and publish them. Raises StorageError."""
        self.stop()
        self.check()
        self._ledger.catch_up()
        self._ledger.publish()

    def _keep(self) -> None:
        try:
            while not self._stop.wait(TICK_SECONDS):
                self._tick()
        except BaseException as error:
            self._error = error

    def _tick(self) -> None:
        now = time.monotonic()
        if self._run_ended.is_set() and now >= self._publish_at:
            self._run_ended.clear()
            self._ledger.ingest()
            self._publish()
        elif now >= self._ingest_at:
            self._ledger.ingest()
            self._ledger.publish_if_due()
        else:
            return
        self._ingest_at = time.monotonic() + INGEST_SECONDS

    def _publish(self) -> None:
        started = time.monotonic()
        self._ledger.publish()
        now = time.monotonic()
        self._publish_at = now + max(RUN_END_SECONDS, (now - started) / PUBLISH_SHARE)
