"""The view, complete and half done, against the numbers that were put into the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger, outcomes

from ftlab.decide.build import build_view, pair_of
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import ArmView, DecisionView
from ftlab.errors import UsageError

N = 120
TASK = "builtin:piqa"
BASE = [1.0] * 60 + [0.0] * 40


def _view(ledger: SmallLedger) -> DecisionView:
    update_comparisons(ledger.connection)
    return build_view(ledger.connection, EXPERIMENT, 7)


def _arm(view: DecisionView, name: str) -> ArmView:
    return next(arm for arm in view.arms if arm.method_name == name)


def _full_house() -> SmallLedger:
    return SmallLedger(
        [
            FakeArm("zero", "prompt", [outcomes(N, 30)], {TASK: BASE}),
            FakeArm("few", "prompt", [outcomes(N, 48)], {TASK: BASE}, seconds_per_1k=40.0),
            FakeArm("lora", "adapter", [outcomes(N, 72, shift=6)], {TASK: [1.0] * 60 + [0.0] * 40}),
            FakeArm("full", "full", [outcomes(N, 70, shift=3)], {TASK: [0.0] * 40 + [1.0] * 20 + [0.0] * 40}),
        ],
        benchmarks=[TASK],
    )


def test_a_finished_experiment_is_complete():
    view = _view(_full_house())
    assert [arm.method_name for arm in view.arms] == ["few", "zero", "lora", "full"]
    assert (view.snapshot, view.split, view.metric, view.examples) == (7, "validation", "accuracy", N)
    assert view.missing == []
    assert view.progress.by_status == {"complete": 4}
    few, lora, full = (_arm(view, name) for name in ("few", "lora", "full"))
    assert few.is_baseline
    assert few.difference is None
    assert lora.difference.estimate.value == pytest.approx((72 - 48) / N)
    assert lora.difference.simultaneous
    assert lora.difference.p_adjusted >= lora.difference.p_value
    assert lora.metrics["accuracy"].value == pytest.approx(72 / N)
    assert lora.benchmarks[0].difference.estimate.value == 0.0
    assert (full.forgetting_gate, full.benchmarks[0].within_limit) == ("no", "no")
    assert full.benchmarks[0].difference.estimate.value == pytest.approx(-0.4)
    assert view.updated_at == "1970-01-01T00:20:03+00:00"


def test_a_prompt_forgets_exactly_nothing():
    (change,) = _arm(_view(_full_house()), "few").benchmarks
    ends = change.difference.estimate
    assert (ends.value, ends.low, ends.high, change.within_limit) == (0.0, 0.0, 0.0, "yes")


def test_costs_come_from_the_stages():
    view = _view(_full_house())
    lora, few = _arm(view, "lora").cost, _arm(view, "few").cost
    assert (lora.train_seconds, lora.trainable_parameters, lora.seconds_per_1k_requests) == (100.0, 921_600, 10.0)
    assert (few.train_seconds, few.artifact_bytes, few.peak_memory_bytes) == (0.0, 0, None)
    assert (lora.peak_memory_bytes, lora.serving_memory_bytes) == (10**9, 6 * 10**8)
    assert few.serving_memory_bytes == 6 * 10**8, "a prompt trains nothing, but it is served"
    assert _arm(view, "lora").on_front
    assert _arm(view, "few").dominated_by == "lora"
    assert _arm(view, "few").on_training_front


def test_regressions_are_cases_the_prompt_had_right():
    view = _view(_full_house())
    assert view.regressions
    for case in view.regressions:
        assert case.baseline_output == case.target
        assert case.arm_output != case.target
    assert max(sum(case.arm_id == arm.arm_id for case in view.regressions) for arm in view.arms) <= 5


def test_nothing_has_run_yet():
    waiting = {"results": [[]], "status": "waiting"}
    view = _view(SmallLedger([FakeArm("few", "prompt", **waiting), FakeArm("lora", "adapter", **waiting)]))
    assert view.conclusion.kind == "incomplete"
    assert "no prompting method has a result" in view.conclusion.sentence
    assert {part.why for part in view.missing} >= {"waiting to run", "no prompting arm has a result yet"}
    assert all(arm.metrics == {} and arm.difference is None for arm in view.arms)
    assert view.regressions == []


def test_a_failed_arm_is_a_row_with_its_reason():
    broken = FakeArm("full", "full", [[]], status="oom", reason="needed 31 GB, there are 16")
    view = _view(SmallLedger([FakeArm("few", "prompt", [outcomes(N, 48)]), broken]))
    arm = _arm(view, "full")
    assert (arm.status, arm.reason) == ("oom", "needed 31 GB, there are 16")
    assert view.conclusion.kind == "incomplete"
    assert any(part.what == "full" and "31 GB" in part.why for part in view.missing)


def test_a_seed_that_failed_is_said_and_the_others_count():
    ledger = SmallLedger(
        [
            FakeArm("few", "prompt", [outcomes(N, 48)]),
            FakeArm("lora", "adapter", [outcomes(N, 60), outcomes(N, 72), []]),
        ]
    )
    ledger.connection.execute("UPDATE runs SET status = 'failed', reason = 'disk full' WHERE run_id = 'r-lora-2'")
    arm = _arm(_view(ledger), "lora")
    assert (arm.status, arm.reason) == ("failed", "2 of 3 seeds have a result; disk full")
    assert arm.metrics["accuracy"].value == pytest.approx(66 / N)
    assert "averaged over 2 seeds" in arm.metrics["accuracy"].method


def test_a_benchmark_still_to_come_is_missing_and_not_shown():
    ledger = SmallLedger(
        [
            FakeArm("few", "prompt", [outcomes(N, 48)], {TASK: BASE}),
            FakeArm("lora", "adapter", [outcomes(N, 72, shift=6)], {}),
        ],
        benchmarks=[TASK],
    )
    view = _view(ledger)
    assert _arm(view, "lora").forgetting_gate == "not shown"
    assert [part.what for part in view.missing] == ["builtin:piqa of lora"]
    assert view.conclusion.kind == "undecided"


def _two_benchmarks(chance: float | None = None, **decision: Any) -> DecisionView:
    tasks = {TASK: BASE, "builtin:mmlu": BASE}
    worse = [0.0] * 5 + [1.0] * 60 + [0.0] * 35  # five lost and five gained
    return _view(
        SmallLedger(
            [
                FakeArm("few", "prompt", [outcomes(N, 48)], tasks),
                FakeArm("lora", "adapter", [outcomes(N, 72, shift=6)], {TASK: worse, "builtin:mmlu": BASE}),
            ],
            benchmarks=list(tasks),
            chance=chance,
            **decision,
        )
    )


def test_what_was_lost_and_what_was_gained_stand_apart():
    piqa, mmlu = _arm(_two_benchmarks(), "lora").benchmarks
    assert piqa.difference.estimate.value == 0.0
    assert (piqa.difference.broke, piqa.difference.fixed) == (5, 5)
    assert (mmlu.difference.broke, mmlu.difference.fixed) == (0, 0)


def test_each_benchmark_has_its_group_and_its_own_limit():
    limits = {"default": 0.02, "knowledge": 0.05, TASK: 0.3}
    view = _two_benchmarks(max_forgetting=limits)
    piqa, mmlu = _arm(view, "lora").benchmarks
    assert (piqa.group, piqa.limit, piqa.within_limit) == ("reasoning", 0.3, "yes")
    assert (mmlu.group, mmlu.limit) == ("knowledge", 0.05)
    assert view.max_forgetting == 0.02
    assert view.forgetting_limits == {TASK: 0.3, "builtin:mmlu": 0.05}
    assert _arm(_two_benchmarks(), "lora").benchmarks[0].within_limit == "not shown"


def test_a_benchmark_whose_base_is_not_shown_to_beat_chance_is_uninformative():
    """The base has 60% of its items right; the made-up interval goes down to 50%."""
    by_chance = {chance: _arm(_two_benchmarks(chance), "lora").benchmarks[0] for chance in (0.25, 0.5, None)}
    assert {chance: change.informative for chance, change in by_chance.items()} == {0.25: True, 0.5: False, None: None}
    assert by_chance[0.25].chance == 0.25


def test_an_experiment_without_prompts_says_what_to_add():
    view = _view(SmallLedger([FakeArm("lora", "adapter", [outcomes(N, 72)])]))
    assert view.conclusion.kind == "incomplete"
    assert "add one of `type: prompt`" in view.conclusion.sentence


def test_mixed_versions_are_warned_about():
    ledger = _full_house()
    for run, version in (("r-few-0", "5.22"), ("r-lora-0", "5.23")):
        ledger.insert("provenance", run, 1, f'{{"packages": {{"transformers": "{version}", "torch": "2.13"}}}}')
    ledger.insert("warnings", "r-lora-0", 1, "truncated", "3 rows were cut", None, 1_300.0)
    ledger.flush()
    view = _view(ledger)
    assert view.warnings == [
        "3 rows were cut (lora)",
        "Not all runs were made under the same conditions; these differ: transformers.",
    ]
    assert view.provenance["differs"] == ["transformers"]
    assert view.provenance["data"] == {"source": "builtin:rows", "content": "c0ffee"}


def test_any_two_arms_can_be_compared():
    ledger = _full_house()
    found = pair_of(ledger.connection, EXPERIMENT, "a-lora", "a-full", "validation", "accuracy")
    assert found.estimate.value == pytest.approx(2 / N)
    assert not found.simultaneous
    back = pair_of(ledger.connection, EXPERIMENT, "a-full", "a-lora", "validation", "accuracy")
    assert (back.fixed, back.broke) == (found.broke, found.fixed)


def test_the_view_survives_json():
    view = _view(_full_house())
    assert DecisionView.model_validate_json(view.model_dump_json()) == view


def test_an_unknown_experiment_is_a_clear_error():
    with pytest.raises(UsageError, match="no experiment 'nope'"):
        build_view(_full_house().connection, "nope")
