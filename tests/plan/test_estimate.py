"""Sizes, lengths, times: counted where they can be, estimated by a stated rule where not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.data.dataset import build_dataset
from ftlab.plan.estimate import START_SECONDS, RaceEstimate, estimate_plan, estimate_race
from ftlab.plan.lengths import ArmLengths, count_lengths
from ftlab.plan.model_facts import model_facts
from ftlab.plan.run import ModelRef, Plan, StageKey
from ftlab.plan.speeds import BENCHMARK_TOKENS, CORE_FLOPS, PastStage

Planner = Callable[..., Plan]
LOCAL = ("builtin:smollm2-135m-instruct", "./model")


def nothing(stage: StageKey) -> bool:
    return False


def everything(stage: StageKey) -> bool:
    return True


def ref(source: str, folder: Path | None = None) -> ModelRef:
    return ModelRef(source=source, revision="r", dtype="float32", folder=str(folder) if folder else None)


def test_sizes_come_from_the_headers_of_the_files(model_folder: Path) -> None:
    facts = model_facts(ref("./model", model_folder))
    assert facts is not None
    assert facts.parameters == 100 * 16 + 16 * 16 + 32 * 16 + 16
    assert facts.linear_dimensions == (16 + 16) + (32 + 16), "embeddings and norms take no adapter"
    assert facts.weight_bytes == 2 * facts.parameters
    assert (facts.layers, facts.hidden, facts.measured) == (2, 16, True)


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("builtin:smollm2-135m-instruct", 135_000_000),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_500_000_000),
        ("org/model_7B", 7_000_000_000),
        ("org/gpt2", None),
        ("org/5bit-model", None),
    ],
)
def test_a_size_is_read_off_a_name_where_it_is_one(source: str, parameters: int | None) -> None:
    facts = model_facts(ref(source))
    assert (facts.parameters if facts else None) == parameters
    assert facts is None or not facts.measured


@pytest.mark.parametrize("damage", [b"", b"\xff" * 8, b"\x05\x00\x00\x00\x00\x00\x00\x00{nope"])
def test_damaged_files_cost_the_estimate_and_nothing_else(model_folder: Path, damage: bytes) -> None:
    (model_folder / "model.safetensors").write_bytes(damage)
    facts = model_facts(ref("./model-1B", model_folder))
    assert facts is not None
    assert not facts.measured


@pytest.fixture
def counted(make_plan: Planner, model_folder: Path) -> tuple[Plan, dict[str, ArmLengths]]:
    plan = make_plan(LOCAL)
    return plan, count_lengths(plan, build_dataset(plan.runs[0].data, plan.task))


def test_lengths_are_counted_with_the_models_tokenizer(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    by_label = {arm.label: lengths[arm.arm_id] for arm in plan.arms}
    # "question number 7" is 3 words; 6 for its turn, 6 for the answer's opening; "yes" and an end token.
    prompt, answer = 3 + 6 + 6, 1 + 1
    assert by_label["zero_shot"].predict_tokens == 20 * (prompt + answer)
    assert by_label["few_shot shots=2"].predict_tokens == 20 * (prompt + answer + 2 * (prompt + answer))
    assert by_label["few_shot shots=2"].computed_tokens == 20 * (prompt + answer) + 2 * (prompt + answer)
    assert by_label["zero_shot"].train_tokens == 0
    assert by_label["lora r=8"].train_tokens == 30 * (prompt + answer)
    assert by_label["lora r=8"].longest == prompt + answer
    assert by_label["lora r=8"].too_long == 0
    assert by_label["few_shot shots=4"].too_long_prompts == 20, "the context is 64 tokens"


def test_sequences_beyond_max_length_are_counted_and_cut(make_plan: Planner, model_folder: Path) -> None:
    plan = make_plan(LOCAL, overrides=("train={max_length: 10}",))
    lengths = count_lengths(plan, build_dataset(plan.runs[0].data, plan.task))
    lora = lengths[plan.arms[3].arm_id]
    assert (lora.too_long, lora.train_tokens, lora.longest) == (30, 300, 17)


def test_time_is_operations_over_speed(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    estimate = estimate_plan(plan, nothing, lengths, cores=2)
    by_name = {method.method: method for method in estimate.methods}
    parameters = 100 * 16 + 16 * 16 + 32 * 16 + 16
    train = 2 * 6 * parameters * 30 * 17 / (2 * CORE_FLOPS)
    predict = 2 * 2 * parameters * 20 * 17 / (2 * CORE_FLOPS)
    benchmark = 2 * 2 * parameters * 10 * BENCHMARK_TOKENS / (2 * CORE_FLOPS)
    assert by_name["full"].seconds == pytest.approx(train + predict + benchmark + 2 * 0.5)
    assert estimate.seconds == pytest.approx(sum(method.seconds or 0 for method in estimate.methods) + START_SECONDS)
    assert estimate.runs == 12
    assert any("rule of thumb" in sentence for sentence in estimate.basis)


def test_measured_speeds_replace_the_rule(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    facts = model_facts(plan.arms[0].model)
    assert facts is not None
    weights = {
        "total_parameters": facts.parameters,
        "trainable_parameters": facts.parameters,
        "train_tokens": 510,
        "train_seconds": 51.0,
        "peak_memory_bytes": 5_000_000_000,
    }
    past = [
        PastStage("weights", 60.0, 1, weights),
        PastStage("weights", 20.0, 1, {**weights, "trainable_parameters": 10, "train_seconds": 5.1}),
        PastStage("predictions", 9.0, 1, {"examples": 20, "seconds": 3.4}),
        PastStage("benchmark", 9.0, 1, {"task": "builtin:piqa", "samples": 5, "seconds": 2.0}),
    ]
    estimate = estimate_plan(plan, nothing, lengths, past)
    by_name = {method.method: method for method in estimate.methods}
    assert by_name["full"].seconds == pytest.approx(2 * (51.0 + 3.4 + 4.0 + 0.5))
    assert by_name["lora"].seconds == pytest.approx(4 * (5.1 + 3.4 + 4.0 + 0.5))
    assert estimate.memory_bytes == 5_000_000_000
    assert not any("rule of thumb" in sentence for sentence in estimate.basis)
    assert any("2 earlier stages" not in sentence and "1 earlier stage" in sentence for sentence in estimate.basis)


def test_useless_measurements_do_not_count(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    useless = [PastStage(kind, 0.0, 0, {}) for kind in ("weights", "predictions", "benchmark")]
    odd = [PastStage("predictions", 1.0, 0, {"examples": "many", "seconds": True})]
    assert estimate_plan(plan, nothing, lengths, useless + odd, cores=2) == estimate_plan(
        plan, nothing, lengths, cores=2
    )


def test_what_is_done_is_neither_counted_nor_paid_again(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    estimate = estimate_plan(plan, everything, lengths)
    assert (estimate.runs_done, estimate.stages_done) == (estimate.runs, estimate.stages)
    assert (estimate.seconds, estimate.disk_bytes, estimate.memory_bytes, estimate.basis) == (0, 0, 0, ())


def test_a_shared_stage_is_counted_once(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, lengths = counted
    estimate = estimate_plan(plan, lambda stage: stage.kind == "benchmark", lengths)
    distinct = {stage for run in plan.runs for stage in run.stages}
    assert estimate.stages == len(distinct)
    assert estimate.stages_done == sum(stage.kind == "benchmark" for stage in distinct)
    assert estimate.runs_done == 0


def test_max_steps_bounds_the_training(make_plan: Planner, model_folder: Path) -> None:
    def seconds(*overrides: str) -> float:
        plan = make_plan(LOCAL, overrides=overrides)
        lengths = count_lengths(plan, build_dataset(plan.runs[0].data, plan.task))
        past = [
            PastStage(
                "weights",
                1.0,
                1,
                {"total_parameters": 2384, "trainable_parameters": 2384, "train_tokens": 17, "train_seconds": 1.0},
            )
        ]
        found = next(
            method.seconds for method in estimate_plan(plan, nothing, lengths, past).methods if method.method == "full"
        )
        assert found is not None
        return found

    every, few = seconds("train={epochs: 4}"), seconds("train={epochs: 4, max_steps: 3, batch_size: 5}")
    assert every - few == pytest.approx(2 * (4 * 30 - 3 * 5), rel=1e-6)


def test_a_model_of_unknown_size_has_no_estimate_and_says_so(counted: tuple[Plan, dict[str, ArmLengths]]) -> None:
    plan, _ = counted
    unknown = ref("org/mystery")
    plan = plan.model_copy(
        update={
            "arms": tuple(arm.model_copy(update={"model": unknown}) for arm in plan.arms),
            "runs": tuple(run.model_copy(update={"model": unknown}) for run in plan.runs),
        }
    )
    estimate = estimate_plan(plan, nothing, {})
    assert (estimate.seconds, estimate.memory_bytes, estimate.disk_bytes) == (None, None, None)
    assert estimate.basis == ("the size of org/mystery is unknown until it is fetched, so there is no estimate for it",)


def test_a_race_is_priced_by_the_arms_that_take_longest(make_plan: Planner, model_folder: Path) -> None:
    race = ("seeds: [0, 1]", "seeds: {top: 1, count: 4}")
    plan = make_plan(LOCAL, race)
    lengths = count_lengths(plan, build_dataset(plan.runs[0].data, plan.task))
    whole = make_plan(LOCAL, ("seeds: [0, 1]", "seeds: [0, 1, 2, 3]"))
    longest = [arm for arm in whole.arms if arm.label in ("few_shot shots=4", "lora r=16", "full")]
    further = [run for run in whole.runs if run.seed > 0 and run.arm_id in {arm.arm_id for arm in longest}]
    there = {stage for run in plan.runs for stage in run.stages}
    only = whole.model_copy(update={"arms": tuple(longest), "runs": tuple(further)})
    priced = estimate_plan(only, there.__contains__, lengths).seconds
    assert priced is not None
    # Without the seconds that a worker takes to start: those are the plan's own.
    assert estimate_race(plan, there.__contains__, lengths) == RaceEstimate(9, pytest.approx(priced - START_SECONDS))
    assert estimate_race(make_plan(LOCAL), nothing, lengths) is None
    unknown = estimate_race(plan, nothing, {})
    assert unknown is not None
    assert unknown.seconds is None
