"""Searches that end hopeless arms: through coordinator, workers and files, with a pipeline that only sleeps."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import small_spec
from conftest import wait_until

from ftlab.events import EventType, Status
from ftlab.execute.attempts import close_attempt, create_attempt, list_attempts, read_end, run_folder
from ftlab.execute.experiments import find_plan
from ftlab.execute.pruning import PRUNE_FILE, Verdict, read_verdict, trained, write_verdict
from ftlab.execute.standing import read_standing
from ftlab.plan.run import Plan
from ftlab.search.session import SearchSession
from ftlab.store.journal import EventWriter, read_events

SPEC = """
version: 1
name: pruned
model: ./model
data: {source: ./rows.jsonl, splits: SPLITS}
task:
  type: classification
  prompt: [{role: user, content: "{{ text }}"}]
  target: "{{ label }}"
seeds: SEEDS
methods:
  found:
    type: lora
    evaluations: 5
    learning_rate: {choice: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]}
    search: {sampler: grid, arms: ARMS, pruner: {type: successive_halving, reduction_factor: 2}}
"""
CODE = (
    "import sys; from pathlib import Path; from ftlab.cli.run import execute_plan; from ftlab.plan.run import Plan;"
    "plan = Plan.model_validate_json(Path(sys.argv[1]).read_bytes());"
    "sys.exit(execute_plan(plan, Path(sys.argv[2]), pipeline='ftlab.testing.fakes:FakePipeline'))"
)


def plan_of(root: Path, arms: int = 6, seeds: str = "[0]", splits: str = "{}") -> Plan:
    text = SPEC.replace("SEEDS", seeds).replace("ARMS", str(arms)).replace("SPLITS", splits)
    plan = small_spec.plan_of(root, text)
    (root / "plan.json").write_text(plan.model_dump_json())
    return plan


def start(root: Path, seconds: float = 3.0) -> subprocess.Popen[str]:
    """A whole `ftlab run` of its own; the validation loss is worse the higher the learning rate."""
    told = json.dumps({"*": {"seconds": seconds, "loss": "learning_rate"}})
    command = [sys.executable, "-c", CODE, str(root / "plan.json"), str(root / "r")]
    return subprocess.Popen(
        command,
        env={**os.environ, "FTLAB_FAKE": told},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def statuses(root: Path) -> dict[float, Status]:
    plan = find_plan(root / "r")
    rates = {arm.label: arm.varied["learning_rate"] for arm in plan.arms if arm.varied}
    return {rates[run.label]: run.status for run in read_standing(root / "r", plan).runs if run.label in rates}


def events_of(root: Path, plan: Plan) -> list[list[dict[str, Any]]]:
    attempts = [list_attempts(run_folder(root / "r", run)) for run in plan.runs]
    return [read_events(found[-1] / "events.jsonl")[0] for found in attempts if found]


def test_hopeless_arms_are_rows_with_step_reason_curve_and_cost(tmp_path: Path) -> None:
    plan_of(tmp_path)
    process = start(tmp_path)
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 0, said
    found = statuses(tmp_path)
    assert found[0.1] is Status.COMPLETE
    assert [found[rate] for rate in (0.2, 0.3, 0.4, 0.5, 0.6)] == [Status.PRUNED] * 5, said
    assert "5 pruned" in said
    for events in events_of(tmp_path, find_plan(tmp_path / "r")):
        if events[-1].get("status") == Status.PRUNED:
            assert events[-1]["reason"].startswith("stopped at step ")
            assert "a validation loss of" in events[-1]["reason"]
            points = [event["values"] for event in events if event["type"] == EventType.CURVE]
            assert 0 < len(points) < 5
            assert points[-1]["cost/train_tokens"] > 0
    again = start(tmp_path)
    said = again.communicate(timeout=60)[0]
    assert again.returncode == 0, said
    assert "1 of 6 runs done, nothing was left to do, 5 pruned" in said
    assert statuses(tmp_path) == found
    assert all(len(list_attempts(run_folder(tmp_path / "r", run))) == 1 for run in find_plan(tmp_path / "r").runs)


def test_a_kill_between_verdict_and_end_leaves_the_run_given_up(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, arms=2)
    process = start(tmp_path, seconds=20.0)
    wait_until(lambda: list((tmp_path / "r" / plan.experiment_id).glob("runs/*/a1/lease")), 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run = next(run for run in find_plan(tmp_path / "r").runs if list_attempts(run_folder(tmp_path / "r", run)))
    attempt = list_attempts(run_folder(tmp_path / "r", run))[-1]
    write_verdict(attempt, Verdict(1, "hopeless"))
    after = start(tmp_path, seconds=0.0)
    said = after.communicate(timeout=120)[0]
    assert after.returncode == 0, said
    end = read_end(attempt)
    assert end is not None
    assert (end.status, end.reason) == (Status.PRUNED, "stopped at step 1: hopeless")
    assert list_attempts(run_folder(tmp_path / "r", run)) == [attempt], "nobody tries it again"


@pytest.mark.parametrize("content", [b"", b"{", b'{"step": 1}', b'{"step": "x", "reason": "y"}', b"[]", b"\xff"])
def test_a_torn_verdict_means_go_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PRUNE_FILE).write_bytes(content)
    assert read_verdict(tmp_path) is None


def test_a_verdict_that_comes_when_the_weights_stand_changes_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    run = SearchSession(plan, tmp_path / "r").propose()[0]
    for through, status in (("weights", Status.KILLED), ("candidates", Status.KILLED), ("dataset", Status.PRUNED)):
        attempt = create_attempt(tmp_path / "r", run)
        with EventWriter(attempt / "events.jsonl") as write:
            stage = {"kind": through, "name": "", "key": "k", "cached": False, "seconds": 1.0, "bytes": 1}
            write(EventType.STAGE, **stage, summary={})
        write_verdict(attempt, Verdict(3, "hopeless"))
        close_attempt(attempt, Status.KILLED, "killed")
        end = read_end(attempt)
        assert end is not None
        assert end.status is status


def test_the_first_seed_decides_for_its_arm(tmp_path: Path) -> None:
    plan_of(tmp_path, arms=2, seeds="[0, 1]")
    process = start(tmp_path)
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 0, said
    plan = find_plan(tmp_path / "r")
    by_label = {run.label: run for run in read_standing(tmp_path / "r", plan).runs}
    lost = by_label["found learning_rate=0.2 seed=1"]
    assert by_label["found learning_rate=0.1 seed=1"].status is Status.COMPLETE
    assert lost.status is Status.PRUNED
    assert lost.reason is not None
    assert "its arm was given up at seed 0, stopped at step" in lost.reason


def test_the_first_fold_decides_for_its_arm_and_only_a_whole_arm_leads_a_race(tmp_path: Path) -> None:
    plan_of(tmp_path, arms=2, seeds="{top: 1, count: 2}", splits="{folds: 2}")
    process = start(tmp_path)
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 0, said
    plan = find_plan(tmp_path / "r")
    found = {run.label: run for run in read_standing(tmp_path / "r", plan).runs}
    assert {label: run.status for label, run in found.items()} == {
        **{f"found learning_rate=0.1 seed={seed} fold={fold}": Status.COMPLETE for seed in (0, 1) for fold in (0, 1)},
        **{f"found learning_rate=0.2 fold={fold}": Status.PRUNED for fold in (0, 1)},
    }
    reason = found["found learning_rate=0.2 fold=1"].reason
    assert reason is not None
    assert "its arm was given up at seed 0, fold 0, stopped at step" in reason
    assert SearchSession(plan, tmp_path / "r").propose() == [], "what the race added is no business of the search"


def test_kills_at_any_moment_lose_nothing_and_run_nothing_given_up_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    draw = random.Random(0)
    given_up: dict[str, str] = {}
    for _ in range(6):
        process = start(tmp_path, seconds=2.0)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(1.5, 5.0))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for verdict in (tmp_path / "r" / plan.experiment_id).glob(f"runs/*/a*/{PRUNE_FILE}"):
            if not trained(verdict.parent):
                given_up[verdict.parents[1].name] = verdict.parent.name
    assert start(tmp_path, seconds=2.0).wait(180) == 0
    stored = find_plan(tmp_path / "r")
    assert len(stored.runs) == len({run.run_id for run in stored.runs}) == 6
    for run in stored.runs:
        attempts = list_attempts(run_folder(tmp_path / "r", run))
        ends = [read_end(attempt) for attempt in attempts]
        assert [end.status for end in ends if end is not None][-1] in (Status.COMPLETE, Status.PRUNED)
        assert sum(end is not None and end.status in (Status.COMPLETE, Status.PRUNED) for end in ends) == 1
        if run.run_id in given_up:
            assert attempts[-1].name == given_up[run.run_id], "no attempt follows one that was given up"
    assert statuses(tmp_path)[0.1] is Status.COMPLETE
