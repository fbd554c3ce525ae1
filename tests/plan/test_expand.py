"""From a spec to arms, runs and stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.errors import SpecError
from ftlab.plan.expand import arm_label, build_plan, count_runs, with_split
from ftlab.plan.opening import TEST
from ftlab.plan.propose import raced, with_samples
from ftlab.plan.run import BASE_NAME, Plan
from ftlab.spec.load import LoadedSpec

Loader = Callable[..., LoadedSpec]
Planner = Callable[..., Plan]


def keys(plan: Plan, kind: str) -> list[str]:
    return [stage.key for run in plan.runs for stage in run.stages if stage.kind == kind]


def test_arms_follow_the_spec_and_runs_multiply_by_seeds(make_plan: Planner) -> None:
    plan = make_plan()
    assert [arm.label for arm in plan.arms] == [
        "zero_shot",
        "few_shot shots=2",
        "few_shot shots=4",
        "lora r=8",
        "lora r=16",
        "full",
    ]
    assert [arm.family for arm in plan.arms] == ["prompt", "prompt", "prompt", "adapter", "adapter", "full"]
    assert [run.seed for run in plan.runs] == [0] * 6 + [1] * 6
    assert [run.arm_id for run in plan.runs] == 2 * [arm.arm_id for arm in plan.arms]
    assert len({run.run_id for run in plan.runs}) == 12


def test_every_default_is_in_the_resolved_method(make_plan: Planner) -> None:
    lora = make_plan(overrides=("train={epochs: 3}",)).arms[3].method
    assert (lora["type"], lora["r"], lora["lora_alpha"], lora["epochs"], lora["batch_size"]) == ("lora", 8, 16, 3, 8)


def test_each_run_names_its_stages_in_order(make_plan: Planner) -> None:
    plan = make_plan()
    stages = {run.method_name: [(stage.kind, stage.name) for stage in run.stages] for run in plan.runs}
    rest = [("predictions", "validation"), ("scores", "validation"), ("benchmark", "builtin:piqa")]
    assert stages["zero_shot"] == [("dataset", ""), *rest]
    assert stages["lora"] == stages["full"] == [("dataset", ""), ("weights", ""), *rest]


def test_the_base_is_benchmarked_once_for_all_prompting(make_plan: Planner) -> None:
    prompting = [run for run in make_plan().runs if run.method_name in ("zero_shot", "few_shot")]
    assert len(prompting) == 6
    assert len({run.key("benchmark", "builtin:piqa") for run in prompting}) == 1


NO_PROMPTS = (
    ("  zero_shot: {type: prompt}\n", ""),
    ("  few_shot: {type: prompt, shots: {grid: [2, 4]}}\n", ""),
)


def test_without_a_prompt_the_base_has_a_run_of_its_own_for_the_benchmarks(load: Loader) -> None:
    loaded = load(*NO_PROMPTS)
    plan = build_plan(loaded)
    base = plan.runs[0]
    assert (base.method_name, base.splits) == ("base model", ())
    assert [(stage.kind, stage.name) for stage in base.stages] == [("benchmark", "builtin:piqa")]
    assert [(arm.label, arm.family) for arm in plan.arms if arm.family == "base"] == [("base model", "base")]
    assert sum(run.method_name == "base model" for run in plan.runs) == 1, "one, whatever the number of seeds"
    assert len(plan.runs) == count_runs(loaded) == 7
    with_prompts = build_plan(load())
    assert base.stages[0] in with_prompts.runs[0].stages, "the very stage that a prompting arm has"


@pytest.mark.parametrize(
    "changes", [(), ((NO_PROMPTS[0][0], ""),), (*NO_PROMPTS, ("{tasks: [builtin:piqa], limit: 10}", "{}"))]
)
def test_no_run_of_the_base_where_it_would_measure_nothing_new(load: Loader, changes: tuple) -> None:
    loaded = load(*changes)
    plan = build_plan(loaded)
    assert not [arm for arm in plan.arms if arm.family == "base"]
    assert len(plan.runs) == count_runs(loaded)


def test_each_model_has_its_own_base_run_first(load: Loader) -> None:
    both = "model=[builtin:smollm2-135m-instruct, {source: builtin:smollm2-135m-instruct, dtype: bfloat16}]"
    plan = build_plan(load(*NO_PROMPTS, overrides=(both,)))
    firsts = {run.model.dtype: run.method_name for run in reversed(plan.runs)}
    assert firsts == {"float32": "base model", "bfloat16": "base model"}
    labels = [arm.label for arm in plan.arms if arm.family == "base"]
    assert labels == [
        "base model builtin:smollm2-135m-instruct float32",
        "base model builtin:smollm2-135m-instruct bfloat16",
    ]


def test_work_that_seeds_cannot_change_is_shared(make_plan: Planner) -> None:
    plan = make_plan()
    by_method = {
        name: Counter(run.key("predictions", "validation") for run in plan.runs if run.method_name == name)
        for name in ("zero_shot", "few_shot", "lora")
    }
    assert [len(by_method[name]) for name in ("zero_shot", "few_shot", "lora")] == [1, 4, 4]


def test_a_metric_more_changes_scores_alone(make_plan: Planner) -> None:
    before = make_plan(overrides=("task.metrics=[accuracy]",))
    after = make_plan(overrides=("task.metrics=[accuracy, macro_f1]",))
    for kind in ("dataset", "weights", "predictions", "benchmark"):
        assert keys(before, kind) == keys(after, kind)
    assert not set(keys(before, "scores")) & set(keys(after, "scores"))


def test_a_benchmark_more_leaves_every_other_stage(make_plan: Planner) -> None:
    before = make_plan()
    after = make_plan(overrides=("benchmarks.tasks=[builtin:piqa, builtin:openbookqa]",))
    old = {stage for run in before.runs for stage in run.stages}
    new = {stage for run in after.runs for stage in run.stages}
    assert old < new
    assert {(stage.kind, stage.name) for stage in new - old} == {("benchmark", "builtin:openbookqa")}


def test_choosing_labels_trains_nothing_again(make_plan: Planner) -> None:
    before, after = make_plan(), make_plan(overrides=("task.decode=choose",))
    assert keys(before, "weights") == keys(after, "weights")
    assert not set(keys(before, "predictions")) & set(keys(after, "predictions"))


def test_execute_changes_no_id_at_all(make_plan: Planner) -> None:
    before, after = make_plan(), make_plan(overrides=("execute={workers: 4, eval_batch_tokens: 128}",))
    assert [run.run_id for run in before.runs] == [run.run_id for run in after.runs]
    assert [run.stages for run in before.runs] == [run.stages for run in after.runs]
    assert before.spec_hash != after.spec_hash


def test_new_rows_are_new_work(make_plan: Planner, tmp_path: Path) -> None:
    before = make_plan()
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("one more,yes\n")
    after = make_plan()
    for kind in ("dataset", "weights", "predictions", "scores"):
        assert not set(keys(before, kind)) & set(keys(after, kind))


def test_models_are_an_axis_and_a_worker_keeps_its_base(make_plan: Planner, model_folder: Path) -> None:
    both = "model: [builtin:smollm2-135m-instruct, {source: ./model, dtype: bfloat16}]"
    plan = make_plan(("model: builtin:smollm2-135m-instruct", both))
    assert len(plan.arms) == 12
    assert [arm.label for arm in plan.arms[:2]] == [
        "zero_shot model=builtin:smollm2-135m-instruct",
        "zero_shot model=./model",
    ]
    assert [run.model.source for run in plan.runs] == ["builtin:smollm2-135m-instruct"] * 12 + ["./model"] * 12
    assert [run.seed for run in plan.runs] == ([0] * 6 + [1] * 6) * 2


@pytest.mark.parametrize(
    ("change", "labels", "places"),
    [
        (
            ("  full: {type: full}\n", "  full: {type: full}\n  again: {type: full, learning_rate: 2e-5}\n"),
            ("again", "full"),
            (15, 14),
        ),
        (("  full: {type: full}\n", "  shown: {type: prompt, shots: 4}\n"), ("shown", "few_shot shots=4"), (14, 12)),
        (("  full: {type: full}\n", "  asked: {type: prompt, decode: generate}\n"), ("asked", "zero_shot"), (14, 11)),
    ],
    ids=["default spelt out", "a point of a grid", "the task's way of decoding spelt out"],
)
def test_equal_arms_are_refused_with_both_places(
    load: Loader, change: tuple[str, str], labels: tuple[str, str], places: tuple[int, int]
) -> None:
    with pytest.raises(SpecError) as caught:
        build_plan(load(change))
    (problem,) = caught.value.problems
    assert problem.line == places[0]
    assert f"'{labels[0]}' is the same arm as '{labels[1]}' at " in problem.message
    assert f"spec.yaml:{places[1]}:3" in problem.message


def test_a_search_is_planned_without_arms_until_it_proposes_some(load: Loader) -> None:
    change = ("full: {type: full}", "found: {type: lora, r: {choice: [4, 8]}, search: {}}")
    plan = build_plan(load(change))
    (search,) = plan.searches
    assert (search.arm.method_name, search.search.arms) == ("found", 2), "no more arms than there are points"
    assert all(arm.method_name != "found" for arm in plan.arms)
    assert [arm.method["r"] for arm in with_samples(plan).arms if arm.method_name == "found"] == [4]


def test_labels_are_short_whatever_was_varied() -> None:
    chat = [{"role": "user", "content": "x" * 100}]
    varied = {
        "learning_rate": 0.0005,
        "target_modules": ["q_proj", "v_proj"],
        "use_dora": True,
        "early_stopping": None,
        "prompt": chat,
        "keep": "best",
        "epochs": 2.0,
    }
    assert arm_label("lora", varied, {"prompt": 2}) == (
        "lora learning_rate=0.0005 target_modules=q_proj,v_proj use_dora=true early_stopping=none prompt=#2 keep=best "
        "epochs=2"
    )


def test_varied_prompts_are_numbered(make_plan: Planner) -> None:
    prompts = "{grid: [[{role: user, content: a}], [{role: user, content: b}]]}"
    plan = make_plan(("few_shot: {type: prompt, shots: {grid: [2, 4]}}", f"asked: {{type: prompt, prompt: {prompts}}}"))
    assert [arm.label for arm in plan.arms[1:3]] == ["asked prompt=#1", "asked prompt=#2"]
    assert plan.arms[2].varied == {"prompt": [{"role": "user", "content": "b"}]}


def test_a_plan_survives_being_written(make_plan: Planner) -> None:
    plan = make_plan()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_benchmarks_that_do_not_exist_are_all_told_with_their_places(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ftlab.evaluate.benchmarks

    monkeypatch.setattr(ftlab.evaluate.benchmarks, "task_names", lambda: ["hellaswag", "arc_easy"])
    loaded = load(("[builtin:piqa]", "[helaswag, arc_easy, nonsense, builtin:piqa]"))
    with pytest.raises(SpecError) as caught:
        build_plan(loaded)
    first, second = caught.value.problems
    assert (first.line, first.path) == (16, "benchmarks.tasks.0")
    assert "unknown benchmark 'helaswag', did you mean 'hellaswag'?" in first.message
    assert second.path == "benchmarks.tasks.2"


RACE = ("seeds: [0, 1]", "seeds: {top: 2, count: 4}")


def test_a_race_plans_the_first_seeds_and_counts_what_it_may_add(load: Loader) -> None:
    loaded = load(RACE)
    plan = build_plan(loaded)
    assert [run.seed for run in plan.runs] == [0] * 6
    assert plan.race is not None
    assert (plan.race.top, plan.race.seeds, plan.race.first) == (2, (0, 1, 2, 3), 1)
    # Two prompts that draw examples, two LoRA arms, one full: no seed changes zero_shot.
    assert count_runs(loaded) == 6 + 3 * (2 + 2 + 1)


def test_a_leader_gets_the_seeds_that_it_lacks_once(make_plan: Planner) -> None:
    plan = make_plan(RACE)
    arm = plan.arms[3].arm_id
    grown = raced(plan, arm)
    assert [run.seed for run in grown.runs if run.arm_id == arm] == [0, 1, 2, 3]
    assert len({run.run_id for run in grown.runs}) == len(plan.runs) + 3
    assert len({run.key("weights") for run in grown.runs if run.arm_id == arm}) == 4
    assert raced(grown, arm) is grown
    assert raced(plan, "a-gone") is plan
    fixed = make_plan()
    assert raced(fixed, fixed.arms[0].arm_id) is fixed
    same = {run.run_id: run for run in make_plan(("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")).runs}
    assert all(same[run.run_id] == run for run in grown.runs), "what ran with fixed seeds is not run again"


FOLDS = ("test: 10}", "test: 10, folds: 4}")


def test_folds_multiply_the_runs_of_every_arm_but_not_of_the_base(load: Loader) -> None:
    loaded = load(FOLDS, ("  zero_shot: {type: prompt}\n  few_shot: {type: prompt, shots: {grid: [2, 4]}}\n", ""))
    plan = build_plan(loaded)
    assert count_runs(loaded) == len(plan.runs) == 3 * 2 * 4 + 1
    assert [run.fold for run in plan.runs if run.method_name == BASE_NAME] == [None]
    others = [run for run in plan.runs if run.method_name != BASE_NAME]
    assert {(run.seed, run.fold) for run in others} == {(seed, fold) for seed in (0, 1) for fold in range(4)}


def test_a_leader_of_folded_rows_gets_every_fold_of_its_further_seeds(load: Loader) -> None:
    loaded = load(FOLDS, RACE)
    plan = build_plan(loaded)
    grown = raced(plan, plan.arms[3].arm_id)
    mine = [(run.seed, run.fold) for run in grown.runs if run.arm_id == plan.arms[3].arm_id]
    assert sorted(mine) == [(seed, fold) for seed in range(4) for fold in range(4)]
    assert count_runs(loaded) == 4 * (6 + 3 * (2 + 2 + 1))


def test_test_rows_are_the_same_in_every_fold_for_who_reads_nothing_else(make_plan: Planner) -> None:
    runs = [with_split(run, TEST) for run in make_plan(FOLDS).runs if run.seed == 0]
    keys = {method: [run.key("predictions", TEST) for run in runs if run.method_name == method]
            for method in ("zero_shot", "few_shot", "full")}  # fmt: skip
    assert len(set(keys["zero_shot"])) == 1
    assert len(set(keys["few_shot"])) == len(keys["few_shot"]) == 8, "examples are drawn from the fold's own train"
    assert len(set(keys["full"])) == 4
    plain = next(run for run in make_plan().runs if run.method_name == "zero_shot")
    assert keys["zero_shot"][0] == with_split(plain, TEST).key("predictions", TEST)
