"""An arm's figures label by label, out of the metrics that the scorer stored for each label."""

from __future__ import annotations

from collections.abc import Callable

from ftlab.decide.facts import ArmFacts
from ftlab.decide.view import Estimate, LabelFigures

_RECALL, _PRECISION = "recall/", "precision/"


def label_figures(
    arm: ArmFacts, split: str, estimate: Callable[[ArmFacts, str, str], Estimate | None]
) -> list[LabelFigures]:
    """Recall and precision of every label. `estimate(arm, split, metric)` reads a metric over the arm's seeds."""
    supports = {
        name.removeprefix(_RECALL): row.n or 0
        for run in arm.runs
        for (at, name), row in run.metrics.items()
        if at == split and name.startswith(_RECALL)
    }
    return [
        LabelFigures(
            label=label,
            support=supports[label],
            recall=estimate(arm, split, f"{_RECALL}{label}"),
            precision=estimate(arm, split, f"{_PRECISION}{label}"),
        )
        for label in sorted(supports)
    ]
