"""What attends to a worker on another machine: requests, the coordinator's pulse, versions."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from ftlab.events import Status
from ftlab.execute import remote
from ftlab.execute.attempts import ask_to_end, create_attempt, hold_lease, read_end
from ftlab.execute.base import Finished
from ftlab.execute.provenance import package_versions
from ftlab.execute.remote import LOST_COORDINATOR, Order, Pulse, PulseWatch, carry_out
from ftlab.testing.executor_contract import FAKE_PIPELINE
from ftlab.testing.fake_pipeline import read_work
from ftlab.testing.fakes import fake_plan


def order(
    results: Path, patience: float = 60, packages: dict[str, str | None] | None = None, **fields: object
) -> Order:
    config = fake_plan({"a": {"type": "fake_prompt", **fields}}, benchmarks=()).runs[0]
    attempt = create_attempt(results, config)
    packages = package_versions() if packages is None else packages
    return Order(results, attempt, "base", FAKE_PIPELINE, 1, packages, patience=patience, grace=1)


def test_a_coordinator_that_beats_no_more_ends_the_run_at_its_next_step(tmp_path: Path) -> None:
    one = order(tmp_path, patience=1.5, seconds=60)
    end = carry_out(one)
    assert (end.status, end.reason) == (Status.KILLED, LOST_COORDINATOR.reason)
    with hold_lease(one.attempt) as free:
        assert free


def test_a_worker_that_does_not_heed_a_request_is_ended(tmp_path: Path) -> None:
    one = order(tmp_path, fault="hang")

    def ask_once_it_hangs() -> None:
        while not any(line["kind"] == "predictions" for line in read_work(tmp_path)):
            time.sleep(0.05)
        ask_to_end(one.attempt, Status.CANCELLED, "enough")

    asker = threading.Thread(target=ask_once_it_hangs)
    asker.start()
    end = carry_out(one)
    asker.join()
    assert (end.status, end.reason, end.died) == (Status.CANCELLED, "enough", True)
    assert read_end(one.attempt) is None, "the coordinator writes it"


def test_other_versions_are_refused_by_name_and_other_builds_are_not(tmp_path: Path) -> None:
    versions = package_versions()
    wrong = carry_out(order(tmp_path, packages={**versions, "torch": "1.0.0", "trl": None}))
    assert wrong.status is Status.FAILED
    assert f"torch {(versions['torch'] or '').partition('+')[0]} (there 1.0.0)" in (wrong.reason or "")
    build = f"{(versions['torch'] or '').partition('+')[0]}+cu130"
    right: Finished = carry_out(order(tmp_path / "other", packages={**versions, "torch": build}))
    assert right.status is Status.COMPLETE


def test_a_pulse_is_told_by_its_changes_whatever_the_clocks_say(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(remote, "BEAT_SECONDS", 0.05)
    watch = PulseWatch(tmp_path, patience=0.5)
    pulse = Pulse(tmp_path)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for _ in range(15):
        time.sleep(0.1)
        assert not watch.lost()
    pulse.stop()
    time.sleep(0.2)
    assert not watch.lost(), "it may be late"
    deadline = time.monotonic() + 10
    while not watch.lost():
        assert time.monotonic() < deadline
        time.sleep(0.05)
