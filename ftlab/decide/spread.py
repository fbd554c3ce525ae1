"""What chance leaves open about an arm's figure: which seed was drawn and which examples were, told apart."""

from __future__ import annotations

from statistics import NormalDist, stdev
from typing import Literal

from ftlab.decide.facts import VALIDATION, ArmFacts, pooled
from ftlab.decide.view import Estimate, Spread


def spread_of(arm: ArmFacts, split: str, metric: str, found: Estimate | None) -> Spread | None:
    """By the arm's runs and by the interval of its figure, `found`; None without a figure.

    Seeds that share their answers (of a prompt that draws nothing) are one. Their standard deviation is what a look at
    the runs shows: they answer the same examples, so the choice of those is not in it. Folds with one seed answer each
    its own examples of validation: there it is in it, and is taken off before both are compared.
    """
    if found is None:
        return None
    over = _over(arm, split)
    values = _figures(arm, split, metric, apart=over != "seeds")
    sd = stdev(values) if len(values) > 1 else None
    error = example_error(found)
    larger: Literal["replicates", "examples"] | None = None
    if sd is not None and error is not None:
        chance = sd**2 / len(values) - (error**2 if over == "folds" else 0.0)
        larger = "replicates" if chance > error**2 else "examples"
    return Spread(
        seeded=arm.is_seeded,
        over=over,
        replicates=len(values),
        sd=sd,
        example_error=error,
        examples=found.n,
        larger=larger,
    )


def _over(arm: ArmFacts, split: str) -> Literal["seeds", "folds", "models"]:
    if all(run.fold is None for run in arm.runs):
        return "seeds"
    if split != VALIDATION:
        return "models"
    return "folds" if len(arm.seeds) == 1 else "seeds"


def _figures(arm: ArmFacts, split: str, metric: str, *, apart: bool) -> list[float]:
    """The figure of every replicate with answers of its own, or of every run where they are taken apart."""
    by_keys: dict[tuple[str, ...], float] = {}
    for runs in [(run,) for run in arm.runs] if apart else arm.replicates(split):
        keys = tuple(key for run in runs if (key := run.key("scores", split)))
        rows = [row for run in runs if (row := run.metrics.get((split, metric))) and row.value is not None]
        if keys and rows and (value := pooled(rows).value) is not None:
            by_keys[keys] = value
    return list(by_keys.values())


def example_error(found: Estimate) -> float | None:
    """The standard error that an interval over examples points to: half its width over the normal quantile."""
    if found.low is None or found.high is None:
        return None
    return (found.high - found.low) / 2 / NormalDist().inv_cdf((1 + found.confidence) / 2)
