"""How far a sweep is, for people who watch: read from the journals of the running attempts, a few times per second."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from ftlab.events import EventType, Status
from ftlab.plan.run import Plan, RunConfig, StageKey
from ftlab.store.journal import read_events


@dataclass(frozen=True, slots=True)
class RunningNow:
    """What one running run is doing."""

    run_id: str
    label: str
    stage: str
    """Kind and name of its stage, e.g. `benchmark builtin:piqa`; empty before the first."""
    phase: str
    """`train`, `predict`, `benchmark`, `load`, `wait`, ...; empty before the first progress."""
    done: int
    total: int
    unit: str
    loss: float | None
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class SweepState:
    """One look at a sweep."""

    total: int
    done: int
    failed: int
    running: tuple[RunningNow, ...]
    elapsed: float
    """Seconds since this session began."""
    seconds_left: float | None
    """None as long as there is nothing to estimate it from."""
    pruned: int = 0
    """Runs that their searches gave up."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended in this session."""

    config: RunConfig
    label: str
    attempt: Path
    status: Status
    reason: str | None
    will_retry: bool = False


class Display(Protocol):
    """Shows a sweep while it runs."""

    def update(self, state: SweepState) -> None:
        """Called a few times per second."""

    def fetching(self, progress: Mapping[str, Any]) -> None:
        """Something is being fetched before the sweep starts: the fields of a progress event."""

    def ended(self, end: RunEnd) -> None:
        """An attempt ended."""

    def note(self, text: str) -> None:
        """One sentence that must be seen once."""

    def close(self) -> None:
        """The sweep is over; leave the terminal as it was."""


