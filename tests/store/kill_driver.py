"""Kills writers, the ingester and readers at random instants; run as a program by test_store_kills.

Each is a forked child of this process, which itself opens no database, so a kill costs milliseconds. Prints as JSON how
many events the writers were sure of, per journal, and how often a reader failed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ftlab.events import EventType
from ftlab.store import ingest
from ftlab.store.journal import EventWriter
from ftlab.store.ledger import Ledger
from ftlab.store.snapshot import NoSnapshotError, open_snapshot


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child; its exit code is 0 when it returns."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def write_on(journal: Path, acknowledge: int) -> None:
    """Append curve points for ever, one byte into the pipe for each that the writer was sure of."""
    with EventWriter(journal) as writer:
        while True:
            writer(EventType.CURVE, step=time.monotonic_ns(), values={"train/loss": 1.0})
            os.write(acknowledge, b".")
            if random.random() < 0.3:
                time.sleep(0.002)


def ingest_on(results: Path) -> None:
    """What `ftlab run` does, without rest."""
    ingest.TICK_BYTES = 20_000
    with Ledger(results) as ledger:
        while True:
            ledger.ingest()
            ledger.publish()


def read_once(results: Path) -> None:
    """A page that looks at the newest snapshot."""
    try:
        with open_snapshot(results) as snapshot:
            rows = snapshot.cursor().execute("SELECT count(*), count(DISTINCT (run_id, step)) FROM curves").fetchall()
            assert rows[0][0] == rows[0][1]
    except NoSnapshotError:
        pass


def drain(pipe: int) -> int:
    total = 0
    while True:
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return total
        total += len(data)


def main(results: Path, seed: int, kills: int, seconds: float) -> None:
    draw = random.Random(seed)
    journals = sorted(results.glob("*/runs/*/a1/events.jsonl"))
    pipes = [os.pipe() for _ in journals]
    for read, _ in pipes:
        os.set_blocking(read, False)
    sure = [0] * len(journals)
    writers = [fork(lambda i=i: write_on(journals[i], pipes[i][1])) for i in range(len(journals))]
    ingester = fork(lambda: ingest_on(results))
    failed_reads = 0
    for _ in range(kills):
        time.sleep(draw.uniform(0.0, seconds))
        victim = draw.randrange(2 * len(journals))
        if victim < len(journals):
            kill(writers[victim])
            sure[victim] += drain(pipes[victim][0])
            writers[victim] = fork(lambda i=victim: write_on(journals[i], pipes[i][1]))
        else:
            kill(ingester)
            failed_reads += os.waitpid(fork(lambda: read_once(results)), 0)[1] != 0
            ingester = fork(lambda: ingest_on(results))
        for index, (read, _write) in enumerate(pipes):
            sure[index] += drain(read)
    kill(ingester)
    for index, writer in enumerate(writers):
        kill(writer)
        sure[index] += drain(pipes[index][0])
    print(json.dumps({"sure": sure, "failed_reads": failed_reads}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
