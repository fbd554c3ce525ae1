"""Which arms a race gives more seeds. All it knows is on disk, as all that a search knows.

A group of arms (`ftlab.plan.race`) is ranked once every arm of it has ended its first seeds, by the mean over those
seeds alone: they are the same number for every arm, so no arm is ranked by a less noisy mean than another, and further
seeds cannot change who leads. An arm that once led keeps its seeds whoever leads later; one that comes later (a search
that goes on, a failed run that is mended) joins when it is among the first then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ftlab.files import storage_errors, write_atomic
from ftlab.plan.race import race_groups
from ftlab.plan.run import Arm, Plan, RunConfig
from ftlab.search.base import State
from ftlab.search.outcomes import RunOutcome, arm_state, mean_figure
from ftlab.spec.judge import JUDGE
from ftlab.spec.metrics import metric_keys


class Leaders:
    """The arms that led, on disk: `<experiment>/race/<arm_id>.json`, each written whole before its seeds run."""

    def __init__(self, results: Path, experiment_id: str) -> None:
        self._folder = results / experiment_id / "race"

    def read(self) -> list[str]:
        """Their ids."""
        return sorted(file.stem for file in self._folder.glob("*.json"))

    def add(self, arm: Arm, value: float) -> None:
        """Keep one more, with the mean that it led by. Raises StorageError."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        content = {"arm_id": arm.arm_id, "label": arm.label, "validation": value, "ts": time.time()}
        write_atomic(self._folder / f"{arm.arm_id}.json", json.dumps(content, allow_nan=False).encode())


def leaders(plan: Plan, outcome: Callable[[RunConfig], RunOutcome]) -> Iterator[tuple[Arm, float]]:
    """The leading arms of every group whose arms have all ended their first seeds, each with its mean."""
    race = plan.race
    if race is None:
        return
    first = race.seeds[: race.first]
    runs: dict[str, list[RunConfig]] = {}
    for run in plan.runs:
        if run.seed in first:
            runs.setdefault(run.arm_id, []).append(run)
    for arms in race_groups(plan).values():
        found = [(arm, [outcome(run) for run in runs[arm.arm_id]]) for arm in arms]
        if any(arm_state(outcomes) is State.RUNNING for _, outcomes in found):
            continue
        measured = [(arm, outcomes) for arm, outcomes in found if arm_state(outcomes) is State.COMPLETE]
        metric, sign = _ranked_by(plan, [each for _, outcomes in measured for each in outcomes])
        means = [(arm, value) for arm, outcomes in measured if (value := mean_figure(outcomes, metric)) is not None]
        # A stable sort: of equal arms the first in the plan leads, as it would stand for its method.
        yield from sorted(means, key=lambda pair: -sign * pair[1])[: race.top]


def _ranked_by(plan: Plan, outcomes: list[RunOutcome]) -> tuple[str, float]:
    """The deciding metric and 1 where more of it is better, else -1. A judge speaks when all is done: until then the
    task's first metric that has a better side stands for it."""
    directions = {name: way for outcome in outcomes for name, way in outcome.directions.items()}
    metric = plan.decision.metric
    if metric == JUDGE:
        keys = metric_keys(plan.task.metrics)
        metric = next((key for key in keys if directions.get(key, "none") != "none"), keys[0])
    return metric, -1.0 if directions.get(metric) == "lower" else 1.0
