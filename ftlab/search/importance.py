"""Which fields of a search mattered: Optuna's PED-ANOVA, beside what it would find if no field did.

PED-ANOVA asks how differently the best arms are spread over a field than all arms. A few arms are always spread
differently by chance, and its shares add up to one even then. So the same is asked again with the results dealt out
to the arms at random, and a field counts as more than chance only where it stands out from that.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from ftlab.search.base import Past, Space, State
from ftlab.search.optuna import as_trial

MIN_ARMS = 15
"""Measured arms below which nothing is said."""
TOP_SHARE = 1 / 3
"""The best arms, of all measured: of the fewest still five, and Optuna advises against less."""
SHUFFLES = 99
"""How often the results are dealt out at random."""
CHANCE = 0.05
"""How often a field of a search in which none matters may be called more than chance, all its fields together."""


@dataclass(frozen=True, slots=True)
class Importance:
    """How much one field told the best arms from the others."""

    field: str
    share: float
    """Of all fields together, 0 to 1."""
    p: float
    """In which share of the searches that are chance alone some field stands out as much, 0.01 to 1."""

    @property
    def beyond_chance(self) -> bool:
        """Whether it stands out from what chance alone does."""
        return self.p <= CHANCE


def importances(space: Space, past: Sequence[Past], seed: int = 0) -> list[Importance]:
    """Every field's importance for the first objective, the largest first; empty below MIN_ARMS measured arms.

    Exact for arms that were drawn at random or listed; a sampler that learns looks more often where it found good
    arms, which the dealing out at random cannot undo. Equal arguments give equal answers.
    """
    measured = [one for one in past if one.state is State.COMPLETE and one.objectives is not None]
    if len(measured) < MIN_ARMS:
        return []
    sign = -1.0 if space.directions[0] == "maximize" else 1.0
    losses = [sign * one.objectives[0] for one in measured if one.objectives is not None]
    evaluate = _evaluator(space, measured)
    raw = evaluate(losses)
    chance = random.Random(seed)
    dealt = [evaluate(chance.sample(losses, len(losses))) for _ in range(SHUFFLES)]
    outstanding = _standardized(raw, dealt)
    by_chance = [max(_standardized(one, dealt).values(), default=0.0) for one in dealt]
    total = sum(raw.values())
    return [
        Importance(
            field,
            value / total if total else 0.0,
            (1 + sum(one >= outstanding[field] for one in by_chance)) / (SHUFFLES + 1),
        )
        for field, value in sorted(raw.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _evaluator(space: Space, measured: Sequence[Past]) -> Callable[[Sequence[float]], dict[str, float]]:
    """A function of the arms' losses: raw importances by field."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=list(space.directions))
    study.add_trials([as_trial(space, one) for one in measured])
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)

    def evaluate(losses: Sequence[float]) -> dict[str, float]:
        def loss(trial: Any) -> float:
            return losses[trial.number]

        with warnings.catch_warnings():
            # That a target is minimized, and that a condition left a field few arms: the first is meant, the second
            # is what the comparison with chance is for.
            warnings.simplefilter("ignore")
            return evaluator.evaluate(study, target=loss)

    return evaluate


def _standardized(raw: dict[str, float], dealt: Sequence[dict[str, float]]) -> dict[str, float]:
    """How far each field lies above what chance does to it, in standard deviations: fields differ in scale."""
    found = {}
    for field, value in raw.items():
        usual = [one[field] for one in dealt]
        spread = pstdev(usual)
        found[field] = (value - fmean(usual)) / spread if spread else 0.0
    return found
