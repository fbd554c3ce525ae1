"""The table as a whole: the best arm of each method, the fronts, and the order of the rows."""

from __future__ import annotations

from ftlab.decide import pareto
from ftlab.decide.facts import ArmFacts, Facts, best
from ftlab.decide.view import ArmView


def arranged(views: list[ArmView], facts: Facts, split: str, baseline: ArmFacts | None) -> list[ArmView]:
    """The rows with what they only have beside each other: best of their method, on a front, and in their order."""
    return _ordered(_with_fronts(_with_best(views, facts, split), facts, split), baseline)


def _with_best(views: list[ArmView], facts: Facts, split: str) -> list[ArmView]:
    direction = facts.direction(split, facts.metric)
    shown = {view.arm_id for view in views}
    arms = [arm for arm in facts.arms if arm.arm_id in shown]
    methods = dict.fromkeys(arm.method_name for arm in arms)
    groups = ([arm for arm in arms if arm.method_name == name] for name in methods)
    winners = (best(group, split, facts.metric, direction) for group in groups)
    chosen = {winner.arm_id for winner in winners if winner is not None}
    return [view.model_copy(update={"is_best_of_method": view.arm_id in chosen}) for view in views]


def _with_fronts(views: list[ArmView], facts: Facts, split: str) -> list[ArmView]:
    sign = -1.0 if facts.direction(split, facts.metric) == "lower" else 1.0
    labels = {view.arm_id: view.label for view in views}

    def points(cost: str) -> list[pareto.Point]:
        return [
            pareto.Point(view.arm_id, sign * view.metrics[facts.metric].value, float(value))
            for view in views
            if facts.metric in view.metrics and (value := getattr(view.cost, cost)) is not None
        ]

    serving, training = points("seconds_per_1k_requests"), points("train_seconds")
    on_front, on_training_front, above = pareto.front(serving), pareto.front(training), pareto.dominators(serving)
    return [
        view.model_copy(
            update={
                "on_front": view.arm_id in on_front,
                "on_training_front": view.arm_id in on_training_front,
                "dominated_by": labels[above[view.arm_id]] if view.arm_id in above else None,
            }
        )
        for view in views
    ]


def _ordered(views: list[ArmView], baseline: ArmFacts | None) -> list[ArmView]:
    """The baseline first, then by method in the spec's order, the best of each method first."""
    methods = {name: index for index, name in enumerate(dict.fromkeys(view.method_name for view in views))}
    return sorted(
        views,
        key=lambda view: (
            not (baseline is not None and view.arm_id == baseline.arm_id),
            methods[view.method_name],
            not view.is_best_of_method,
        ),
    )
