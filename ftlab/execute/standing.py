"""Where an experiment stands by its files alone, whoever works on it: what `status` shows."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path

from ftlab.events import Status
from ftlab.execute.attempts import ABANDONED_REASON, list_attempts, number, read_end, run_folder
from ftlab.execute.hold import Holder, holder
from ftlab.execute.progress import Progress, SweepState
from ftlab.execute.stages import StageStore
from ftlab.plan.run import Plan, RunConfig


@dataclass(frozen=True, slots=True)
class RunStanding:
    """Where one run stands."""

    run_id: str
    label: str
    status: Status
    reason: str | None
    attempt: int | None
    ended: float | None
    """When its newest attempt ended, Unix time."""
    log: Path | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an experiment stands."""

    plan: Plan
    holder: Holder | None
    runs: tuple[RunStanding, ...]
    state: SweepState
    spent_seconds: float
    """What its complete stages took to compute, each once, whoever computed them and whenever."""

    @property
    def failures(self) -> list[RunStanding]:
        """The runs whose newest attempt ended otherwise than complete; being given up by a search is no failure."""
        return [run for run in self.runs if run.status.is_final and run.status not in (Status.COMPLETE, Status.PRUNED)]

    @property
    def pruned(self) -> list[RunStanding]:
        """The runs that their searches gave up."""
        return [run for run in self.runs if run.status is Status.PRUNED]

    @property
    def last_failure(self) -> RunStanding | None:
        """The failure that happened last; being stopped by the user is none."""
        real = [run for run in self.failures if run.status is not Status.CANCELLED]
        return max(real, key=lambda run: run.ended or 0.0, default=None)


def read_standing(results: Path, plan: Plan) -> Standing:
    """Read the ends of all newest attempts and the progress of those that run."""
    stages = StageStore(results)
    progress = Progress(plan, plan.execute.workers)
    runs = []
    spent = 0.0
    for config in plan.runs:
        for stage in config.stages:
            if not progress.is_complete(stage) and (record := stages.complete(stage.kind, stage.key)) is not None:
                progress.stage_complete(config, stage, record.seconds)
                spent += record.seconds
        runs.append(_run_standing(results, config, progress))
    return Standing(plan, holder(results), tuple(runs), progress.state(), spent)


def _run_standing(results: Path, config: RunConfig, progress: Progress) -> RunStanding:
    now = newest_attempt(run_folder(results, config))
    label = progress.label(config)
    if now.folder is None:
        return RunStanding(config.run_id, label, now.status, None, None, None, None)
    if now.ended is not None:
        progress.ended(config, now.status)
    elif now.status is Status.RUNNING:
        progress.started(config, now.folder)
    return RunStanding(config.run_id, label, now.status, now.reason, now.number, now.ended, now.folder / "log.txt")


@dataclass(frozen=True, slots=True)
class NewestAttempt:
    """Where the newest attempt of a run stands; a run without one is waiting."""

    status: Status
    reason: str | None = None
    folder: Path | None = None
    ended: float | None = None
    """When it wrote its end, Unix time; None for one that was killed before it could."""

    @property
    def number(self) -> int | None:
        """1 for the first."""
        return None if self.folder is None else number(self.folder)


def newest_attempt(run: Path) -> NewestAttempt:
    """Where a run stands by its folder: the one rule for whoever asks, in the terminal and in the app."""
    attempts = list_attempts(run)
    if not attempts:
        return NewestAttempt(Status.WAITING)
    newest = attempts[-1]
    end = read_end(newest)
    if end is not None:
        return NewestAttempt(end.status, end.reason, newest, end.ts)
    if _is_worked_on(newest):
        return NewestAttempt(Status.RUNNING, None, newest)
    # Nobody has closed it yet: the next `ftlab run` or `ftlab resume` does.
    return NewestAttempt(Status.KILLED, ABANDONED_REASON, newest)


def _is_worked_on(attempt: Path) -> bool:
    """Whether a worker holds the lease. Only looks, so that a folder on a read-only disk can be asked about, too."""
    try:
        with (attempt / "lease").open("rb") as lease:
            fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
