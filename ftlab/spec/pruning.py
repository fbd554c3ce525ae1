"""What a pruner may be told: when a search ends an arm before its training is through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftlab.spec.block import Block

PrunerName = Literal["none", "median", "successive_halving", "hyperband", "wilcoxon"]


class PrunerSpec(Block):
    """A pruner and its settings. It judges by the validation loss, each time that one is measured: the method's
    `evaluations` say how often, evenly over a training, so one evaluation is the same share of every arm's training.
    With several seeds or folds an arm's first run decides for all of them."""

    type: PrunerName
    """`median`: worse than the median of the finished arms. `successive_halving`: not among the best few at 1, 3,
    9, ... evaluations. `hyperband`: the same, starting later for some arms, for trainings that begin slowly.
    `wilcoxon`: worse than the best finished arm, example by example, in a signed-rank test."""
    min_evaluations: Annotated[int, Field(ge=1)] = 1
    """After how many evaluations an arm may be ended first. Let that be behind the warmup, in which losses mislead."""
    reduction_factor: Annotated[int, Field(ge=2, le=16)] = 3
    """Halving and hyperband: one arm in so many goes on, and each rung is so many times further on than the last."""
    startup_arms: Annotated[int, Field(ge=1)] = 3
    """Median and wilcoxon: how many arms must have finished before one is ended."""
    p: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Wilcoxon: ended when an arm no worse than the best would look this bad with at most this probability."""


def pruner_problem(pruner: PrunerSpec, evaluations: object, objectives: list[str]) -> str | None:
    """Why a search cannot be pruned so, or None. `evaluations` is the method's field; None for one that trains not."""
    if pruner.type == "none":
        return None
    if evaluations is None:
        return "a pruner ends trainings early, and this method trains nothing; leave the pruner out"
    if not isinstance(evaluations, int):
        return "a pruner compares arms at equal shares of their training; give 'evaluations' one number"
    if objectives != ["quality"]:
        return "a pruner judges by validation loss alone, so it needs the single objective 'quality'"
    if pruner.type in ("successive_halving", "hyperband"):
        first = pruner.min_evaluations
        if evaluations < (least := first * pruner.reduction_factor):
            return f"expected 'evaluations' of {least} or more, for a rung before the end; found {evaluations}"
    elif evaluations <= pruner.min_evaluations:
        return f"expected 'evaluations' above 'min_evaluations', {pruner.min_evaluations}; found {evaluations}"
    return None
