"""Clones in plans: which seeds, folds and weights they have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.plan.clone import cloned, make_clone
from ftlab.plan.expand import build_plan
from ftlab.plan.run import Arm, Plan
from ftlab.spec.load import parse_spec
from ftlab.testing.tiny import tiny_model, tiny_rows

SPEC = """
version: 1
name: cloned
model: ./model
data: {source: ./rows.jsonl, splits: {test: 6, SPLIT}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [2, 4]}}
seeds: SEEDS
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spec")
    tiny_model(folder / "model")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(48)))
    return folder


def plan_of(folder: Path, split: str = "validation: 12", seeds: str = "[0]") -> Plan:
    return build_plan(parse_spec(SPEC.replace("SPLIT", split).replace("SEEDS", seeds), folder / "spec.yaml"))


def test_each_fold_starts_from_the_weights_that_have_not_seen_what_it_holds_out(folder: Path) -> None:
    plan = plan_of(folder, "folds: 3", "[0, 1]")
    parent = next(run for run in plan.runs if run.method_name == "lora" and (run.seed, run.fold) == (1, 2))
    siblings = {run.fold: run for run in plan.runs if run.arm_id == parent.arm_id and run.seed == 1}
    runs = cloned(plan, make_clone(plan, parent, [], warm=True)).runs[len(plan.runs) :]
    assert {(run.seed, run.fold) for run in runs} == {(seed, fold) for seed in (0, 1) for fold in range(3)}
    assert all(run.start == siblings[run.fold].key("weights") for run in runs)
    assert all(run.key("dataset") == siblings[run.fold].key("dataset") for run in runs)
    assert len({run.key("weights") for run in (*plan.runs, *runs) if run.key("weights")}) == 6 + 6 + 6


def test_a_clone_of_a_race_has_the_seeds_that_every_arm_has(folder: Path) -> None:
    plan = plan_of(folder, seeds="{top: 1, count: 4}")
    parent = next(run for run in plan.runs if run.method_name == "lora")
    runs = cloned(plan, make_clone(plan, parent, ["r=8"], warm=False)).runs[len(plan.runs) :]
    assert [run.seed for run in runs] == [0]


def test_it_is_the_arm_that_the_spec_would_have_made(folder: Path) -> None:
    plan = plan_of(folder)
    parent = next(run for run in plan.runs if run.method_name == "lora")
    made = make_clone(plan, parent, ["r=8", "lora_alpha=16"], warm=False)
    wider = build_plan(
        parse_spec(
            SPEC.replace("SPLIT", "validation: 12").replace("SEEDS", "[0]").replace("[2, 4]", "[2, 4, 8]"),
            folder / "spec.yaml",
        )
    )
    assert made.arm_id in {arm.arm_id for arm in wider.arms}
    assert cloned(wider, made) is wider, "an arm is tried once, whoever asked for it"


def test_plans_of_before_there_were_clones_are_read(folder: Path) -> None:
    plan = plan_of(folder)
    old = json.loads(plan.model_dump_json())
    for arm in old["arms"]:
        del arm["cloned_from"], arm["warm_start"]
    for run in old["runs"]:
        del run["warm_start"]
    assert Plan.model_validate(old) == plan
    assert all(isinstance(arm, Arm) and arm.cloned_from is None for arm in plan.arms)


def test_weights_are_not_started_from_on_other_rows(folder: Path) -> None:
    plan = plan_of(folder)
    parent = next(run for run in plan.runs if run.method_name == "lora")
    made = make_clone(plan, parent, [], warm=True)
    other = plan_of(folder, "validation: 12, seed: 1")
    assert cloned(other, made) is other
