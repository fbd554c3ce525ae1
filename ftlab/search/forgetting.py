"""What an arm has forgotten, as one number that a search can aim at or keep to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftlab.evaluate.benchmarks import measures_of
from ftlab.text import SHARE

Summaries = Mapping[str, Mapping[str, Any]]
"""The summaries of benchmark stages, by the benchmark's name."""


def worst_loss(arm: Summaries, base: Summaries) -> float | None:
    """The largest loss against the base over all benchmarks of `arm`, in shares; below zero where it gained on each.

    None while the base lacks one of them. What is counted otherwise than in shares (a loss in nats) and habits that
    have no better are left out: they would not be comparable.
    """
    if not arm or not arm.keys() <= base.keys():
        return None
    losses = [loss for task in arm for loss in _losses(task, arm[task], base[task])]
    return max(losses, default=None)


def _losses(task: str, arm: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[float]:
    for measure in measures_of(task):
        metric = measure.metric or str(arm["primary"])
        if measure.gated and measure.unit == SHARE and metric in arm["metrics"] and metric in base["metrics"]:
            fall = float(base["metrics"][metric]["value"]) - float(arm["metrics"][metric]["value"])
            yield -fall if measure.direction == "lower" else fall
