"""A whole sweep with SmolLM2 through the command line, killed three times while it trains, then resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftlab.decide.compare import update_comparisons
from ftlab.events import Status
from ftlab.execute.attempts import list_attempts, number, read_config, read_end
from ftlab.store.journal import read_events
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild
from ftlab.train.checkpoint import MANIFEST

SPEC = """
version: 1
name: three-kills
model: builtin:smollm2-135m-instruct
data:
  source: builtin:medical-specialty
  splits: {train: 24, validation: 8, test: 24}
task:
  type: classification
  prompt:
    - {role: system, content: Name the medical specialty of the question.}
    - {role: user, content: "{{ question }}"}
  target: "{{ label }}"
methods:
  ranked: {type: prompt, decode: choose}
  lora: {type: lora, r: 8, learning_rate: 5e-4, max_steps: 9, checkpoints: 2}
  full: {type: full, learning_rate: 3e-5, max_steps: 2, checkpoints: 1}
train: {batch_size: 2, evaluations: 0}
execute: {retries: 1}
"""
PATIENCE = 240.0
"""Seconds until something that is waited for must have happened, on a machine that is busy with other things too."""


def command(verb: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ftlab.cli", verb, *arguments]


def attempts(results: Path, method: str) -> list[Path]:
    """The attempts at the run of one method, oldest first."""
    found = [path.parent for path in results.glob("*/runs/*/a*/events.jsonl")]
    return sorted((path for path in found if read_config(path).method["type"] == method), key=number)


def checkpoints(attempt: Path, sealed: bool) -> list[Path]:
    """The checkpoints of an attempt: those that are whole, or those that are being written."""
    return [path for path in attempt.glob("checkpoints/checkpoint-*") if (path / MANIFEST).exists() == sealed]


def events(attempt: Path, type: str) -> list[dict[str, Any]]:  # noqa: A002
    return [event for event in read_events(attempt / "events.jsonl")[0] if event["type"] == type]


def trains(attempt: Path) -> bool:
    return any(event["phase"] == "train" for event in events(attempt, "progress"))


def manifests(results: Path) -> dict[Path, int]:
    """When every stage that is finished was finished."""
    return {path: path.stat().st_mtime_ns for path in results.glob("stages/*/*/COMPLETE.json")}


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the sweep ended with {process.returncode} before it was killed"
        assert time.monotonic() < deadline, "what the kill waits for did not happen"
        time.sleep(0.01)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.send_signal(signal.SIGKILL)


@pytest.mark.real
def test_a_real_sweep_killed_three_times_finishes_every_run_once(tmp_path: Path) -> None:
    """The worker in the middle of LoRA, the worker while it writes a checkpoint of all weights, the coordinator."""
    spec, results = tmp_path / "spec.yaml", tmp_path / "results"
    spec.write_text(SPEC)
    log = (tmp_path / "log.txt").open("wb")
    process = subprocess.Popen(
        command("run", str(spec), "--results", str(results)), stdout=subprocess.DEVNULL, stderr=log
    )
    coordinator = psutil.Process(process.pid)
    try:
        wait_for(lambda: any(checkpoints(attempt, sealed=True) for attempt in attempts(results, "lora")), process)
        kill(coordinator.children())
        finished = manifests(results)
        wait_for(lambda: any(checkpoints(attempt, sealed=False) for attempt in attempts(results, "full")), process)
        kill(coordinator.children())
        wait_for(lambda: any(map(trains, attempts(results, "lora")[1:])), process)
        workers = coordinator.children()
    finally:
        kill([coordinator])
        process.wait()
        log.close()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, "a worker outlived its coordinator"

    again = subprocess.run(
        command("resume", "three-kills", "--results", str(results)), capture_output=True, text=True, timeout=400
    )
    assert again.returncode == 0, again.stderr[-2000:]

    assert_every_run_is_finished_once(results)
    assert len(finished) >= 3  # the rows, and the predictions and scores of the prompt
    assert finished.items() <= manifests(results).items()
    assert_the_ledger_equals_a_rebuild(results)


def assert_every_run_is_finished_once(results: Path) -> None:
    ends = {
        method: [end.status for attempt in attempts(results, method) if (end := read_end(attempt)) is not None]
        for method in ("prompt", "lora", "full")
    }
    assert ends["prompt"] == [Status.COMPLETE]
    assert ends["lora"] == [Status.KILLED, Status.KILLED, Status.COMPLETE]
    assert ends["full"] == [Status.KILLED, Status.COMPLETE]
    for method, resumed_from in (("lora", {3, 6}), ("full", {None})):  # a torn checkpoint is not resumed from
        (weights,) = (event for event in events(attempts(results, method)[-1], "stage") if event["kind"] == "weights")
        assert weights["summary"]["resumed_from_step"] in resumed_from
    computed = Counter(
        event["key"]
        for run in results.glob("*/runs/*")
        for attempt in list_attempts(run)
        for event in events(attempt, "stage")
        if not event["cached"]
    )
    assert set(computed.values()) == {1}


def assert_the_ledger_equals_a_rebuild(results: Path) -> None:
    tables = []
    for _ in range(2):
        with Ledger(results, update_comparisons) as ledger:
            tables.append(dump_tables(ledger.connection))
        rebuild(results, update_comparisons)
    live, rebuilt = tables
    for table, rows in live.items():
        assert rows == rebuilt[table], table
    assert live["comparisons"]
