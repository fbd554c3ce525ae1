"""Races through the coordinator: who gets further seeds, kept before they run, gone on with, never given twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_searching import Grader, Judge, Killable, plan_of, sweep

from ftlab.events import Status
from ftlab.execute.attempts import list_attempts, read_config, run_folder
from ftlab.execute.base import Handle
from ftlab.execute.experiments import find_plan
from ftlab.execute.standing import read_standing
from ftlab.plan.expand import build_plan, count_runs
from ftlab.plan.run import Plan, RunConfig
from ftlab.spec.load import parse_spec

SPEC = """
version: 1
name: raced
model: ./model
data: {source: ./rows.jsonl}
task:
  type: classification
  prompt: [{role: user, content: "{{ text }}"}]
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  few: {type: prompt, shots: {grid: [1, 2, 3, 4, 5, 6]}}
  low: {type: lora, r: {grid: [1, 2, 3, 4]}}
  high: {type: lora, r: {grid: [5, 6, 7, 8]}}
seeds: {top: 2, count: 4}
"""


class Scorer(Grader):
    """An accuracy made of the shots or the rank; none for the arms that `fails` names.

    On seed 0 more is better, on further seeds less is: whoever leads, falls behind.
    """

    def __init__(self, capacity: int = 1, fails: Sequence[str] = (), direction: str = "higher") -> None:
        super().__init__(capacity)
        self.fails = fails
        self.direction = direction
        self.started: list[tuple[str, int, int]] = []
        """Method, shots or rank, seed."""

    def submit(self, attempt: Path, base: str) -> Handle:
        self.started.append(named(read_config(attempt)))
        return super().submit(attempt, base)

    def grade(self, config: RunConfig) -> float | None:
        method, size, seed = named(config)
        return None if f"{method} {size}" in self.fails else 0.5 + (size if seed == 0 else -size) / 100


def named(config: RunConfig) -> tuple[str, int, int]:
    return config.method_name, config.method.get("r") or config.method["shots"], config.seed


def raced(root: Path, spec: str = SPEC) -> Plan:
    plan_of(root, "{sampler: random, arms: 1}")  # writes the model and the rows
    return build_plan(parse_spec(spec, root / "spec.yaml"))


LEADING = {("few", 5), ("few", 6), ("low", 3), ("low", 4), ("high", 7), ("high", 8)}


@pytest.mark.parametrize("capacity", [1, 3])
def test_the_leaders_of_each_method_get_further_seeds_and_nobody_else(tmp_path: Path, capacity: int) -> None:
    plan = raced(tmp_path)
    scorer = Scorer(capacity)
    outcome = sweep(plan, tmp_path / "r", scorer)
    assert outcome.exit_code == 0
    assert {(method, size) for method, size, seed in scorer.started if seed} == LEADING
    assert all(count == 1 for count in Counter(scorer.started).values())
    seeds = Counter((method, size) for method, size, _ in scorer.started)
    assert {seeds[leader] for leader in LEADING} == {4}
    assert seeds["zero_shot", 0] == 1, "no seed changes it"
    assert len(scorer.started) == outcome.total == count_runs(parse_spec(SPEC, tmp_path / "spec.yaml"))
    stored = find_plan(tmp_path / "r")
    assert sorted(named(run) for run in stored.runs) == sorted(scorer.started)


def test_who_leads_is_settled_by_the_first_seeds_alone_and_by_the_side_that_is_better(tmp_path: Path) -> None:
    lower = Scorer(direction="lower")
    sweep(raced(tmp_path), tmp_path / "r", lower)
    leaders = {(method, size) for method, size, seed in lower.started if seed}
    assert leaders == {("few", 1), ("few", 2), ("low", 1), ("low", 2), ("high", 5), ("high", 6)}


def test_no_run_of_a_method_gets_further_seeds_before_all_its_arms_have_ended(tmp_path: Path) -> None:
    scorer = Scorer(capacity=2)
    sweep(raced(tmp_path), tmp_path / "r", scorer)
    for method in ("few", "low", "high"):
        seeds = [seed for name, _, seed in scorer.started if name == method]
        firsts = [index for index, seed in enumerate(seeds) if seed == 0]
        assert firsts == list(range(len(firsts)))


def test_a_second_session_gives_nothing_twice(tmp_path: Path) -> None:
    sweep(raced(tmp_path), tmp_path / "r", Scorer())
    for plan in (raced(tmp_path), find_plan(tmp_path / "r")):
        again = Scorer()
        assert sweep(plan, tmp_path / "r", again).total == 15 + 18
        assert again.started == []


def test_a_failed_arm_does_not_lead_and_joins_once_it_is_mended(tmp_path: Path) -> None:
    broken = Scorer(fails=["low 4"])
    assert sweep(raced(tmp_path), tmp_path / "r", broken).exit_code == 3
    assert {size for method, size, seed in broken.started if method == "low" and seed} == {2, 3}
    mended = Scorer()
    outcome = sweep(raced(tmp_path), tmp_path / "r", mended)
    assert mended.started == [("low", 4, seed) for seed in (0, 1, 2, 3)], "those that led before keep what they have"
    assert outcome.total == 15 + 18 + 3


def test_more_seeds_and_more_leaders_can_be_asked_for_later(tmp_path: Path) -> None:
    sweep(raced(tmp_path), tmp_path / "r", Scorer())
    more = Scorer()
    sweep(raced(tmp_path, SPEC.replace("{top: 2, count: 4}", "{top: 3, count: 5}")), tmp_path / "r", more)
    assert {(method, size) for method, size, seed in more.started if seed == 4} > LEADING
    assert {(method, size) for method, size, seed in more.started if seed == 1} == {("few", 4), ("low", 2), ("high", 6)}


def test_the_first_seeds_are_the_specs(tmp_path: Path) -> None:
    plan = raced(tmp_path, SPEC.replace("{top: 2, count: 4}", "{top: 1, count: 4, first: [2, 7]}"))
    scorer = Scorer()
    sweep(plan, tmp_path / "r", scorer)
    # On seeds other than 0 the smallest rank is the best.
    assert {seed for method, size, seed in scorer.started if (method, size) == ("low", 4)} == {2, 7}
    assert {seed for method, size, seed in scorer.started if (method, size) == ("low", 1)} == {2, 7, 0, 1}


def test_a_race_begins_when_the_search_has_ended_and_does_not_open_it_again(tmp_path: Path) -> None:
    plan_of(tmp_path, "{sampler: random, arms: 1}")
    text = SPEC.replace("{type: lora, r: {grid: [1, 2, 3, 4]}}", "{type: lora, r: {low: 1, high: 60}, search: SEARCH}")
    text = text.replace("SEARCH", "{sampler: random, arms: 30, stop_at: 0.7}")
    plan = build_plan(parse_spec(text, tmp_path / "spec.yaml"))
    scorer = Scorer()
    sweep(plan, tmp_path / "r", scorer)
    searched = [(size, seed) for method, size, seed in scorer.started if method == "low"]
    tried = [size for size, seed in searched if seed == 0]
    assert searched[: len(tried)] == [(size, 0) for size in tried]
    assert max(tried) >= 20, "the search has ended by its goal"
    assert len(tried) < 30
    assert {size for size, seed in searched if seed} == set(sorted(tried)[-2:])
    again = Scorer()
    sweep(plan, tmp_path / "r", again)
    assert again.started == [], "over all seeds no arm reaches the goal any more"


def test_a_leader_that_a_kill_kept_from_the_plan_gets_its_seeds_once(tmp_path: Path) -> None:
    plan = raced(tmp_path)
    once = next(arm for arm in plan.arms if arm.label == "low r=1")
    folder = tmp_path / "r" / plan.experiment_id / "race"
    folder.mkdir(parents=True)
    (folder / f"{once.arm_id}.json").write_text("{}")
    (folder / "a-that-left-the-spec.json").write_text("{}")
    scorer = Scorer()
    outcome = sweep(plan, tmp_path / "r", scorer)
    assert sorted(seed for method, size, seed in scorer.started if (method, size) == ("low", 1)) == [0, 1, 2, 3]
    assert {(method, size) for method, size, seed in scorer.started if seed} == LEADING | {("low", 1)}
    assert outcome.total == len(scorer.started) == 15 + 18 + 3


def test_without_a_race_nothing_is_given(tmp_path: Path) -> None:
    judge = Judge()
    sweep(plan_of(tmp_path, "{sampler: random, arms: 3}"), tmp_path / "r", judge)
    assert len(judge.shots) == 3
    assert not list((tmp_path / "r").glob("*/race"))


def test_a_killed_race_loses_nothing_and_gives_nothing_twice(tmp_path: Path) -> None:
    plan = raced(tmp_path)
    results = tmp_path / "r"
    killable = Killable(plan, tmp_path, seconds=0.1)
    folder = results / plan.experiment_id / "race"
    for wanted in (1, 3, 5):
        killable.kill_when(lambda wanted=wanted: len(list(folder.glob("*.json"))) >= wanted)
    kept = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    killable.finish()
    files = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    assert kept.items() <= files.items(), "a leader stays as it was kept"
    assert len(files) == 6
    stored = find_plan(results)
    assert {run.status for run in read_standing(results, stored).runs} == {Status.COMPLETE}
    assert len(stored.runs) == len({run.run_id for run in stored.runs}) == 15 + 18
    assert Counter(run.arm_id for run in stored.runs if run.seed) == Counter(
        dict.fromkeys((file.removesuffix(".json") for file in files), 3)
    )
    ends = [json.loads(line) for line in (results / "work.log").read_text().splitlines()]
    assert max(Counter(one["key"] for one in ends if one["what"] == "end").values()) == 1, "no stage was computed twice"
    attempts = [list_attempts(run_folder(results, run)) for run in stored.runs]
    assert sum(map(len, attempts)) <= 33 + 3, "a kill costs the run that it hit, no other"
