"""Folds from the plan to the verdict: every row answered once, the folds' models averaged on test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from test_searching import plan_of

from ftlab.cli.decide import decide_plan
from ftlab.cli.run import execute_plan
from ftlab.cli.status import newest_view
from ftlab.cli.tables import runs
from ftlab.decide.facts import Facts, read_facts
from ftlab.decide.view import DecisionView
from ftlab.execute.experiments import find_plan
from ftlab.plan.expand import build_plan, count_runs
from ftlab.plan.run import Plan
from ftlab.report.assurance import assurance
from ftlab.spec.load import parse_spec
from ftlab.store import queries
from ftlab.store.side_by_side import columns
from ftlab.store.snapshot import open_snapshot

SPEC = """
version: 1
name: folded
model: ./model
data: {source: ./rows.jsonl, splits: {folds: 4}}
task:
  type: classification
  prompt: [{role: user, content: "{{ text }}"}]
  target: "{{ label }}"
  metrics: [accuracy, macro_f1]
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [4, 8]}}
seeds: [0, 1]
"""
PIPELINE = "ftlab.testing.fakes:FakePipeline"
POOL, TEST = 12 + 24, 6
"""Rows of the fake's train and validation, and of its test."""


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole sweep with folds, run and decided; the results are in `r`."""
    root = tmp_path_factory.mktemp("folded")
    plan = planned(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTLAB_FAKE", '{"lora": {"quality": 0.9}, "zero_shot": {"quality": 0.4}}')
        assert execute_plan(plan, root / "r", pipeline=PIPELINE) == 0
        (root / "before.json").write_text(view_of(root).model_dump_json())
        stored = find_plan(root / "r")
        assert decide_plan(stored, root / "r", partial=False, again=False, why="", as_json=True, pipeline=PIPELINE) == 0
    return root


def planned(root: Path) -> Plan:
    plan_of(root, "{sampler: random, arms: 1}")
    loaded = parse_spec(SPEC, root / "spec.yaml")
    plan = build_plan(loaded)
    assert count_runs(loaded) == len(plan.runs)
    return plan


def view_of(root: Path) -> DecisionView:
    view = newest_view(root / "r", find_plan(root / "r").experiment_id)
    assert view is not None
    return view


def facts_of(root: Path) -> Facts:
    with open_snapshot(root / "r") as snapshot:
        return read_facts(snapshot.cursor(), find_plan(root / "r").experiment_id)


def test_a_run_is_an_arm_with_a_seed_and_a_fold(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert len({run.run_id for run in plan.runs}) == len(plan.runs) == 3 * 2 * 4
    assert [(run.seed, run.fold) for run in plan.runs[::3]] == [(seed, fold) for seed in (0, 1) for fold in range(4)]
    assert len({run.key("dataset") for run in plan.runs}) == 4
    lora = [run for run in plan.runs if run.method_name == "lora"]
    assert len({run.key("weights") for run in lora}) == len(lora)


def test_without_folds_ids_and_keys_are_what_they_were(tmp_path: Path) -> None:
    plan_of(tmp_path, "{sampler: random, arms: 1}")
    plain, no = (
        build_plan(parse_spec(SPEC.replace("{folds: 4}", splits), tmp_path / "spec.yaml"))
        for splits in ("{}", "{folds: null}")
    )
    assert plain.runs == no.runs
    assert {run.fold for run in plain.runs} == {None}


def test_every_row_is_judged_once_and_compared_in_pairs(folded: Path) -> None:
    view = DecisionView.model_validate_json((folded / "before.json").read_bytes())
    assert (view.split, view.examples, view.folds) == ("validation", POOL, 4)
    for arm in view.arms:
        assert arm.metrics["accuracy"].n == POOL
        assert "pooled over 4 folds" in arm.metrics["accuracy"].method
        assert arm.seeds == [0, 1]
    lora = next(arm for arm in view.arms if arm.method_name == "lora")
    assert lora.difference is not None
    assert (lora.difference.estimate.n, lora.difference.dropped) == (POOL, 0)
    zero = next(arm for arm in view.arms if arm.is_baseline)
    gain = lora.metrics["accuracy"].value - zero.metrics["accuracy"].value
    assert lora.difference.estimate.value == pytest.approx(gain)
    assert dict(assurance(view))["folds"].startswith("4: every row was answered once, by a model trained on the rows")


def test_the_spread_is_over_seeds_where_there_are_some(folded: Path) -> None:
    view = DecisionView.model_validate_json((folded / "before.json").read_bytes())
    lora = next(arm for arm in view.arms if arm.method_name == "lora")
    assert lora.spread is not None
    assert (lora.spread.over, lora.spread.replicates) == ("seeds", 2)


def test_intervals_know_of_folds(folded: Path) -> None:
    with open_snapshot(folded / "r") as snapshot:
        found = snapshot.cursor().execute(
            "SELECT split, n, method FROM comparisons WHERE kind = 'method' AND metric = 'accuracy'"
        )
        rows = found.fetchall()
    assert {(split, n) for split, n, _ in rows} == {("validation", POOL), ("test", TEST)}
    words = {"validation": "at least the corrected t over 4 folds", "test": "models of folds, alike"}
    assert all(words[split] in method for split, _, method in rows)


def test_on_test_each_folds_model_is_a_replicate_and_a_prompt_answers_once(folded: Path) -> None:
    view = view_of(folded)
    assert (view.split, view.examples) == ("test", TEST)
    facts = facts_of(folded)
    by_name = {arm.method_name: arm for arm in facts.arms_on("test")}
    assert len(by_name["zero_shot"].keys("scores", "test")) == 1
    assert len(by_name["lora"].keys("scores", "test")) == 2 * 4
    lora = next(arm for arm in view.arms if arm.method_name == "lora")
    values = [run.metrics["test", "accuracy"].value for run in by_name["lora"].runs]
    assert lora.metrics["accuracy"].value == pytest.approx(sum(value or 0.0 for value in values) / 8)
    assert lora.metrics["accuracy"].n == TEST
    assert "averaged over 8 models" in lora.metrics["accuracy"].method
    assert lora.spread is not None
    assert (lora.spread.over, lora.spread.replicates) == ("models", 8)
    assert lora.difference is not None
    assert lora.difference.estimate.n == TEST
    assert "figures are averaged" in dict(assurance(view))["folds"]


def test_no_row_of_test_is_in_a_fold(folded: Path) -> None:
    with open_snapshot(folded / "r") as snapshot:
        rows = snapshot.cursor().execute("SELECT dataset_key, split, example_id FROM examples").fetchall()
    test = {row for _, split, row in rows if split == "test"}
    seen = [row for _, split, row in rows if split == "validation"]
    assert len(test) == TEST
    assert not test & {row for _, split, row in rows if split != "test"}
    assert Counter(seen) == Counter(set(seen)), "each row is held out in one data set"
    assert len(seen) == POOL


def test_the_same_test_rows_without_folds_are_a_further_look(folded: Path) -> None:
    plain = build_plan(parse_spec(SPEC.replace("{folds: 4}", "{}"), folded / "spec.yaml"))
    assert [one.dataset for one in facts_of(folded).openings] == [plain.runs[0].key("dataset")]


def test_a_run_is_told_from_the_others_of_its_arm_by_its_fold(folded: Path) -> None:
    with open_snapshot(folded / "r") as snapshot:
        rows = queries.runs(snapshot.cursor(), find_plan(folded / "r").experiment_id)
        arms = list(dict.fromkeys(row.arm_id for row in rows if row.arm_id))
        shown = columns(snapshot.cursor(), arms, "validation")
    assert {row.replicate for row in rows} == {f"seed {seed}, fold {fold}" for seed in (0, 1) for fold in range(4)}
    assert {(column.seed, column.fold) for column in shown.values()} == {(0, 0)}, "beside each other on the same rows"
    heads = [column.header for column in runs(rows).columns]
    assert [str(head) for head in heads[:5]] == ["run", "arm", "seed", "fold", "status"]
