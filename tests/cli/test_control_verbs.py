"""`ftlab stop`, `retry` and `status --watch` as a user meets them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from ftlab.testing.fake_pipeline import read_work


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def begun(desk: Desk, kind: str) -> Callable[[], bool]:
    return lambda: any(line["kind"] == kind for line in read_work(desk.results))


@pytest.mark.parametrize("options", [[], ["--now"]])
def test_a_sweep_is_stopped_from_another_terminal_and_goes_on_where_it_was(desk: Desk, options: list[str]) -> None:
    process = desk.start("run", "spec.yaml", fake={"*": {"seconds": 3}})
    wait_for(begun(desk, "predictions"))
    stopped = desk("stop", *options)
    assert stopped.returncode == 0, stopped.stderr
    assert f"asked process {process.pid} to stop {'at once' if options else 'at its next step'}" in stopped.stderr
    assert stopped.stdout == "stopped; continue with: ftlab resume\n"
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in out
    assert json.loads(desk("status", "--json").stdout)["by_status"] == {"waiting": 2, "cancelled": 1}

    assert desk("resume").returncode == 0
    done = Counter((line["kind"], line["key"]) for line in read_work(desk.results) if line["what"] == "end")
    assert set(done.values()) == {1}, "no stage is computed twice"

    idle = desk("stop")
    assert idle.returncode == 2
    assert "there is nothing to stop" in idle.stderr


def test_one_that_does_not_end_in_time_is_said(desk: Desk) -> None:
    process = desk.start("run", "spec.yaml", fake={"*": {"seconds": 60}})
    wait_for(begun(desk, "predictions"))
    late = desk("stop", "--wait", "0")
    assert late.returncode == 2
    assert f"process {process.pid} has not ended within 0 s" in late.stderr
    assert desk("stop", "--now", "--json").returncode == 0
    process.communicate(timeout=30)


def test_only_what_failed_is_tried_again(desk: Desk) -> None:
    failing = {"lora": {"fault": "usage", "fault_times": 1}}
    assert desk("run", "spec.yaml", fake=failing).returncode == 3
    plan = next(desk.results.glob("colours-*/resolved.json"))
    before = plan.read_bytes()
    runs = json.loads(desk("ls", "latest", "--json").stdout)["runs"]
    first, second = [run["run_id"] for run in runs if run["status"] == "failed"]

    one = desk("retry", "--run", first[:6], fake=failing)
    assert one.returncode == 0, one.stderr
    assert "trying 1 run again" in one.stderr
    assert one.stdout.startswith("1 of 1 run done")
    status = {run["run_id"]: run["status"] for run in json.loads(desk("ls", "latest", "--json").stdout)["runs"]}
    assert (status[first], status[second]) == ("complete", "failed")

    rest = desk("retry", "--failed", fake=failing)
    assert rest.returncode == 0, rest.stderr
    assert json.loads(desk("status", "--json").stdout)["by_status"] == {"complete": 3}
    assert plan.read_bytes() == before, "the plan on record stays whole"
    nothing = desk("retry", "--failed")
    assert (nothing.returncode, nothing.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "say which: --failed"),
        (["--failed", "--run", "r1"], "say which: --failed"),
        (["--run", "nothing"], "no run begins with 'nothing' in colours-"),
        (["--run", "r"], "3 runs begin with 'r' in colours-"),
    ],
)
def test_what_cannot_be_tried_again_is_one_sentence(desk: Desk, arguments: list[str], words: str) -> None:
    assert desk("run", "spec.yaml").returncode == 0
    done = desk("retry", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    run = json.loads(desk("ls", "latest", "--json").stdout)["runs"][0]["run_id"]
    assert "is complete; nothing to try again" in desk("retry", "--run", run).stderr


def test_a_sweep_is_watched_to_its_end(desk: Desk) -> None:
    process = desk.start("run", "spec.yaml", fake={"*": {"seconds": 2}})
    wait_for(begun(desk, "predictions"))
    watched = desk("status", "--watch")
    process.communicate(timeout=60)
    blocks = watched.stdout.split("\n\n")
    assert watched.returncode == 0
    assert len(blocks) >= 3
    assert f"process {process.pid} on" in blocks[0]
    assert "spent so far: " in blocks[0]
    assert "nobody works on it; 3 runs: 3 complete" in blocks[-1]
    assert "best so far: " in blocks[-1]
    assert "(95% CI " in blocks[-1]

    again = desk("status", "--watch")
    assert again.stdout.strip() == blocks[-1].strip(), "nobody works on it: shown once"
    assert desk("status", "--watch", "--json").returncode == 2


def test_what_a_sweep_took_is_priced(desk: Desk) -> None:
    spec = desk.folder / "spec.yaml"
    spec.write_text(spec.read_text() + "prices: {machine_hour: 3600.0, currency: €}\n", encoding="utf-8")
    done = desk("run", "spec.yaml", fake={"*": {"seconds": 0.2}})
    assert done.returncode == 0, done.stderr
    assert "spent so far: " in done.stdout
    assert " of computing, €" in done.stdout
    facts = json.loads(desk("status", "--json").stdout)
    assert facts["spent_seconds"] >= 5 * 0.2, "three predictions and two trainings"
    assert facts["best"]["low"] <= facts["best"]["value"] <= facts["best"]["high"]
