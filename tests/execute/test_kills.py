"""kill -9 of coordinators and workers at random moments, then a resume: nothing finished is lost or done again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from conftest import Sweep, wait_until

from ftlab.execute.attempts import hold_lease
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild

KILLS = 32
SEED = 20261122


def kill_a_worker(sweep: Sweep, chance: random.Random) -> int:
    """Kill a worker if there is one; returns how many."""
    workers = sweep.workers()
    if not workers:
        return 0
    with suppress(psutil.NoSuchProcess):
        chance.choice(workers).send_signal(signal.SIGKILL)
    return 1


def assert_no_work_was_repeated(sweep: Sweep) -> None:
    """No stage was begun after it stood complete, and each was finished by one computation."""
    finished = {key: path.stat().st_mtime for key, path in sweep.stages().items()}
    for line in sweep.work("begin"):
        assert line["ts"] <= finished[line["key"]], f"{line['kind']} {line['key']} was computed again"


def assert_nothing_runs(sweep: Sweep) -> None:
    for attempt in sweep.attempts():
        with hold_lease(attempt) as free:
            assert free, f"somebody still works on {attempt}"
    for pid in {line["pid"] for line in sweep.work()}:
        # A pid may have been given to a stranger since.
        with suppress(psutil.NoSuchProcess):
            assert "ftlab.execute.worker" not in psutil.Process(pid).cmdline()


def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(sweep: Callable[..., Sweep]) -> None:
    chance = random.Random(SEED)
    arms = {f"arm{n}": {"type": "fake_trained", "seconds": 0.25, "learning_rate": 0.1 / (n + 1)} for n in range(22)}
    one = sweep({"base": {"type": "fake_prompt", "seconds": 0.2}, **arms}, workers=2, retries=1)
    kills = Counter[str]()
    while kills.total() < KILLS:
        process = one.start()
        begun = len(one.work())
        # Some die on the way in, most at work.
        if chance.random() < 0.8:
            wait_until(lambda begun=begun, process=process: len(one.work()) > begun or process.poll() is not None)
        for _ in range(chance.randrange(4)):
            time.sleep(chance.uniform(0, 0.4))
            kills["worker"] += kill_a_worker(one, chance)
        time.sleep(chance.uniform(0, 0.6))
        assert process.poll() is None, "the sweep ended before it was killed enough: make it longer"
        orphans = one.workers()
        one.kill()
        kills["coordinator"] += 1
        _, alive = psutil.wait_procs(orphans, timeout=10)
        assert not alive, "a worker outlived its coordinator"

    for _ in range(3):  # a run that was killed twice in a session is left to the next one
        code, outcome = one.run()
        if code == 0:
            break
    assert code == 0, outcome
    assert kills["coordinator"] >= 8
    assert kills["worker"] >= 8

    by_run: dict[Path, list[str | None]] = defaultdict(list)
    for attempt, status in one.attempts().items():
        if (attempt / "events.jsonl").exists():
            by_run[attempt.parent].append(status)
    assert len(by_run) == 23
    for run, statuses in by_run.items():
        assert statuses.count("complete") == 1, f"{run}: {statuses}"
        assert statuses[-1] == "complete"
        assert set(statuses) <= {"complete", "killed"}
    assert_no_work_was_repeated(one)
    assert_nothing_runs(one)

    with Ledger(one.results) as ledger:
        live = dump_tables(ledger.connection)
    assert {row[0] for row in _column(one.results, "SELECT status FROM runs")} == {"complete"}
    assert not _column(one.results, "SELECT 1 FROM attempts WHERE status IN ('running', 'waiting')")
    rebuild(one.results)
    with Ledger(one.results) as ledger:
        again = dump_tables(ledger.connection)
    for table in live:
        assert live[table] == again[table], table


def test_a_worker_does_not_outlive_a_coordinator_that_is_stopped_dead(sweep: Callable[..., Sweep]) -> None:
    one = sweep({"stuck": {"type": "fake_prompt", "fault": "hang"}})
    one.start()
    wait_until(one.work)
    (worker,) = one.workers()
    assert os.getpgid(worker.pid) == worker.pid, "Ctrl-C in the terminal must not reach workers"
    one.kill()
    worker.wait(timeout=10)


def _column(results: Path, sql: str) -> list[tuple]:
    with Ledger(results) as ledger:
        return ledger.connection.execute(sql).fetchall()
