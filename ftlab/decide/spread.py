"""What chance leaves open about an arm's figure: which seed was drawn and which examples were, told apart."""

from __future__ import annotations

import math
from statistics import NormalDist, stdev

from ftlab.decide.facts import ArmFacts
from ftlab.decide.view import Estimate, Spread


def spread_of(arm: ArmFacts, split: str, metric: str, found: Estimate | None) -> Spread | None:
    """By the arm's runs and by the interval of its figure, `found`; None without a figure.

    Seeds that share their answers (of a prompt that draws nothing) are one. Their standard deviation is what a look at
    the runs shows: they answer the same examples, so the choice of those is not in it.
    """
    if found is None:
        return None
    values = {
        key: row.value
        for run in arm.runs
        if (key := run.key("scores", split)) and (row := run.metrics.get((split, metric))) and row.value is not None
    }
    sd = stdev(values.values()) if len(values) > 1 else None
    error = example_error(found)
    larger = None
    if sd is not None and error is not None:
        larger = "seeds" if sd / math.sqrt(len(values)) > error else "examples"
    return Spread(
        seeded=arm.is_seeded, seeds=len(values), seed_sd=sd, example_error=error, examples=found.n, larger=larger
    )


def example_error(found: Estimate) -> float | None:
    """The standard error that an interval over examples points to: half its width over the normal quantile."""
    if found.low is None or found.high is None:
        return None
    return (found.high - found.low) / 2 / NormalDist().inv_cdf((1 + found.confidence) / 2)
