"""The rules, one by one: which interval leads to which sentence, and what is never said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftlab.decide.gates import Rule, examples_needed, gain, gate_all, gate_within, loss_limit
from ftlab.decide.limits import with_gates
from ftlab.decide.verdict import conclude
from ftlab.decide.view import ArmView, BenchmarkChange, Cost, Estimate, Gate, Majority, PairedDifference, Progress

RULE = Rule("accuracy", "share", "validation", 0.02, 0.02, None, ("builtin:piqa",))
DONE = Progress(total=4, by_status={"complete": 4}, running=[])


def _difference(value: float, low: float | None, high: float | None, n: int = 400) -> PairedDifference:
    return PairedDifference(
        estimate=Estimate(value=value, low=low, high=high, n=n),
        p_value=None,
        fixed=9,
        broke=1,
        dropped=0,
        simultaneous=True,
    )


def _change(value: float, low: float, high: float) -> BenchmarkChange:
    flat = Estimate(value=0.6, n=200)
    within = gate_within(low, high, 0.02)
    found = _difference(value, low, high, 200)
    return BenchmarkChange(
        task="builtin:piqa", metric="acc", base=flat, arm=flat, difference=found, within_limit=within
    )


SAFE = _change(0.0, -0.01, 0.01)
UNSAFE = _change(-0.062, -0.09, -0.03)
UNCLEAR = _change(-0.01, -0.04, 0.02)


def _arm(
    name: str,
    difference: PairedDifference | None = None,
    change: BenchmarkChange | None = SAFE,
    family: str = "adapter",
    seconds: float = 10.0,
    train: float = 60.0,
    format_gate: Gate | None = None,
) -> ArmView:
    return ArmView(
        arm_id=name,
        run_ids=[],
        method_name=name,
        family=family,
        label=name,
        status="complete",
        reason=None,
        seeds=[0],
        is_baseline=family == "prompt",
        is_best_of_method=True,
        metrics={"valid_format": Estimate(value=0.9, low=0.86, high=0.93)},
        difference=difference,
        benchmarks=[change] if change else [],
        cost=Cost(train_seconds=train, seconds_per_1k_requests=seconds),
        config={},
        varied={},
        on_front=False,
        forgetting_gate=change.within_limit if change else "not shown",
        format_gate=format_gate,
    )


PROMPT = _arm("few", family="prompt", seconds=20.0, train=0.0)
CLEAR = _difference(0.056, 0.031, 0.082)


def _conclude(*arms: ArmView, inferior: bool = True, rule: Rule = RULE, progress: Progress = DONE, seeds: int = 1):
    return conclude(with_gates(arms, rule), rule, lambda arm, best: not inferior, progress, 400, seeds)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.05, "clear"),
        (0.019, 0.05, "small"),
        (0.001, 0.015, "none"),
        (-0.01, 0.015, "none"),
        (-0.09, -0.01, "none"),
        (-0.01, 0.03, "open"),
        (None, None, "open"),
    ],
)
def test_a_gain_is_read_from_the_interval_alone(low: float | None, high: float | None, expected: str):
    assert gain(_difference(0.01, low, high), 0.02) == expected


def test_without_a_minimum_a_clear_gain_still_lies_above_zero():
    assert gain(_difference(0.0, 0.0, 0.01), 0.0) == "open"
    assert gain(_difference(0.01, 0.001, 0.02), 0.0) == "clear"
    assert gain(_difference(-0.01, -0.02, 0.0), 0.0) == "none"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.02, 0.0, "yes"), (-0.021, 0.5, "not shown"), (-0.5, -0.021, "no"), (None, None, "not shown"), (0, 0, "yes")],
)
def test_a_gate_has_three_answers(low: float | None, high: float | None, expected: Gate):
    assert gate_within(low, high, 0.02) == expected


def test_one_closed_gate_closes_all():
    assert gate_all(["yes", "not shown", "no"]) == "no"
    assert gate_all(["yes", "not shown"]) == "not shown"
    assert gate_all([]) == "yes"


def test_a_clear_gain_is_used_and_said_in_full():
    found = _conclude(PROMPT, _arm("lora", CLEAR))
    assert (found.kind, found.arm_id) == ("use", "lora")
    assert found.sentence == (
        "Use lora: +5.6 points of accuracy over the best prompt, few (95% CI +3.1 to +8.2, 400 validation examples); "
        "1 min 00 s of training once and 10.0 s per 1,000 requests (prompt: 20.0 s); "
        "no loss beyond 2 points on 1 of 1 general benchmarks."
    )
    assert "same 400 validation rows" in found.caveat
    assert "flattering" in found.caveat
    assert "test rows stay sealed" in found.caveat
    assert "One seed" in found.caveat


def test_the_answer_that_takes_no_skill_is_the_bar():
    def with_accuracy(name: str, low: float | None) -> ArmView:
        return _arm(name, CLEAR).model_copy(update={"metrics": {"accuracy": Estimate(value=0.4, low=low, high=0.5)}})

    arms = [PROMPT, with_accuracy("lora", 0.27), with_accuracy("full", 0.25), with_accuracy("odd", None)]
    majority = Majority(label="Dental", share=0.26)
    caveat = conclude(arms, RULE, lambda arm, best: True, DONE, 400, 1, majority).caveat
    assert "Always answering Dental would be right in 26.0% of the rows; not shown to do better: full, odd." in caveat
    alone = conclude(arms[:2], RULE, lambda arm, best: True, DONE, 400, 1, majority).caveat
    assert "in 26.0% of the rows." in alone
    assert "Always answering" not in conclude(arms, RULE, lambda arm, best: True, DONE, 400, 1).caveat


def test_seeds_and_finished_runs_are_not_warned_about():
    caveat = _conclude(PROMPT, _arm("lora", CLEAR), seeds=3).caveat
    assert "seed" not in caveat
    assert "Provisional" not in caveat
    early = Progress(total=4, by_status={"complete": 2, "running": 1, "waiting": 1}, running=[])
    assert "Provisional: 2 of 4 runs ended so far." in _conclude(PROMPT, _arm("lora", CLEAR), progress=early).caveat


def test_a_small_gain_says_that_the_minimum_is_not_shown():
    found = _conclude(PROMPT, _arm("lora", _difference(0.03, 0.004, 0.056)))
    assert found.kind == "use"
    assert found.sentence.endswith("The gain is shown; that it reaches the 2 points you asked for is not.")


def test_a_small_gain_that_serves_slower_is_not_decided():
    found = _conclude(PROMPT, _arm("lora", _difference(0.03, 0.004, 0.056), seconds=40.0))
    assert found.kind == "undecided"
    assert "it serves slower (40.0 s for 1,000 requests, the prompt 20.0 s)" in found.sentence


def test_no_worthwhile_gain_keeps_prompting_and_never_says_no_difference():
    found = _conclude(
        PROMPT, _arm("lora", _difference(0.002, -0.014, 0.018)), _arm("full", _difference(-0.05, -0.08, -0.02))
    )
    assert (found.kind, found.arm_id) == ("keep_prompting", "few")
    assert found.sentence == (
        "Keep prompting with few: no method beat it by the 2 points you asked for "
        "(best: lora +0.2, 95% CI −1.4 to +1.8); a gain above 1.8 points is unlikely."
    )
    assert "no difference" not in found.sentence


def test_all_worse_is_said():
    found = _conclude(PROMPT, _arm("lora", _difference(-0.05, -0.08, -0.02)))
    assert found.sentence.endswith("every other is shown worse.")


def test_a_wide_interval_is_not_decided_and_says_what_would_settle_it():
    found = _conclude(PROMPT, _arm("lora", _difference(0.021, -0.008, 0.05)))
    assert (found.kind, found.arm_id) == ("undecided", "lora")
    # sd = .029 / 1.96 * sqrt(400); n = ((1.96 + .8416) sd / .021)^2 = 1,558, in two digits upwards.
    assert "About 1,600 validation examples would settle it; there are 400." in found.sentence


def test_a_gain_with_a_loss_beyond_the_limit_is_blocked():
    found = _conclude(PROMPT, _arm("full", _difference(0.07, 0.04, 0.1), UNSAFE))
    assert (found.kind, found.arm_id) == ("blocked", "full")
    assert "loses 6.2 points on piqa (95% CI −9.0 to −3.0; the limit is a loss of 2 points)" in found.sentence


def test_a_wide_forgetting_interval_is_not_shown_safe():
    found = _conclude(PROMPT, _arm("lora", CLEAR, UNCLEAR))
    assert found.kind == "undecided"
    assert "not shown safe" in found.sentence
    assert "items of piqa would settle it; there are 200." in found.sentence
    assert "no loss" not in found.sentence


def test_an_unmeasured_benchmark_is_not_shown_safe():
    found = _conclude(PROMPT, _arm("lora", CLEAR, None))
    assert found.kind == "undecided"
    assert "builtin:piqa is not measured yet" in found.sentence


def test_answers_not_in_the_asked_form_block():
    rule = Rule("accuracy", "share", "validation", 0.02, 0.02, 0.98, ())
    found = _conclude(PROMPT, _arm("lora", CLEAR, format_gate="no"), rule=rule)
    assert found.kind == "blocked"
    assert "asked form: 90.0% (86.0 to 93.0), and the limit is 98.0%" in found.sentence


def test_the_better_but_unsafe_arm_is_passed_over_and_named():
    found = _conclude(PROMPT, _arm("full", _difference(0.09, 0.06, 0.12), UNSAFE), _arm("lora", CLEAR))
    assert (found.kind, found.arm_id) == ("use", "lora")
    assert found.sentence.endswith("full comes to +9.0 points but is beyond a limit.")


def test_the_cheapest_not_inferior_winner_is_chosen():
    best = _arm("best", _difference(0.07, 0.05, 0.09), seconds=30.0)
    cheap = _arm("cheap", CLEAR, seconds=10.0)
    assert _conclude(PROMPT, best, cheap, inferior=False).arm_id == "cheap"
    assert _conclude(PROMPT, best, cheap, inferior=True).arm_id == "best"


def test_about_equal_serving_is_decided_by_training():
    slow_to_train = _arm("long", _difference(0.07, 0.05, 0.09), seconds=10.0, train=900.0)
    quick_to_train = _arm("short", CLEAR, seconds=10.5, train=60.0)
    assert _conclude(PROMPT, slow_to_train, quick_to_train, inferior=False).arm_id == "short"


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([], "no prompting method to compare with"),
        ([_arm("lora")], "no prompting method to compare with"),
        ([PROMPT, _arm("lora")], "only prompting has a result"),
    ],
)
def test_half_done_is_incomplete(arms: list[ArmView], words: str):
    found = _conclude(*arms)
    assert found.kind == "incomplete"
    assert words in found.sentence
    assert found.arm_id is None


def test_only_prompts_were_compared():
    other = _arm("zero", _difference(-0.1, -0.2, -0.05), family="prompt").model_copy(update={"is_baseline": False})
    found = _conclude(PROMPT, other)
    assert (found.kind, found.arm_id) == ("keep_prompting", "few")
    assert "only prompting methods were compared" in found.sentence


def test_missing_benchmarks_in_the_spec_are_said():
    rule = Rule("accuracy", "share", "validation", 0.02, 0.02, None, ())
    arm = _arm("lora", CLEAR, None).model_copy(update={"forgetting_gate": None})
    found = _conclude(PROMPT, arm, rule=rule)
    assert found.kind == "use"
    assert "Forgetting was not measured" in found.caveat


def test_a_limit_is_that_of_the_benchmark_then_of_its_group_then_the_default():
    limits = {"default": 0.1, "knowledge": 0.05, "builtin:piqa": 0.03}
    assert loss_limit(limits, "builtin:piqa", "reasoning") == 0.03
    assert loss_limit(limits, "builtin:mmlu", "knowledge") == 0.05
    assert loss_limit(limits, "builtin:siqa", "reasoning") == 0.1
    assert loss_limit(limits) == 0.1
    assert loss_limit({"knowledge": 0.05}, "builtin:siqa", "reasoning") == 0.02
    assert loss_limit(0.04, "builtin:siqa", "reasoning") == 0.04


def test_sentences_name_the_limit_of_the_benchmark_they_speak_of():
    rule = replace(RULE, limits={"builtin:piqa": 0.05})
    assert "the limit is a loss of 5 points" in _conclude(PROMPT, _arm("lora", CLEAR, UNSAFE), rule=rule).sentence
    assert "the limit is a loss of 5 points" in _conclude(PROMPT, _arm("lora", CLEAR, UNCLEAR), rule=rule).sentence
    one = _conclude(PROMPT, _arm("lora", CLEAR, SAFE), rule=rule)
    assert "no loss beyond 5 points on 1 of 1 general benchmarks" in one.sentence
    other = SAFE.model_copy(update={"task": "builtin:mmlu"})
    arm = _arm("lora", CLEAR, SAFE).model_copy(update={"benchmarks": [SAFE, other]})
    assert "no loss beyond its limit on 2 of 2 general benchmarks" in _conclude(PROMPT, arm, rule=rule).sentence


def test_a_benchmark_at_chance_is_said_to_show_nothing():
    blind = SAFE.model_copy(update={"informative": False})
    assert "A loss on piqa cannot show" in _conclude(PROMPT, _arm("lora", CLEAR, blind)).caveat
    for informative in (True, None):
        seeing = SAFE.model_copy(update={"informative": informative})
        assert "cannot show" not in _conclude(PROMPT, _arm("lora", CLEAR, seeing)).caveat


def test_examples_needed_at_the_edges():
    assert examples_needed(0.0, -0.1, 0.1, 100) is None
    assert examples_needed(0.1, None, None, 100) is None
    assert examples_needed(1e-6, -0.1, 0.1, 100) == 1_000_000
    assert examples_needed(0.1, -0.1, 0.1, 100) == pytest.approx(206, abs=4)
