"""Whether every method had the same chance: what was spent on tuning each, and what that says about the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from ftlab import text
from ftlab.decide.costs import Summaries, spent_for_nothing
from ftlab.decide.facts import ArmFacts, Facts, best
from ftlab.decide.view import MethodBudget
from ftlab.plan.fairness import attention_only, shared_rates

VALIDATION = "validation"
UNEQUAL = 1.5
"""Budgets within this factor of each other are called equal: grids of two and three arms are not."""


def tuning_budgets(facts: Facts, summaries: Summaries) -> list[MethodBudget]:
    """What was tried and spent for each method, in the spec's order. A stage that several arms share counts once."""
    methods = dict.fromkeys(arm.method_name for arm in facts.arms)
    return [_budget([arm for arm in facts.arms if arm.method_name == name], facts, summaries) for name in methods]


def _budget(arms: Sequence[ArmFacts], facts: Facts, summaries: Summaries) -> MethodBudget:
    weights = _found(arms, "weights", "", summaries) + [spent for arm in arms for spent in spent_for_nothing(arm)]
    answers = _found(arms, "predictions", VALIDATION, summaries)
    return MethodBudget(
        method_name=arms[0].method_name,
        family=arms[0].family,
        arms=len(arms),
        measured=sum(arm.value(VALIDATION, facts.metric) is not None for arm in arms),
        train_tokens=round(_sum(weights, "train_tokens")),
        train_seconds=_sum(weights, "train_seconds"),
        search_seconds=_sum(weights, "train_seconds") + _sum(answers, "seconds"),
    )


def _found(arms: Iterable[ArmFacts], kind: str, name: str, summaries: Summaries) -> list[Mapping[str, Any]]:
    keys = dict.fromkeys(key for arm in arms for key in arm.keys(kind, name))
    return [summaries[kind, key] for key in keys if (kind, key) in summaries]


def _sum(summaries: Iterable[Mapping[str, Any]], name: str) -> float:
    return float(sum(summary.get(name) or 0.0 for summary in summaries))


def unfair(facts: Facts, budgets: Sequence[MethodBudget]) -> list[str]:
    """What may have favoured one method over another, a sentence each; the most telling first."""
    found = [_cloned(facts), _unequal(budgets), *_edges(facts), shared_rates(facts.arms), attention_only(facts.arms)]
    return [f"{message[0].upper()}{message[1:]}." for message in found if message is not None]


def _cloned(facts: Facts) -> str | None:
    """Arms that were thought of when results were known have had a try that the others have not."""
    clones = [arm for arm in facts.arms if arm.cloned_from is not None]
    if not clones:
        return None
    labels = text.one_line(", ".join(arm.label for arm in clones), 200)
    return (
        f"{len(clones)} of {text.plural(len(facts.arms), 'arm')} tried {'was' if len(clones) == 1 else 'were'} chosen "
        f"by people after results on {VALIDATION} were seen ({labels}), "
        "and such a choice favours what did well there by chance; only the sealed test rows can tell"
    )


def _unequal(budgets: Sequence[MethodBudget]) -> str | None:
    """Who had more tries wins more often, whatever the method."""
    tuned = [budget for budget in budgets if budget.family != "prompt"]
    if len(tuned) < 2:
        return None
    arms = [budget.arms for budget in tuned]
    tokens = [budget.train_tokens for budget in tuned if budget.train_tokens]
    if max(arms) <= UNEQUAL * min(arms) and (not tokens or max(tokens) <= UNEQUAL * min(tokens)):
        return None
    shown = "; ".join(
        f"{budget.method_name} {text.plural(budget.arms, 'arm')}, {text.count(budget.train_tokens)} training tokens"
        for budget in tuned
    )
    return f"the methods had unequal tuning budgets ({shown}), and more tries find better results by themselves"


def _edges(facts: Facts) -> list[str | None]:
    """Methods whose best arm sits at the end of a range that was tried: the best may lie beyond it."""
    methods = dict.fromkeys(arm.method_name for arm in facts.arms)
    direction = facts.direction(VALIDATION, facts.metric)
    found: list[str | None] = []
    for name in methods:
        arms = [arm for arm in facts.arms if arm.method_name == name]
        winner = best(arms, VALIDATION, facts.metric, direction)
        if winner is None or len(arms) < 2:
            continue
        places = [place for field in winner.varied if (place := _edge(field, winner, arms))]
        if places:
            found.append(f"the best {name} is at the edge of what was tried ({', '.join(places)}); look beyond it")
    return found


def _edge(field: str, winner: ArmFacts, arms: Sequence[ArmFacts]) -> str | None:
    """`learning_rate=0.0005, the highest`, where the winner has the lowest or highest of several numbers."""
    values = [arm.varied.get(field) for arm in arms]
    numbers: list[float] = sorted(filter(is_number, values))
    if len(numbers) < len(values) or numbers[0] == numbers[-1]:
        return None
    mine = winner.varied[field]
    if mine not in (numbers[0], numbers[-1]):
        return None
    return f"{text.one_line(field)}={mine:g}, the {'lowest' if mine == numbers[0] else 'highest'}"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a field's value has a place on an axis of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)
