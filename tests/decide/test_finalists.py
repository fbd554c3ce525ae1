"""Who is measured on test, and what counts as a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_ledger import EXPERIMENT, FakeArm, SmallLedger

from ftlab.decide.facts import Facts, read_facts
from ftlab.decide.finalists import Finalist, choose_finalists, is_bare, propose_opening
from ftlab.errors import UsageError
from ftlab.plan.opening import Opening, looks


def hits(right: int, n: int = 20) -> list[bool | None]:
    return [row < right for row in range(n)]


def facts_of(*arms: FakeArm) -> Facts:
    return read_facts(SmallLedger(arms).connection, EXPERIMENT)


@cache
def one_prompt() -> Facts:
    return facts_of(FakeArm("zero", "prompt", [hits(4)]))


def opening_of(
    facts: Facts, finalists: Sequence[Finalist], earlier: Sequence[Opening] = (), tag: str = "", **named: Any
) -> Opening | None:
    keys = {one.arm.arm_id: [f"{one.arm.arm_id}{tag}"] for one in finalists}
    options = {"dataset": "d", "ts": 1.0 + len(earlier), "who": "a@b", "why": "", "again": False} | named
    return propose_opening(facts, finalists, keys, earlier, **options)


def test_one_finalist_per_trained_method_the_best_prompt_and_the_bare_base() -> None:
    facts = facts_of(
        FakeArm("zero", "prompt", [hits(4)]),
        FakeArm("few", "prompt", [hits(9)]),
        FakeArm("lora", "adapter", [hits(12)]),
        FakeArm("full", "full", [hits(11)]),
    )
    chosen = choose_finalists(facts)
    assert [(one.arm.method_name, one.role) for one in chosen][:1] == [("few", "baseline")]
    assert {(one.arm.method_name, one.role) for one in chosen[1:]} >= {("lora", "finalist"), ("full", "finalist")}
    assert [one.validation for one in chosen if one.role == "baseline"] == [pytest.approx(9 / 20)]


def test_of_raced_arms_those_alone_compete_that_have_the_most_seeds() -> None:
    facts = facts_of(
        FakeArm("zero", "prompt", [hits(4)]),
        FakeArm("lora", "adapter", [hits(16)], label="lora lucky"),
        FakeArm("lora-2", "adapter", [hits(17), hits(10), hits(12)]),
        FakeArm("lora-3", "adapter", [hits(16), hits(13), hits(13)]),
    )
    arms = [replace(arm, method_name="lora") if arm.family == "adapter" else arm for arm in facts.arms]
    chosen = choose_finalists(replace(facts, arms=tuple(arms)))
    assert [one.arm.label for one in chosen if one.role == "finalist"] == ["lora-3"]
    assert [one.validation for one in chosen if one.role == "finalist"] == [pytest.approx(14 / 20)]


def test_a_prompt_that_no_seed_changes_competes_with_raced_ones() -> None:
    facts = facts_of(
        FakeArm("zero", "prompt", [hits(9)]),
        FakeArm("few", "prompt", [hits(12), hits(5), hits(7)]),
        FakeArm("few-lost", "prompt", [hits(11)]),
    )
    arms = [replace(arm, method={"shots": 4}) if arm.label != "zero" else arm for arm in facts.arms]
    baseline = replace(facts, arms=tuple(arms)).baseline("validation")
    assert baseline is not None
    assert baseline.label == "zero"


def test_an_arm_without_a_result_is_no_finalist_and_one_that_waits_holds_the_decision_up() -> None:
    failed = facts_of(
        FakeArm("zero", "prompt", [hits(4)]), FakeArm("lora", "adapter", [[]], status="failed", reason="boom")
    )
    assert [one.role for one in choose_finalists(failed)] == ["baseline"]
    waiting = facts_of(FakeArm("zero", "prompt", [hits(4)]), FakeArm("lora", "adapter", [[]], status="waiting"))
    with pytest.raises(UsageError, match=r"1 run of exp did not finish.*ftlab resume exp-000001.*--partial"):
        choose_finalists(waiting)
    assert [one.role for one in choose_finalists(waiting, partial=True)] == ["baseline"]


def test_without_a_prompt_that_has_a_result_nothing_is_chosen() -> None:
    with pytest.raises(UsageError, match="type: prompt"):
        choose_finalists(facts_of(FakeArm("lora", "adapter", [hits(4)])))


def test_bare_is_a_prompt_with_nothing_of_its_own() -> None:
    (arm,) = facts_of(FakeArm("zero", "prompt", [hits(4)])).arms
    assert is_bare(arm)


def test_the_same_question_is_no_new_look_and_a_new_one_must_be_asked_for() -> None:
    facts = facts_of(FakeArm("zero", "prompt", [hits(4)]), FakeArm("lora", "adapter", [hits(12)]))
    finalists = choose_finalists(facts)
    first = opening_of(facts, finalists)
    assert first is not None
    assert (first.number, first.looks) == (1, 2)
    assert opening_of(facts, finalists, [first]) is None

    with pytest.raises(UsageError, match=r"opened once before, last by a@b for exp-000001, and zero, lora would be"):
        opening_of(facts, finalists, [first], tag="-other")
    with pytest.raises(UsageError, match="--again --why"):
        opening_of(facts, finalists, [first], tag="-other", again=True, why="  ")
    second = opening_of(facts, finalists, [first], tag="-other", again=True, why="a bug in the prompt")
    assert second is not None
    assert (second.number, second.looks, second.why) == (2, 2, "a bug in the prompt")
    assert looks([second, first], "d") == [first, second]


def test_other_arms_whose_answers_are_known_are_on_record_without_a_look() -> None:
    facts = facts_of(FakeArm("zero", "prompt", [hits(4)]), FakeArm("lora", "adapter", [hits(12)]))
    finalists = choose_finalists(facts)
    first = opening_of(facts, finalists)
    assert first is not None
    fewer = opening_of(facts, finalists[:1], [first])
    assert fewer is not None
    assert (fewer.number, fewer.looks) == (2, 0)
    assert looks([first, fewer], "d") == [first]


def test_another_experiment_s_look_at_the_same_rows_counts() -> None:
    facts = facts_of(FakeArm("zero", "prompt", [hits(4)]))
    finalists = choose_finalists(facts)
    mine = opening_of(facts, finalists)
    assert mine is not None
    other = mine.model_copy(update={"experiment_id": "other-000002"})
    with pytest.raises(UsageError, match="for other-000002"):
        opening_of(facts, finalists, [other], tag="-new")
    elsewhere = other.model_copy(update={"dataset": "another split"})
    again = opening_of(facts, finalists, [elsewhere])
    assert again is not None
    assert again.number == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8))
def test_every_new_answer_is_counted_once(requests: list[tuple[str, bool]]) -> None:
    facts = one_prompt()
    finalists = choose_finalists(facts)
    held: list[Opening] = []
    seen: set[str] = set()
    for tag, again in requests:
        new = tag not in seen
        if new and seen and not again:
            with pytest.raises(UsageError):
                opening_of(facts, finalists, held, tag=tag)
            continue
        found = opening_of(facts, finalists, held, tag=tag, again=again, why="asked")
        assert (found is not None and found.looks == 1) == new
        held += [found] if found is not None else []
        seen.add(tag)
    assert len(looks(held, "d")) == len(seen)
