"""Benchmarks with measures of their own: units, directions, limits, and what moved without being better or worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_ledger import EXPERIMENT, SmallLedger, outcomes
from small_ledger import FakeArm as SmallArm

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.drift import PER_ARM, SAME_WEIGHTS
from ftlab.decide.gates import Rule, gate_around, measure_limit, raw_change, worst
from ftlab.decide.sentences import blocked, not_shown_safe, use
from ftlab.decide.view import ArmView, BenchmarkChange, DecisionView, Drift, Estimate, PairedDifference
from ftlab.spec.measures import BEHAVIOUR, MEASURES, NEUTRAL_TEXT, Measure
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import FakeArm, make_results

PIQA = "builtin:piqa"
FORMAT, LENGTH = f"{BEHAVIOUR}/format", f"{BEHAVIOUR}/length"
ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.2),
    FakeArm("lora", "lora", accuracy=0.7, forgetting=0.002),
    FakeArm("full", "full", accuracy=0.7, forgetting=0.1),
)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> DecisionView:
    """A finished sweep in which full fine-tuning forgets."""
    folder = tmp_path_factory.mktemp("results")
    experiment = make_results(folder, arms=ARMS, benchmarks=(PIQA, BEHAVIOUR, NEUTRAL_TEXT), items=48)
    with Ledger(folder, update_comparisons) as ledger:
        ledger.catch_up()
        assert update_comparisons(ledger.connection) == 0
        return build_view(ledger.connection, experiment)


def arm_of(view: DecisionView, name: str) -> ArmView:
    return next(arm for arm in view.arms if arm.method_name == name)


def change_of(arm: ArmView, task: str) -> BenchmarkChange:
    return next(change for change in arm.benchmarks if change.task == task)


def drift_of(arm: ArmView, task: str) -> Drift:
    return next(moved for moved in arm.drift if moved.task == task)


def test_a_benchmark_of_several_measures_is_judged_on_each(view: DecisionView) -> None:
    names = [PIQA, f"{BEHAVIOUR}/instructions", FORMAT, NEUTRAL_TEXT]
    assert view.benchmarks == names
    assert view.benchmark_groups == dict(
        zip(names, ["reasoning", "instruction_following", "format", "neutral_text"], strict=True)
    )
    assert view.forgetting_limits == dict(zip(names, [0.02, 0.25, 0.25, 0.1], strict=True))
    assert view.benchmark_units[NEUTRAL_TEXT] == "nats"
    assert view.benchmark_units[LENGTH] == "tokens"
    assert [change.task for change in arm_of(view, "full").benchmarks] == names
    assert not [part for part in view.missing if "builtin" in part.what]


def test_a_rising_loss_is_forgetting(view: DecisionView) -> None:
    change = change_of(arm_of(view, "full"), NEUTRAL_TEXT)
    assert (change.unit, change.direction, change.limit) == ("nats", "lower", 0.1)
    # The made-up loss rises by four times the forgetting.
    assert change.arm.value - change.base.value == pytest.approx(0.4, abs=0.02)
    assert change.difference.estimate.value == pytest.approx(-0.4, abs=0.02)
    assert change.difference.estimate.low is not None
    assert change.difference.estimate.high < 0
    assert change.difference.broke == 40
    assert change.within_limit == "no"
    assert change_of(arm_of(view, "lora"), NEUTRAL_TEXT).within_limit == "yes"


def test_drift_is_the_arm_minus_the_base_with_intervals_that_hold_together(view: DecisionView) -> None:
    length = drift_of(arm_of(view, "full"), LENGTH)
    assert length.difference.estimate.value == pytest.approx(length.arm.value - length.base.value)
    assert length.difference.estimate.value < 0
    assert length.difference.simultaneous
    # Two trained arms by three measures.
    assert length.difference.estimate.method.startswith("simultaneous over 6 drifts (Bonferroni)")
    assert length.difference.p_adjusted >= length.difference.p_value
    assert (length.limit, length.within_limit, length.direction) == (None, None, "none")
    per_byte = drift_of(arm_of(view, "full"), f"{NEUTRAL_TEXT}/per-byte")
    assert per_byte.difference.estimate.value == pytest.approx(0.1, abs=0.01)


def test_a_prompting_arm_drifts_by_nothing(view: DecisionView) -> None:
    arm = arm_of(view, "zero_shot")
    assert {moved.difference.estimate.value for moved in arm.drift} == {0.0}
    assert {moved.difference.estimate.method for moved in arm.drift} == {SAME_WEIGHTS}
    assert arm.forgetting_gate == "yes"
    assert not [case for case in view.changed_answers if case.arm_id == arm.arm_id]


def test_changed_answers_stand_beside_the_bases(view: DecisionView) -> None:
    full = [case for case in view.changed_answers if case.arm_id == arm_of(view, "full").arm_id]
    assert 0 < len(full) <= PER_ARM
    assert all(case.before != case.after and case.prompt and case.changes for case in full)
    assert any("tokens shorter" in word for case in full for word in case.changes)
    assert any(word.startswith("no longer") for case in full for word in case.changes)


def test_the_view_survives_json(view: DecisionView) -> None:
    assert DecisionView.model_validate_json(view.model_dump_json()) == view


def limited(tmp_path: Path, max_forgetting: Any) -> DecisionView:
    experiment = make_results(tmp_path, arms=ARMS, benchmarks=(BEHAVIOUR, NEUTRAL_TEXT), items=48)
    with Ledger(tmp_path, update_comparisons) as ledger:
        ledger.catch_up()
        ledger.connection.execute(
            "UPDATE experiments SET plan_json = json_merge_patch(plan_json, ?)",
            [f'{{"decision": {{"max_forgetting": {max_forgetting}}}}}'],
        )
        return build_view(ledger.connection, experiment)


def test_drift_closes_the_gate_where_the_spec_names_it(tmp_path: Path) -> None:
    found = limited(tmp_path, '{"builtin:behaviour": 0.9, "neutral_text": 0.9, "builtin:behaviour/length": 2}')
    full = arm_of(found, "full")
    assert {change.within_limit for change in full.benchmarks} == {"yes"}
    assert drift_of(full, LENGTH).within_limit == "no"
    assert drift_of(full, f"{BEHAVIOUR}/refusals").within_limit is None
    assert full.forgetting_gate == "no"
    assert arm_of(found, "zero_shot").forgetting_gate == "yes"
    sentence = blocked(full, RULE)
    assert "but behaviour/length changes by −" in sentence
    assert "the limit is a change of 2 tokens" in sentence


def test_another_level_moves_the_ends_of_a_drift_too(tmp_path: Path) -> None:
    experiment = make_results(tmp_path, arms=ARMS, benchmarks=(BEHAVIOUR,), items=48)
    with Ledger(tmp_path, update_comparisons) as ledger:
        ledger.catch_up()
        usual = drift_of(arm_of(build_view(ledger.connection, experiment), "full"), LENGTH).difference.estimate
        ledger.connection.execute(
            "UPDATE experiments SET plan_json = json_merge_patch(plan_json, ?)", ['{"decision": {"alpha": 0.01}}']
        )
        update_comparisons(ledger.connection)
        careful = drift_of(arm_of(build_view(ledger.connection, experiment), "full"), LENGTH).difference.estimate
    assert usual.low is not None
    assert careful.low is not None
    assert careful.low < usual.low
    assert (usual.confidence, careful.confidence) == (0.95, 0.99)


def test_a_plain_number_leaves_measures_with_a_limit_of_their_own(tmp_path: Path) -> None:
    found = limited(tmp_path, "0.05")
    assert found.forgetting_limits == {f"{BEHAVIOUR}/instructions": 0.25, FORMAT: 0.25, NEUTRAL_TEXT: 0.1}


def test_limits_by_measure_then_benchmark_then_group_then_its_own() -> None:
    _, form, length, *_ = MEASURES[BEHAVIOUR]
    assert measure_limit({FORMAT: 0.1, BEHAVIOUR: 0.3}, BEHAVIOUR, form) == 0.1
    assert measure_limit({BEHAVIOUR: 0.3, "format": 0.4}, BEHAVIOUR, form) == 0.3
    assert measure_limit({"format": 0.4, "default": 0.5}, BEHAVIOUR, form) == 0.4
    assert measure_limit({"default": 0.5}, BEHAVIOUR, form) == 0.25
    assert measure_limit({"default": 0.5, BEHAVIOUR: 0.3}, BEHAVIOUR, length) is None
    assert measure_limit({LENGTH: 8}, BEHAVIOUR, length) == 8
    assert measure_limit(0.02, NEUTRAL_TEXT, MEASURES[NEUTRAL_TEXT][0]) == 0.1
    assert measure_limit({"knowledge": 0.5}, "builtin:mmlu", Measure("", group="knowledge")) == 0.5
    assert measure_limit(0.03, PIQA, Measure("", group="reasoning")) == 0.03


@pytest.mark.parametrize(
    ("low", "high", "gate"),
    [(-1.0, 1.5, "yes"), (-3.0, 1.0, "not shown"), (2.5, 4.0, "no"), (-9.0, -2.1, "no"), (None, 1.0, "not shown")],
)
def test_a_change_without_a_better_side_is_limited_to_both(low: float | None, high: float, gate: str) -> None:
    assert gate_around(low, high, 2.0) == gate


RULE = Rule("accuracy", "share", "validation", 0.02, 0.02, None, (NEUTRAL_TEXT,), limits={NEUTRAL_TEXT: 0.1})


def neutral(value: float, low: float, high: float, within: Any) -> BenchmarkChange:
    found = PairedDifference(
        estimate=Estimate(value=value, low=low, high=high, n=40), p_value=None, fixed=0, broke=40, dropped=0
    )
    flat = Estimate(value=3.0, n=40)
    return BenchmarkChange(
        task=NEUTRAL_TEXT,
        metric="nats_per_token",
        base=flat,
        arm=flat,
        difference=found,
        within_limit=within,
        limit=0.1,
        unit="nats",
        direction="lower",
        group="neutral_text",
    )


def test_sentences_say_that_a_loss_rises_and_in_nats(view: DecisionView) -> None:
    lora = arm_of(view, "lora")
    lost = lora.model_copy(update={"benchmarks": [neutral(-0.2, -0.25, -0.15, "no")]})
    assert (
        "but its loss on neutral-text rises by 0.2 nats (95% CI +0.15 to +0.25; the limit is a rise of 0.1 nats)."
        in blocked(lost, RULE)
    )
    unsure = lora.model_copy(update={"benchmarks": [neutral(-0.08, -0.15, -0.01, "not shown")]})
    sentence = not_shown_safe(unsure, RULE)
    assert "its loss on neutral-text changes by +0.08 nats (95% CI +0.01 to +0.15)" in sentence
    # There are no more of these texts to ask for.
    assert sentence.endswith("and the limit is a rise of 0.1 nats.")
    safe = lora.model_copy(update={"benchmarks": [neutral(-0.02, -0.03, -0.01, "yes")]})
    assert "no loss beyond 0.1 nats on 1 of 1 general benchmarks" in use(safe, arm_of(view, "zero_shot"), RULE, "clear")


def test_the_worst_benchmark_is_the_one_furthest_by_its_own_limit() -> None:
    nats = neutral(-0.2, -0.25, -0.15, "no")
    points = nats.model_copy(update={"task": PIQA, "unit": "share", "direction": "higher", "limit": 0.02})
    close = points.model_copy(update={"difference": neutral(-0.03, -0.05, -0.01, "no").difference})
    assert worst([nats, points]) is points
    assert worst([nats, close]) is nats
    assert worst([]) is None
    assert replace(RULE, limits={}).limit(PIQA) == 0.02


def test_a_raw_change_undoes_the_sign_where_less_is_better() -> None:
    found = raw_change("lower", neutral(-0.2, -0.25, -0.15, "no").difference)
    assert (found.value, found.low, found.high) == (0.2, 0.15, 0.25)
    assert raw_change("lower", neutral(0.0, 0.0, 0.0, "yes").difference).value == 0.0
    assert raw_change("higher", neutral(-0.2, -0.25, -0.15, "no").difference).value == -0.2


def test_a_task_of_lm_eval_whose_metric_should_fall_is_compared_the_other_way_round() -> None:
    task = "some_error_rate"
    ledger = SmallLedger(
        [
            SmallArm("few", "prompt", [outcomes(20, 5)], {task: [0.0] * 20}),
            SmallArm("lora", "adapter", [outcomes(20, 15)], {task: [1.0] * 10 + [0.0] * 10}),
        ],
        benchmarks=[task],
    )
    ledger.connection.execute(
        "UPDATE stages SET summary_json = json_merge_patch(summary_json, ?) WHERE kind = 'benchmark'",
        ['{"metrics": {"acc": {"direction": "lower", "unit": "score"}}}'],
    )
    update_comparisons(ledger.connection)
    (change,) = arm_of(build_view(ledger.connection, EXPERIMENT), "lora").benchmarks
    assert (change.direction, change.unit, change.difference.broke) == ("lower", "score", 10)
    assert change.difference.estimate.value == -0.5
    assert change.within_limit == "no"


def test_a_snapshot_without_the_table_of_answers_is_read(tmp_path: Path) -> None:
    experiment = make_results(tmp_path, arms=ARMS, benchmarks=(BEHAVIOUR,), items=10)
    with Ledger(tmp_path, update_comparisons) as ledger:
        ledger.catch_up()
        ledger.connection.execute("DROP TABLE bench_outputs")
        assert build_view(ledger.connection, experiment).changed_answers == []
