"""A whole sweep with SmolLM2 through the command line, killed three times while it trains, then resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftlab.decide.compare import update_comparisons
from ftlab.execute.attempts import list_attempts, read_end
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild

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
  lora: {type: lora, r: 8, learning_rate: 5e-4}
  full: {type: full, learning_rate: 3e-5, checkpoints: 0}
train: {batch_size: 4, checkpoints: 2, evaluations: 1}
benchmarks: {tasks: [builtin:openbookqa], limit: 4}
decision: {max_forgetting: 0.5}
"""


def command(verb: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ftlab.cli", verb, *arguments]


def start(folder: Path) -> subprocess.Popen[bytes]:
    arguments = command("run", str(folder / "spec.yaml"), "--results", str(folder / "results"))
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def events(attempt: Path) -> list[dict[str, Any]]:
    whole = (attempt / "events.jsonl").read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.endswith(b"}")]


def training_attempts(results: Path) -> list[Path]:
    """Attempts that have told a step of training and have not ended."""
    return [
        path.parent
        for path in results.glob("*/runs/*/a*/events.jsonl")
        if read_end(path.parent) is None and any(event.get("phase") == "train" for event in events(path.parent))
    ]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if found := condition():
            return found
        assert process.poll() is None, f"the sweep ended with {process.returncode} before it was killed"
        time.sleep(0.05)
    raise AssertionError("no training was seen")


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], timeout=20)


@pytest.mark.real
def test_a_real_sweep_killed_three_times_finishes_every_run_once(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    results = tmp_path / "results"
    killed: list[Path] = []
    for victim in ("worker", "coordinator", "coordinator"):
        process = start(tmp_path)
        (attempt,) = wait_for(lambda: set(training_attempts(results)) - set(killed), process)
        killed.append(attempt)
        coordinator = psutil.Process(process.pid)
        workers = coordinator.children()
        for target in workers if victim == "worker" else [coordinator]:
            kill(target)
        if victim == "worker":  # the sweep goes on with the next run; that one is stopped with its coordinator
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        psutil.wait_procs(workers, timeout=20)

    finished = subprocess.run(
        command("resume", "three-kills", "--results", str(results)), capture_output=True, text=True, timeout=400
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "ranked" in finished.stdout

    ends = [
        [end.status for attempt in list_attempts(run) if (end := read_end(attempt))] for run in results.glob("*/runs/*")
    ]
    assert len(ends) == 3
    assert all(statuses.count("complete") == 1 and statuses[-1] == "complete" for statuses in ends), ends
    assert sum(statuses.count("killed") for statuses in ends) >= 3
    computed = [
        (event["kind"], event["key"])
        for path in results.glob("*/runs/*/a*/events.jsonl")
        for event in events(path.parent)
        if event["type"] == "stage" and not event["cached"]
    ]
    assert len(computed) == len(set(computed)), "a finished stage was computed again"
    with Ledger(results, update_comparisons) as ledger:
        live = dump_tables(ledger.connection)
    rebuild(results, update_comparisons)
    with Ledger(results, update_comparisons) as ledger:
        again = dump_tables(ledger.connection)
    for table, rows in live.items():
        assert rows == again[table], table
    assert len(live["comparisons"]) > 0