class Silent:
    """A display for callers who do not watch."""

    def update(self, state: SweepState) -> None:
        """Nothing is shown."""

    def fetching(self, progress: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def ended(self, end: RunEnd) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing to tidy."""


@dataclass(slots=True)
class _Follow:
    """A running attempt and how far its journal has been read."""

    config: RunConfig
    label: str
    journal: Path
    offset: int = 0
    stage: StageKey | None = None
    stage_since: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)


class Progress:
    """Follows the journals of running attempts and estimates the time left from the stages that were measured."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self.plan(plan)
        self._workers = workers
        self._began = time.monotonic()
        self._following: dict[str, _Follow] = {}
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._complete: set[str] = set()
        self._ended: dict[str, Status] = {}
        self._warnings: dict[str, str] = {}
        self._told: set[str] = set()

    def plan(self, plan: Plan) -> None:
        """What there is to do; again when the plan has grown."""
        self._labels = {arm.arm_id: arm.label for arm in plan.arms}
        self._seeds = Counter(arm for arm, _ in {(config.arm_id, config.seed) for config in plan.runs})
        self._runs = {config.run_id: config for config in plan.runs}

    def label(self, config: RunConfig) -> str:
        """What people call a run: its arm's label, and the seed and fold where there are several."""
        label = self._labels.get(config.arm_id, config.method_name)
        seed = f" seed={config.seed}" if self._seeds[config.arm_id] > 1 else ""
        return f"{label}{seed}{'' if config.fold is None else f' fold={config.fold}'}"

    def stage_complete(self, config: RunConfig, stage: StageKey, seconds: float) -> None:
        """A stage stands on disk and took so long when it was computed."""
        if stage.key in self._complete:
            return
        self._complete.add(stage.key)
        for kind in _likeness(config, stage):
            self._seconds[kind].append(seconds)

    def is_complete(self, stage: StageKey) -> bool:
        """Whether the stage is known to stand on disk."""
        return stage.key in self._complete

    def started(self, config: RunConfig, attempt: Path) -> None:
        """A run began."""
        self._following[config.run_id] = _Follow(config, self.label(config), attempt / "events.jsonl")

    def ended(self, config: RunConfig, status: Status | None) -> None:
        """A run ended; None when it will be tried again."""
        follow = self._following.pop(config.run_id, None)
        if follow is not None:
            self._read(follow)
        if status is not None:
            self._ended[config.run_id] = status

    def new_warnings(self) -> list[str]:
        """What runs have warned of since the last call, each message once, with the run that said it first."""
        new = [f"{label}: {message}" for message, label in self._warnings.items() if message not in self._told]
        self._told.update(self._warnings)
        return new

    def state(self) -> SweepState:
        """Read what the journals have new and sum it up."""
        for follow in self._following.values():
            self._read(follow)
        statuses = list(self._ended.values())
        return SweepState(
            total=len(self._runs),
            done=sum(status is Status.COMPLETE for status in statuses),
            failed=sum(status not in (Status.COMPLETE, Status.PRUNED) for status in statuses),
            pruned=statuses.count(Status.PRUNED),
            running=tuple(_running_now(follow) for follow in self._following.values()),
            elapsed=time.monotonic() - self._began,
            seconds_left=self._seconds_left(),
        )

    def _read(self, follow: _Follow) -> None:
        try:
            events, follow.offset = read_events(follow.journal, follow.offset)
        except FileNotFoundError:
            return  # the worker has not begun
        for event in events:
            match event.get("type"):
                case EventType.STAGE_STARTED:
                    follow.stage = StageKey(kind=event["kind"], name=event["name"], key=event["key"])
                    follow.stage_since = float(event["ts"])
                    follow.progress = {}
                case EventType.PROGRESS:
                    follow.progress = event
                case EventType.CURVE if (loss := event["values"].get("train/loss")) is not None:
                    follow.progress = {**follow.progress, "loss": loss}
                case EventType.WARNING:
                    self._warnings.setdefault(str(event["message"]), follow.label)
                case EventType.STAGE:
                    done = StageKey(kind=event["kind"], name=event["name"], key=event["key"])
                    self.stage_complete(follow.config, done, float(event["seconds"]))

    def _seconds_left(self) -> float | None:
        """The measured or extrapolated seconds of every distinct stage still to do, shared among the workers."""
        running = {follow.stage.key: follow for follow in self._following.values() if follow.stage is not None}
        left, seen = 0.0, set(self._complete)
        open_runs = [config for run, config in self._runs.items() if run not in self._ended]
        for config in open_runs:
            for stage in config.stages:
                if stage.key in seen:
                    continue
                seen.add(stage.key)
                expected = self._expected(config, stage, running.values())
                if expected is None:
                    return None
                follow = running.get(stage.key)
                left += _remaining(follow, expected) if follow is not None else expected
        return left / max(1, min(self._workers, len(open_runs)))

    def _expected(self, config: RunConfig, stage: StageKey, running: Iterable[_Follow]) -> float | None:
        """The mean seconds of the stages most like this one; failing that, what a running one projects to."""
        likeness = _likeness(config, stage)
        for kind in likeness:
            if measured := self._seconds.get(kind):
                return fmean(measured)
        projections = [
            projected
            for follow in running
            if follow.stage is not None
            and _likeness(follow.config, follow.stage)[-1] == likeness[-1]
            and (projected := _projected(follow)) is not None
        ]
        return fmean(projections) if projections else None


def _likeness(config: RunConfig, stage: StageKey) -> list[tuple[str, ...]]:
    """What a stage's duration can be judged by, the most alike first."""
    return [(stage.kind, stage.name, config.method_name), (stage.kind, stage.name), (stage.kind,)]


def _projected(follow: _Follow) -> float | None:
    """The whole duration of a running stage, from the share that is done."""
    done, total = follow.progress.get("done", 0), follow.progress.get("total", 0)
    if not done or not total or done > total:
        return None
    return float((follow.progress["ts"] - follow.stage_since) / done * total)


def _remaining(follow: _Follow, expected: float) -> float:
    """By the worker's clock alone, as of its last word: that of another machine may be hours off this one's."""
    whole = _projected(follow)
    elapsed = follow.progress.get("ts", follow.stage_since) - follow.stage_since
    return max(0.0, (expected if whole is None else whole) - elapsed)


def _running_now(follow: _Follow) -> RunningNow:
    progress, stage = follow.progress, follow.stage
    return RunningNow(
        run_id=follow.config.run_id,
        label=follow.label,
        stage=f"{stage.kind} {stage.name}".rstrip() if stage is not None else "",
        phase=str(progress.get("phase", "")),
        done=int(progress.get("done", 0)),
        total=int(progress.get("total", 0)),
        unit=str(progress.get("unit", "")),
        loss=progress.get("loss"),
        tokens_per_second=progress.get("tokens_per_second"),
    )
