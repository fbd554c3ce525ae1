"""Which running arms of a search are to be ended. Asked a few times per second, and all it knows is on disk.

Several seeds or folds: the first run of an arm, of its first seed and fold, is judged against the first runs of the
others, on the same rows. When it is given up its arm is, and the other runs go with it: spread over seeds is worth
knowing of arms that are still in the running alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftlab.catalog import PRUNERS
from ftlab.execute.attempts import list_attempts, run_folder
from ftlab.execute.pruning import Verdict, read_verdict
from ftlab.plan.run import PlannedSearch, RunConfig
from ftlab.search.base import State
from ftlab.search.outcomes import RunOutcome, read_run
from ftlab.search.pruners import Course, Field, Pruner


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that is to end."""

    run: RunConfig
    verdict: Verdict


class Judging:
    """Judges the arms of one search that has a pruner."""

    def __init__(self, search: PlannedSearch, results: Path) -> None:
        evaluations = int(search.run.method["evaluations"])
        spec = search.search.pruning
        self._pruner: Pruner = PRUNERS.load(spec.type)(spec, Field(search.search_id, evaluations))
        self._evaluations = evaluations
        self._results = results
        self._read: dict[str, tuple[int, int, RunOutcome]] = {}
        self._judged: dict[str, int] = {}
        """How many evaluations of each run were judged, so that none is judged twice as others catch up."""

    def judge(self, arms: Sequence[Sequence[RunConfig]], running: set[str]) -> list[Judged]:
        """The running runs that are to end now. `arms` has the runs of every proposal, by its number, the first first.

        Raises nothing for a journal that is not there yet.
        """
        if not any(run.run_id in running for runs in arms for run in runs):
            return []
        firsts = [self._outcome(runs[0]) if runs else RunOutcome() for runs in arms]
        courses = [course(outcome) for outcome in firsts]
        found: list[Judged] = []
        for number, (runs, outcome) in enumerate(zip(arms, firsts, strict=True)):
            if not runs or not any(run.run_id in running for run in runs):
                continue
            gone = self.given_up(runs)
            if runs[0].run_id in running and (verdict := self._verdict(courses, number, runs[0], outcome)) is not None:
                found.append(Judged(runs[0], verdict))
                gone = _sibling(runs[0], verdict.words)
            if gone is not None:
                found += [Judged(run, gone) for run in runs[1:] if run.run_id in running]
        return [one for one in found if read_verdict(self._newest(one.run)) is None]

    def given_up(self, runs: Sequence[RunConfig]) -> Verdict | None:
        """The verdict on the further runs of an arm whose first was given up."""
        outcome = self._outcome(runs[0])
        return _sibling(runs[0], outcome.reason) if outcome.state is State.PRUNED else None

    def _verdict(self, courses: Sequence[Course], number: int, run: RunConfig, outcome: RunOutcome) -> Verdict | None:
        seen = len(courses[number].losses)
        if outcome.trained or not seen or seen >= self._evaluations or self._judged.get(run.run_id) == seen:
            return None
        self._judged[run.run_id] = seen
        reason = self._pruner.hopeless(courses, number)
        return None if reason is None else Verdict(outcome.step, reason)

    def _newest(self, run: RunConfig) -> Path:
        return list_attempts(run_folder(self._results, run))[-1]

    def _outcome(self, run: RunConfig) -> RunOutcome:
        """Read again when the newest journal has grown; what ended for good is not looked at again."""
        known = self._read.get(run.run_id)
        if known is not None and known[2].state in (State.COMPLETE, State.PRUNED):
            return known[2]
        attempts = list_attempts(run_folder(self._results, run))
        try:
            size = (attempts[-1] / "events.jsonl").stat().st_size if attempts else 0
        except FileNotFoundError:
            size = 0
        if known is None or known[:2] != (len(attempts), size):
            known = self._read[run.run_id] = (len(attempts), size, read_run(self._results, run))
        return known[2]


def course(outcome: RunOutcome) -> Course:
    """What a pruner is told of a run."""
    steps = sorted(outcome.losses)
    return Course(
        losses=tuple(outcome.losses[step] for step in steps),
        scores=tuple(outcome.scores.get(step) for step in steps),
        complete=outcome.trained,
    )


def _sibling(first: RunConfig, words: str) -> Verdict:
    fold = "" if first.fold is None else f", fold {first.fold}"
    return Verdict(0, f"its arm was given up at seed {first.seed}{fold}, {words}")
