"""The tuning budget of each method, and what is said when it was not equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from small_ledger import EXPERIMENT, FakeArm, SmallLedger

from ftlab.decide.costs import read_summaries
from ftlab.decide.facts import Facts, read_facts
from ftlab.decide.fairness import tuning_budgets, unfair


def hits(right: int, n: int = 20) -> list[bool | None]:
    return [row < right for row in range(n)]


def read(*arms: FakeArm) -> tuple[Facts, Any]:
    ledger = SmallLedger(arms)
    facts = read_facts(ledger.connection, EXPERIMENT)
    return facts, read_summaries(ledger.connection, facts.arms)


def merged(facts: Facts, name: str, values: list[dict[str, Any]]) -> Facts:
    """The last arms as arms of one method, each with the fields that tell it from the others."""
    kept, changed = facts.arms[: -len(values)], facts.arms[-len(values) :]
    arms = [replace(arm, method_name=name, varied=value) for arm, value in zip(changed, values, strict=True)]
    return replace(facts, arms=(*kept, *arms))


def test_a_method_s_budget_is_that_of_all_its_arms() -> None:
    facts, summaries = read(
        FakeArm("ask", "prompt", [hits(4)]),
        FakeArm("one", "adapter", [hits(9), hits(10)], train_seconds=100.0),
        FakeArm("two", "adapter", [hits(8)], train_seconds=50.0),
    )
    budgets = tuning_budgets(merged(facts, "lora", [{"r": 4}, {"r": 8}]), summaries)
    ask, lora = budgets
    assert (ask.method_name, ask.arms, ask.train_tokens, ask.train_seconds) == ("ask", 1, 0, 0.0)
    assert (lora.method_name, lora.arms, lora.measured) == ("lora", 2, 2)
    assert lora.train_seconds == 250.0, "both seeds of the first, and the second"
    assert lora.search_seconds >= lora.train_seconds


def test_equal_budgets_with_the_best_inside_its_grid_are_fair() -> None:
    facts, summaries = read(
        FakeArm("ask", "prompt", [hits(4)]), FakeArm("lora", "adapter", [hits(9)]), FakeArm("full", "full", [hits(8)])
    )
    assert unfair(facts, tuning_budgets(facts, summaries)) == []


def test_more_arms_for_one_method_are_said() -> None:
    facts, summaries = read(
        FakeArm("full", "full", [hits(8)]),
        FakeArm("one", "adapter", [hits(7)]),
        FakeArm("two", "adapter", [hits(9)]),
        FakeArm("three", "adapter", [hits(5)]),
    )
    facts = merged(facts, "lora", [{"r": 4}, {"r": 8}, {"r": 16}])
    (said,) = unfair(facts, tuning_budgets(facts, summaries))
    assert said.startswith("The methods had unequal tuning budgets (full 1 arm, ")
    assert "lora 3 arms" in said


def test_the_best_at_the_edge_of_its_grid_is_said_with_the_value() -> None:
    facts, summaries = read(
        FakeArm("one", "adapter", [hits(7)]),
        FakeArm("two", "adapter", [hits(8)]),
        FakeArm("three", "adapter", [hits(9)]),
    )
    at_edge = merged(facts, "lora", [{"r": 4, "dora": False}, {"r": 8, "dora": False}, {"r": 16, "dora": True}])
    (said,) = unfair(at_edge, tuning_budgets(at_edge, summaries))
    assert said == "The best lora is at the edge of what was tried (r=16, the highest); look beyond it."
    inside = merged(facts, "lora", [{"r": 4}, {"r": 32}, {"r": 16}])
    assert unfair(inside, tuning_budgets(inside, summaries)) == []


def test_a_choice_of_lists_has_no_edge() -> None:
    facts, summaries = read(FakeArm("one", "adapter", [hits(9)]), FakeArm("two", "adapter", [hits(8)]))
    facts = merged(facts, "lora", [{"target_modules": ["q_proj"]}, {"target_modules": ["q_proj", "v_proj"]}])
    assert unfair(facts, tuning_budgets(facts, summaries)) == []
