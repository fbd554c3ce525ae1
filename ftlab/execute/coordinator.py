"""Bring every run of a plan to completion: decide what is left, hand it to an executor, keep the books while it works.

What counts is on disk. A run is done when its newest attempt ended `complete` and every one of its stages verifies,
or when it ended `pruned`: its search gave it up, and nobody takes that back. So the coordinator can be killed at any
moment and started again: it closes what is dead and continues with the rest.

Who is tried again: a new session tries every run that is not done once, those that failed, ran out of memory or were
killed in an earlier session included. Within a session a run that failed or was killed is tried `execute.retries` times
more; one that ran out of memory or whose training diverged is not, for nothing about it has changed.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ftlab.errors import StorageError
from ftlab.events import Status
from ftlab.execute.attempts import (
    close_attempt,
    close_dead_attempts,
    create_attempt,
    list_attempts,
    read_config,
    read_end,
    run_folder,
)
from ftlab.execute.base import CANCELLED_REASON, Executor, Finished, Handle
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.interrupts import Interrupts
from ftlab.execute.progress import Display, Progress, RunEnd
from ftlab.execute.pruning import write_verdict
from ftlab.execute.stages import StageStore
from ftlab.files import write_atomic
from ftlab.plan.opening import TEST
from ftlab.plan.run import Plan, RunConfig, StageKey
from ftlab.search.session import SearchSession
from ftlab.text import one_line

TICK_SECONDS = 0.25
"""How long the coordinator sleeps at most before it looks at the journals again."""
GRACE_SECONDS = 60.0
"""A step of training on a slow machine and its checkpoint take no longer; a second Ctrl-C does not wait for it."""
WARNING_CHARACTERS = 600
RETRIED = (Status.FAILED, Status.KILLED)
DONE = (Status.COMPLETE, Status.PRUNED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session did."""

    total: int
    already_done: int
    """Runs that were done before it began, `already_pruned` included."""
    ends: tuple[RunEnd, ...]
    """The last end of every run that was tried, in the order of their ends."""
    interrupted: bool
    already_pruned: int = 0
    """Runs that their searches had given up before it began."""

    @property
    def failures(self) -> list[RunEnd]:
        """The runs that are not done and not merely stopped."""
        return [end for end in self.ends if end.status not in (*DONE, Status.CANCELLED)]

    @property
    def exit_code(self) -> int:
        """0 all done, 3 some run failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.failures else 0


def write_experiment(plan: Plan, results: Path) -> None:
    """Write the spec and the resolved plan where `resume`, the ledger and people find them. Raises StorageError."""
    folder = results / plan.experiment_id
    for name, text in (("spec.yaml", plan.spec_text), ("resolved.json", plan.model_dump_json())):
        content = text.encode()
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / name, content)


def run_is_done(
    config: RunConfig, results: Path, stages: StageStore, known: Callable[[StageKey], bool] = lambda _: False
) -> bool:
    """Whether the newest attempt ended complete and every stage stands on disk or is `known` to, or was given up by
    its search."""
    attempts = list_attempts(run_folder(results, config))
    end = read_end(attempts[-1]) if attempts else None
    if end is not None and end.status is Status.PRUNED:
        return True
    if end is None or end.status is not Status.COMPLETE:
        return False
    if TEST in config.splits and not _told(config, attempts):
        return False
    return all(known(stage) or stages.complete(stage.kind, stage.key) is not None for stage in config.stages)


def _told(config: RunConfig, attempts: list[Path]) -> bool:
    """Whether some attempt of the run has passed all these stages and so told the ledger of them.

    Test rows may have been answered under another run's name: the stages then stand, and this run has yet to say so.
    """
    wanted = set(config.stages)
    return any(
        wanted <= set(read_config(attempt).stages)
        for attempt in reversed(attempts)
        if (end := read_end(attempt)) is not None and end.status is Status.COMPLETE
    )


def unfinished_runs(plan: Plan, results: Path) -> list[RunConfig]:
    """The runs that a session would start. Reads only."""
    stages = StageStore(results)
    return [config for config in plan.runs if not run_is_done(config, results, stages)]


class Coordinator:
    """One session over one plan. The caller holds the results folder (`ftlab.execute.hold`)."""

    def __init__(
        self,
        plan: Plan,
        results: Path,
        executor: Executor,
        books: Bookkeeping,
        display: Display,
        grace: float = GRACE_SECONDS,
        whole: bool = True,
    ) -> None:
        """`grace` is how many seconds a cancelled run may take to reach its next step.

        `whole` is False for a plan of some runs only: the plan that is on record is then left as it is.
        """
        self._plan = plan
        self._results = results
        self._executor = executor
        self._books = books
        self._display = display
        self._grace = grace
        self._whole = whole
        self._stages = StageStore(results)
        self._progress = Progress(plan, executor.capacity)
        self._waiting: list[RunConfig] = []
        self._running: dict[Handle, RunConfig] = {}
        self._tries: Counter[str] = Counter()
        self._ends: dict[str, RunEnd] = {}
        self._already_pruned = 0
        self._fatal: str | None = None
        self._search: SearchSession | None = None

    def run(self) -> Outcome:
        """Work until nothing is left to do, or until interrupted.

        Raises StorageError when the results folder can no longer be written. What was finished stays finished.
        """
        if self._whole:
            self._search = SearchSession(self._plan, self._results)
            self._take(self._search.plan)
        self._sort_out()
        try:
            with Interrupts() as interrupts:
                self._books.start()
                self._work(interrupts)
                self._executor.close()
                self._close_running(Status.CANCELLED, CANCELLED_REASON)
                self._books.finish()
        finally:
            self._executor.close()
            self._books.stop()
            self._display.close()
        if self._fatal is not None:
            raise StorageError(f"{self._fatal}; free some space, then run `ftlab resume {self._plan.experiment_id}`")
        already_done = len(self._plan.runs) - len({*self._ends, *(config.run_id for config in self._waiting)})
        ends = tuple(self._ends.values())
        return Outcome(len(self._plan.runs), already_done, ends, bool(interrupts.count), self._already_pruned)

    def _take(self, plan: Plan) -> None:
        """Go on by this plan: on disk first, so that what runs is always known to be planned."""
        write_experiment(plan, self._results)
        self._plan = plan
        self._progress.plan(plan)

    def _ask(self) -> None:
        """Let the searches propose the next arm, when all that is planned has been started."""
        if self._search is None or not (runs := self._search.propose()):
            return
        self._take(self._search.plan)
        for config in runs:
            self._note_complete_stages(config)
        self._waiting += runs

    def _sort_out(self) -> None:
        """Close what earlier sessions left open and find what is left to do."""
        for config in self._plan.runs:
            self._note_complete_stages(config)
            close_dead_attempts(self._results, config)
            if run_is_done(config, self._results, self._stages, self._progress.is_complete):
                newest = list_attempts(run_folder(self._results, config))[-1]
                end = read_end(newest)
                shutil.rmtree(newest / "checkpoints", ignore_errors=True)  # what the dead could not tidy away
                status = Status.COMPLETE if end is None else end.status
                self._already_pruned += status is Status.PRUNED
                self._progress.ended(config, status)
            else:
                self._waiting.append(config)

    def _note_complete_stages(self, config: RunConfig) -> None:
        for stage in config.stages:
            if not self._progress.is_complete(stage):
                record = self._stages.complete(stage.kind, stage.key)
                if record is not None:
                    self._progress.stage_complete(config, stage, record.seconds)

    def _work(self, interrupts: Interrupts) -> None:
        deadline: float | None = None
        self._fill()
        while self._running:
            self._settle(self._executor.poll(TICK_SECONDS))
            if interrupts.count or self._fatal is not None:
                if deadline is None:
                    deadline = time.monotonic() + self._grace
                    self._stop(interrupts)
                if interrupts.count > 1 or time.monotonic() > deadline:
                    return
            else:
                self._judge()
                self._fill()
            self._books.check()
            self._display.update(self._progress.state())
            for warning in self._progress.new_warnings():
                self._display.note(f"warning: {one_line(warning, WARNING_CHARACTERS)}")

    def _judge(self) -> None:
        """Tell the workers which of their runs have become hopeless. A worker obeys at its next step."""
        if self._search is None:
            return
        attempts = {config.run_id: handle.attempt for handle, config in self._running.items()}
        for judged in self._search.judge(set(attempts)):
            write_verdict(attempts[judged.run.run_id], judged.verdict)

    def _stop(self, interrupts: Interrupts) -> None:
        self._executor.cancel()
        if interrupts.count and self._running:
            self._display.note("stopping at the next step; press Ctrl-C again to stop at once")

    def _fill(self) -> None:
        while len(self._running) < self._executor.capacity:
            if not self._waiting:
                self._ask()
            if not self._waiting:
                return
            config = self._next()
            self._waiting.remove(config)
            attempt = create_attempt(self._results, config)
            if self._search is not None and (verdict := self._search.given_up(config)) is not None:
                close_attempt(attempt, Status.PRUNED, verdict.words)
                self._note_end(RunEnd(config, self._progress.label(config), attempt, Status.PRUNED, verdict.words))
                continue
            self._tries[config.run_id] += 1
            handle = self._executor.submit(attempt, config.model.revision)
            self._running[handle] = config
            self._progress.started(config, attempt)

    def _next(self) -> RunConfig:
        """The first waiting run that shares least with what is being computed now, on a base that is loaded.

        Two runs that need the same missing stage would have one of them wait.
        """
        claimed = {
            stage.key
            for config in self._running.values()
            for stage in config.stages
            if not self._progress.is_complete(stage)
        }
        warm = set(self._executor.warm)

        def cost(config: RunConfig) -> tuple[int, bool]:
            return sum(stage.key in claimed for stage in config.stages), config.model.revision not in warm

        return min(self._waiting, key=cost)

    def _settle(self, finished: Iterable[Finished]) -> None:
        for news in finished:
            config = self._running.pop(news.handle, None)
            if config is None:
                continue  # a cluster may tell of the same end twice
            attempt = news.handle.attempt
            end = read_end(attempt)
            if end is None:
                close_attempt(attempt, news.status, news.reason or "the worker gave no reason")
                end = read_end(attempt)
            status, reason = (end.status, end.reason) if end is not None else (news.status, news.reason)
            if news.fatal and status not in DONE:
                self._fatal = self._fatal or reason
            worth_it = status in RETRIED and not news.settled and self._fatal is None
            again = worth_it and self._tries[config.run_id] <= config.execute.retries
            self._note_end(RunEnd(config, self._progress.label(config), attempt, status, reason, will_retry=again))

    def _note_end(self, end: RunEnd) -> None:
        if end.status in DONE:
            shutil.rmtree(end.attempt / "checkpoints", ignore_errors=True)
        self._progress.ended(end.config, None if end.will_retry else end.status)
        if end.will_retry:
            self._waiting.append(end.config)
        self._ends.pop(end.config.run_id, None)
        self._ends[end.config.run_id] = end
        self._books.run_ended()
        self._display.ended(end)

    def _close_running(self, status: Status, reason: str) -> None:
        """Write the ends of runs whose processes were just ended by force."""
        for handle, config in self._running.items():
            end = read_end(handle.attempt)
            if end is None:
                close_attempt(handle.attempt, status, reason)
                end = read_end(handle.attempt)
            self._note_end(
                RunEnd(
                    config,
                    self._progress.label(config),
                    handle.attempt,
                    end.status if end is not None else status,
                    end.reason if end is not None else reason,
                )
            )
        self._running.clear()
