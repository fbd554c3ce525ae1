"""How sure the answer is, as rows of a name and a sentence: the same on every surface."""

from __future__ import annotations

from ftlab import text
from ftlab.decide.view import ArmView, DecisionView, OpeningView, RatingsView
from ftlab.plan.opening import TEST
from ftlab.report import format as fmt
from ftlab.report.judge import judge_facts
from ftlab.report.spread import spread_rows

Row = tuple[str, str]


def assurance(view: DecisionView) -> list[Row]:
    """What the conclusion rests on, what it survived, and what was not measured."""
    rows: list[Row] = [("rows judged by", f"{fmt.count(view.examples)} of {view.split}")]
    rows += [("test rows", fmt.openings(view)), *(_opening(one) for one in view.openings)]
    rows += _shrinkage(view)
    if view.smallest_detectable is not None:
        least = fmt.amount(view.smallest_detectable, view.metric_unit)
        shown = f"a difference of {least} or more would show in 4 of 5 such sets"
        rows.append(("rows", f"{fmt.count(view.examples)} of {view.split}: {shown}"))
    if view.clusters is not None:
        groups = f"{fmt.count(view.clusters)} groups by {view.cluster_by}"
        rows.append(("groups", f"{fmt.count(view.examples)} rows in {groups}"))
    if view.folds is not None:
        rows.append(("folds", _folds(view.folds, view.split)))
    if view.ratings is not None:
        rows.append(("rated by people", _rated(view.ratings)))
    rows += [("seeds", _seeds(view)), *((f"chance in {name}", said) for name, said in spread_rows(view))]
    rows += [("corrections", _corrections(view))]
    rows += [("tuning", "; ".join(_budgets(view)))] if view.budgets else []
    if view.judge is not None:
        rows += [("judge", view.judge.name), *((f"judge, {name}", said) for name, said in judge_facts(view.judge))]
    rows += [("not measured", f"{part.what}: {part.why}") for part in view.missing]
    return [(name, fmt.one_line(said, 400)) for name, said in rows]


def _opening(one: OpeningView) -> Row:
    why = f", because: {one.why}" if one.why else ""
    new = "" if one.looks else "; nothing was seen that had not been seen before"
    return f"opening {one.number}", f"{fmt.date(one.at)} by {one.who}{why}; for {', '.join(one.arms)}{new}"


def _shrinkage(view: DecisionView) -> list[Row]:
    """How the gains held up on rows that played no part in the choice."""
    if view.split != TEST:
        return []
    return [
        (
            f"{fmt.label(arm, 60)}, validation to test",
            f"{_gain(arm.validation_difference.estimate.value, view)} to {_gain(arm.difference.estimate.value, view)}",
        )
        for arm in view.arms
        if arm.difference is not None and arm.validation_difference is not None
    ]


def _gain(value: float, view: DecisionView) -> str:
    return text.difference(value, None, None, view.metric_unit)


def _seeds(view: DecisionView) -> str:
    counts = {len(arm.seeds) for arm in view.arms} or {0}
    most, least = max(counts), min(counts)
    if most <= 1:
        return "one: how much another would change is not measured"
    given = f"{most} for each arm" if least == most else _raced(most, least)
    return f"{given}; the intervals cover the choice of examples and of seeds"


def _folds(folds: int, split: str) -> str:
    if split == TEST:
        return f"{folds}: the models of all folds answered the test rows, and their figures are averaged"
    return f"{folds}: every row was answered once, by a model trained on the rows of the other folds"


def _raced(most: int, least: int) -> str:
    first = "the first seed" if least == 1 else f"the first {least} seeds"
    return (
        f"{most} for the arms that led on {first}, {least} for the others, which cannot be chosen where a seed changes "
        "them; what the leaders led by is in their means, which flatter a little until test"
    )


def _corrections(view: DecisionView) -> str:
    joint = [arm for arm in view.arms if arm.difference is not None and arm.difference.simultaneous]
    explored = any(change.difference.correction for arm in view.arms for change in arm.benchmarks)
    also = "; changes on benchmarks by Benjamini and Hochberg" if explored else ""
    if not joint:
        return f"none: every interval stands for itself{also}"
    return f"the intervals of {fmt.plural(len(joint), 'arm')} hold together (max-T), p values by Holm{also}"


def _rated(found: RatingsView) -> str:
    rated = f"{fmt.plural(found.pairs, 'pair')} and {fmt.plural(found.scores, 'single answer')}"
    parts = [f"{rated} by {fmt.plural(found.raters, 'rater')}"]
    if found.agreement is not None:
        parts.append(f"kappa {fmt.coefficient(found.agreement)} between raters on {fmt.plural(found.shared, 'pair')}")
    elif found.raters > 1:
        parts.append("agreement between raters not measured")
    if found.left_out:
        parts.append(f"{fmt.count(found.left_out)} of outputs that no arm has any more, left out")
    if found.bad_lines:
        parts.append(f"{fmt.plural(found.bad_lines, 'line')} that cannot be read")
    return "; ".join(parts)


def _budgets(view: DecisionView) -> list[str]:
    """What each trained method was given, and how many prompts were tried."""
    prompts = sum(budget.arms for budget in view.budgets if budget.family == "prompt")
    parts = [f"prompting {fmt.plural(prompts, 'arm')}"] if prompts else []
    for budget in view.budgets:
        if budget.family != "prompt":
            lost = f" ({budget.arms - budget.measured} without a result)" if budget.measured < budget.arms else ""
            parts.append(
                f"{fmt.one_line(budget.method_name)} {fmt.plural(budget.arms, 'arm')}{lost}, "
                f"{fmt.count(budget.train_tokens)} training tokens, {fmt.duration(budget.search_seconds)} in all"
            )
    return parts


def price_rows(view: DecisionView, arms: list[ArmView]) -> list[list[str]]:
    """The costs of some arms in money, a row each: label, training, 1,000 requests, pays back, in total, extra case."""
    currency = view.prices.currency
    return [
        [
            fmt.label(arm),
            fmt.money(arm.economics.training, currency),
            fmt.money(arm.economics.per_1k, currency),
            pays_back(arm),
            fmt.money(arm.economics.total, currency),
            fmt.money(arm.economics.per_extra_correct, currency),
        ]
        for arm in arms
        if arm.metrics
    ]


def has_prices(view: DecisionView) -> bool:
    """Whether the spec says what anything costs."""
    return view.prices.machine_hour is not None or bool(view.prices.hosted)


PRICE_HEAD = (
    "method",
    "training once",
    "1,000 requests",
    "pays back after",
    "over the horizon",
    "per extra right answer",
)


def pays_back(arm: ArmView) -> str:
    """After how many requests an arm's training has paid for itself, in words."""
    if arm.is_baseline:
        return "best prompt"
    found = arm.economics
    if found.break_even_requests is not None:
        return f"{fmt.count(found.break_even_requests)} requests" if found.break_even_requests else "at once"
    return "never: not cheaper" if found.cheaper_per_request is False else fmt.MISSING
