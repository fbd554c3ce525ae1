"""What came of an arm, read from the journals of its runs: never from test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ftlab.events import EventType, Status
from ftlab.execute.attempts import list_attempts, read_end, run_folder
from ftlab.plan.run import RunConfig
from ftlab.search.base import State
from ftlab.spec.searches import COSTS
from ftlab.store.journal import read_events

VALIDATION = "validation"


@dataclass(slots=True)
class RunOutcome:
    """One run: how its newest attempt stands, and what all its attempts took."""

    state: State = State.RUNNING
    figures: dict[str, float] = field(default_factory=dict)
    """Metrics on validation and costs, by name."""
    directions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    losses: dict[int, float] = field(default_factory=dict)
    """The validation loss by the step that it was measured at, over all attempts."""
    scores: dict[int, tuple[float, ...]] = field(default_factory=dict)
    """The loss of every validation row, likewise."""
    benchmarks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The summary of every benchmark of the result, by its name."""
    trained: bool = False
    """Whether the weights stand."""
    reason: str = ""
    """Why the newest attempt ended, where it says so."""

    @property
    def step(self) -> int:
        """The step of the newest evaluation; 0 before the first."""
        return max(self.losses, default=0)


def read_run(results: Path, config: RunConfig) -> RunOutcome:
    """How one run stands by its files."""
    outcome = RunOutcome()
    on_the_way = {stage.key for stage in config.stages if stage.point}
    attempts = list_attempts(run_folder(results, config))
    for attempt in attempts:
        try:
            events, _ = read_events(attempt / "events.jsonl")
        except FileNotFoundError:
            continue
        if events:
            outcome.seconds += events[-1]["ts"] - events[0]["ts"]
        outcome.figures.clear()
        for event in events:
            if event["type"] == EventType.METRICS and event["split"] == VALIDATION:
                for row in event["rows"]:
                    outcome.directions[row["key"]] = row["direction"]
                    if row["value"] is not None:
                        outcome.figures[row["key"]] = float(row["value"])
            elif event["type"] == EventType.STAGE:
                if event["kind"] == "benchmark" and event["key"] not in on_the_way:
                    outcome.benchmarks[event["name"]] = event["summary"]
                outcome.trained |= event["kind"] == "weights"
                costs = {name: event["summary"][name] for name in COSTS if event["summary"].get(name) is not None}
                outcome.figures.update({name: float(value) for name, value in costs.items()})
            elif event["type"] == EventType.CURVE:
                _note_point(outcome, event)
    end = read_end(attempts[-1]) if attempts else None
    if end is not None:
        outcome.reason = end.reason or ""
        outcome.state = {Status.COMPLETE: State.COMPLETE, Status.PRUNED: State.PRUNED}.get(end.status, State.FAILED)
    return outcome


def _note_point(outcome: RunOutcome, event: Mapping[str, Any]) -> None:
    """What a point of a curve says of the validation loss, and of what the training has taken until then."""
    values = event["values"]
    if (loss := values.get("validation/loss")) is not None:
        outcome.losses[event["step"]] = float(loss)
        if event.get("scores"):
            outcome.scores[event["step"]] = tuple(map(float, event["scores"]))
    for name in ("train_tokens", "train_seconds"):
        if (spent := values.get(f"cost/{name}")) is not None:
            outcome.figures[name] = float(spent)


def arm_state(runs: Sequence[RunOutcome]) -> State:
    """An arm is what its worst run is; one that still runs leaves it open."""
    states = {run.state for run in runs}
    for state in (State.RUNNING, State.FAILED, State.PRUNED):
        if state in states:
            return state
    return State.COMPLETE


def mean_figure(runs: Sequence[RunOutcome], name: str) -> float | None:
    """The mean over the runs (the seeds) of an arm; None where one lacks it."""
    values = [run.figures.get(name) for run in runs]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
