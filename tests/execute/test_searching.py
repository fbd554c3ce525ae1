"""Searches through the coordinator: proposed, kept, run, gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import wait_until
from small_spec import spec_of
from test_coordinator import NoBooks

from ftlab.events import EventType, Status
from ftlab.execute.attempts import read_config
from ftlab.execute.base import Finished, Handle
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.coordinator import Coordinator, Outcome
from ftlab.execute.experiments import find_plan
from ftlab.execute.progress import Silent
from ftlab.execute.stages import StageStore
from ftlab.execute.standing import read_standing
from ftlab.plan.expand import build_plan, count_runs
from ftlab.plan.run import Plan, RunConfig
from ftlab.store.journal import EventWriter

SPEC = """
version: 1
name: searched
model: ./model
data: {source: ./rows.jsonl}
task:
  type: classification
  prompt: [{role: user, content: "{{ text }}"}]
  target: "{{ label }}"
methods:
  found:
    type: prompt
    shots: {low: 0, high: 40}
    search: SEARCH
"""


class Grader:
    """Ends every attempt at once, complete with the accuracy that `grade` gives it, or failed where that is None."""

    warm = ()
    direction = "higher"

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = capacity
        self._running: list[Handle] = []

    def grade(self, config: RunConfig) -> float | None:
        raise NotImplementedError

    def submit(self, attempt: Path, base: str) -> Handle:
        self._running.append(Handle(attempt, base))
        return self._running[-1]

    def poll(self, timeout: float) -> list[Finished]:
        handle = self._running.pop(0)
        config = read_config(handle.attempt)
        value = self.grade(config)
        with EventWriter(handle.attempt / "events.jsonl") as write:
            write(EventType.ATTEMPT_STARTED, run_id=config.run_id, attempt=1, pid=1, host="h", provenance={})
            if value is not None:
                stages = StageStore(handle.attempt.parents[3])
                for stage in config.stages:
                    stages.produce(stage.kind, stage.key, lambda out: {})
                row = {"key": "accuracy", "value": value, "direction": self.direction}
                write(EventType.METRICS, split="validation", rows=[row])
            status, reason = (Status.FAILED, "told to") if value is None else (Status.COMPLETE, None)
            write(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=None)
        return [Finished(handle, status, reason)]

    def cancel(self) -> None:
        return None

    def close(self) -> None:
        return None


class Judge(Grader):
    """An accuracy that is best at 30 shots; none where `fails` says so."""

    def __init__(self, capacity: int = 1, fails: frozenset[int] = frozenset()) -> None:
        super().__init__(capacity)
        self.fails = fails
        self.shots: list[int] = []

    def submit(self, attempt: Path, base: str) -> Handle:
        self.shots.append(read_config(attempt).method["shots"])
        return super().submit(attempt, base)

    def grade(self, config: RunConfig) -> float | None:
        shots = config.method["shots"]
        return None if shots in self.fails else 1 - abs(shots - 30) / 100


def plan_of(root: Path, search: str) -> Plan:
    loaded = spec_of(root, SPEC.replace("SEARCH", search))
    assert count_runs(loaded) == loaded.searches[0].search.arms
    return build_plan(loaded)


def sweep(plan: Plan, results: Path, grader: Grader) -> Outcome:
    return Coordinator(plan, results, grader, Bookkeeping(NoBooks()), Silent()).run()


class Killable:
    """`ftlab run` of one plan with fake stages, in a process of its own that can be killed."""

    def __init__(self, plan: Plan, root: Path, seconds: float) -> None:
        (root / "plan.json").write_text(plan.model_dump_json())
        code = (
            "import sys; from pathlib import Path; from ftlab.cli.run import execute_plan;"
            "from ftlab.plan.run import Plan; plan = Plan.model_validate_json(Path(sys.argv[1]).read_bytes());"
            "sys.exit(execute_plan(plan, Path(sys.argv[2]), pipeline='ftlab.testing.fakes:FakePipeline'))"
        )
        self._command = [sys.executable, "-c", code, str(root / "plan.json"), str(root / "r")]
        self._environment = {**os.environ, "FTLAB_FAKE": json.dumps({"*": {"seconds": seconds}})}

    def kill_when(self, condition: Callable[[], bool]) -> None:
        process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(condition, 90)
        process.kill()
        process.wait()

    def finish(self) -> None:
        done = subprocess.run(
            self._command, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_search_runs_to_its_end_and_is_in_the_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{sampler: tpe, arms: 14}")
    judge = Judge()
    outcome = sweep(plan, tmp_path / "r", judge)
    assert (outcome.total, len(set(judge.shots)), outcome.exit_code) == (14, 14, 0)
    stored = find_plan(tmp_path / "r")
    assert [arm.varied["shots"] for arm in stored.arms] == judge.shots
    assert min(abs(shots - 30) for shots in judge.shots) <= 3, "what was measured steers what is proposed"


def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = Judge()
    sweep(plan_of(tmp_path, "{sampler: tpe, arms: 12}"), tmp_path / "whole", whole)
    first, second = Judge(), Judge()
    sweep(plan_of(tmp_path, "{sampler: tpe, arms: 5}"), tmp_path / "r", first)
    sweep(plan_of(tmp_path, "{sampler: tpe, arms: 12}"), tmp_path / "r", second)
    assert not set(first.shots) & set(second.shots)
    assert len(first.shots + second.shots) == len(whole.shots) == 12
    again = Judge()
    assert sweep(plan_of(tmp_path, "{sampler: tpe, arms: 12}"), tmp_path / "r", again).already_done == 12
    assert again.shots == []


def test_a_proposal_that_a_kill_kept_from_the_plan_is_run_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{sampler: random, arms: 3}")
    folder = tmp_path / "r" / plan.experiment_id / "search" / plan.searches[0].search_id
    folder.mkdir(parents=True)
    (folder / "00000.json").write_text(json.dumps({"number": 0, "values": {"shots": 7}, "notes": {}, "ts": 1.0}))
    judge = Judge()
    sweep(plan, tmp_path / "r", judge)
    assert judge.shots[0] == 7
    assert len(judge.shots) == len(set(judge.shots)) == 3


def test_failed_arms_are_tried_again_by_the_next_session(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{sampler: random, arms: 4}")
    broken = Judge(fails=frozenset(range(41)))
    assert sweep(plan, tmp_path / "r", broken).exit_code == 3
    mended = Judge()
    assert sweep(find_plan(tmp_path / "r"), tmp_path / "r", mended).exit_code == 0
    assert mended.shots == broken.shots


def test_a_search_ends_when_it_is_good_enough(tmp_path: Path) -> None:
    judge = Judge()
    sweep(plan_of(tmp_path, "{sampler: random, arms: 30, stop_at: 0.8}"), tmp_path / "r", judge)
    assert [abs(shots - 30) <= 20 for shots in judge.shots].index(True) == len(judge.shots) - 1


def test_a_killed_search_loses_nothing_and_proposes_nothing_twice(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{sampler: tpe, arms: 8}")
    results = tmp_path / "r"
    killable = Killable(plan, tmp_path, seconds=0.2)
    folder = results / plan.experiment_id / "search" / plan.searches[0].search_id
    for proposals in (2, 4):
        killable.kill_when(lambda wanted=proposals: len(list(folder.glob("*.json"))) >= wanted)
    kept = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    killable.finish()
    files = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    assert kept.items() <= files.items(), "a proposal stays as it was made"
    values = [json.loads(data)["values"]["shots"] for data in files.values()]
    assert len(set(values)) == len(values) == 8
    stored = find_plan(results)
    assert sorted(arm.varied["shots"] for arm in stored.arms) == sorted(values)
    assert {run.status for run in read_standing(results, stored).runs} == {Status.COMPLETE}
