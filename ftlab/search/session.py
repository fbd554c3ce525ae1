"""What a plan grows by beyond its spec: clones, the arms that its searches propose, the seeds that its race gives.

All they know is on disk: see `ftlab.search.clones`, `ftlab.search.base` and `ftlab.search.race`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftlab.catalog import SEARCHERS
from ftlab.errors import UsageError
from ftlab.execute.pruning import Verdict
from ftlab.plan.propose import grown, proposed_arm, raced
from ftlab.plan.run import Arm, Plan, PlannedSearch, RunConfig
from ftlab.search.base import Direction, Past, Proposal, Searcher, Space, State, propose_new
from ftlab.search.budget import enough
from ftlab.search.clones import with_clones
from ftlab.search.forgetting import worst_loss
from ftlab.search.front import Front, FrontArm, non_dominated
from ftlab.search.judging import Judged, Judging, course
from ftlab.search.outcomes import RunOutcome, arm_state, mean_figure, read_run
from ftlab.search.race import Leaders, leaders
from ftlab.search.records import Proposals
from ftlab.spec.searches import FORGETTING, parse_constraint


class SearchSession:
    """Grows a plan by what its searches propose, then by its race. One per session of a coordinator."""

    def __init__(self, plan: Plan, results: Path) -> None:
        """Takes up every clone, proposal and leader on record, those included that a kill kept from the plan."""
        self.plan = with_clones(plan, results)
        self._results = results
        self._ended: dict[str, RunOutcome] = {}
        self._searches = [_Search(search, results) for search in plan.searches]
        for search in self._searches:
            for proposal in search.proposals.read():
                self._grow(search, proposal)
        self._leaders = Leaders(results, plan.experiment_id)
        for arm_id in self._leaders.read():
            self.plan = raced(self.plan, arm_id)

    def propose(self) -> list[RunConfig]:
        """The runs of one new arm, of the search that has proposed least; when every search has ended, further seeds
        of one leading arm; none when there are no such either.

        What is new is on disk and in `plan` when this returns. Raises StorageError.
        """
        known = [(search, search.proposals.read()) for search in self._searches]
        for search, proposals in sorted(known, key=lambda pair: len(pair[1])):
            while (proposal := self._next(search, proposals)) is not None:
                search.proposals.add(len(proposals), proposal)
                proposals.append(proposal)
                if runs := self._grow(search, proposal):
                    return runs
        return self._race()

    def _race(self) -> list[RunConfig]:
        for arm, value in leaders(self.plan, self._outcome):
            more = raced(self.plan, arm.arm_id)
            if more is not self.plan:
                self._leaders.add(arm, value)
                runs, self.plan = more.runs[len(self.plan.runs) :], more
                return list(runs)
        return []

    def judge(self, running: set[str]) -> list[Judged]:
        """Of the runs that run now, by id, those that are to be ended, with the reason."""
        return [
            one
            for search in self._searches
            if search.judging is not None
            for one in search.judging.judge(search.runs, running)
        ]

    def given_up(self, run: RunConfig) -> Verdict | None:
        """Why a run need not be begun: the first run of its arm was given up. None where it was not."""
        for search in self._searches:
            for runs in search.runs if search.judging is not None else []:
                if any(run.run_id == sibling.run_id for sibling in runs[1:]):
                    return search.judging.given_up(runs) if search.judging is not None else None
        return None

    def _runs(self, search: PlannedSearch, arm: Arm | None) -> list[RunConfig]:
        """Of the seeds that every arm has: what a race adds is no business of the search, nor of its budget."""
        if arm is None:
            return []
        return [run for run in self.plan.runs if run.arm_id == arm.arm_id and run.seed in search.seeds]

    def _grow(self, search: _Search, proposal: Proposal) -> list[RunConfig]:
        """Add the arm of a proposal; its runs when it is new. A point that the method refuses stays a failed one."""
        arm = _arm(search.planned, proposal)
        before = {run.run_id for run in self.plan.runs}
        if arm is not None:
            self.plan = grown(self.plan, search.planned, arm)
        search.runs.append(self._runs(search.planned, arm))
        return [run for run in self.plan.runs if run.run_id not in before]

    def _next(self, search: _Search, proposals: list[Proposal]) -> Proposal | None:
        outcomes = [[self._outcome(run) for run in runs] for runs in search.runs]
        runs = [run for outcome in outcomes for run in outcome]
        directions = self._directions(search.planned, runs)
        past = self._pasts(search, proposals, outcomes)
        hours = sum(run.seconds for run in runs) / 3600
        tokens = sum(run.figures.get("train_tokens", 0.0) for run in runs)
        price = self.plan.prices.machine_hour
        if enough(search.planned, past, directions[0], hours, tokens, price) is not None:
            return None
        told = search.planned.search
        space = Space(search.planned.dimensions, directions, len(told.constraints), told.arms or len(past) + 1)
        searcher: Searcher = SEARCHERS.load(told.sampler)(space)
        return propose_new(searcher, space, past, search.planned.search_id, told.seed)

    def fronts(self) -> list[Front]:
        """The best arms so far of every search for which one number does not say which they are."""
        return [
            self._front(search)
            for search in self._searches
            if len(search.planned.search.objectives) > 1 or search.constraints
        ]

    def _front(self, search: _Search) -> Front:
        outcomes = [[self._outcome(run) for run in runs] for runs in search.runs]
        directions = self._directions(search.planned, [run for outcome in outcomes for run in outcome])
        labels = {arm.arm_id: arm.label for arm in self.plan.arms}
        found = zip(search.runs, self._pasts(search, search.proposals.read(), outcomes), strict=True)
        measured = [(runs[0], past) for runs, past in found if past.objectives is not None]
        kept = [
            FrontArm(labels[run.arm_id], past.objectives)
            for run, past in measured
            if past.objectives is not None and all(excess <= 0 for excess in past.excess)
        ]
        told = search.planned.search
        return Front(
            method=search.planned.arm.label,
            objectives=tuple(map(self._figure, told.objectives)),
            constraints=tuple(told.constraints),
            arms=non_dominated(kept, directions),
            broken=len(measured) - len(kept),
        )

    def _pasts(self, search: _Search, proposals: list[Proposal], outcomes: list[list[RunOutcome]]) -> list[Past]:
        if FORGETTING in search.figures:
            base = self._base(search.planned)
            for outcome in (run for runs in outcomes for run in runs):
                if (loss := worst_loss(outcome.benchmarks, base)) is not None:
                    outcome.figures[FORGETTING] = loss
        return [self._past(search, one, found) for one, found in zip(proposals, outcomes, strict=True)]

    def _base(self, search: PlannedSearch) -> dict[str, Mapping[str, Any]]:
        """What the search's base model did on the benchmarks, by the journals of the runs that leave it as it is."""
        model = search.run.model
        found: dict[str, Mapping[str, Any]] = {}
        for run in self.plan.runs:
            if run.key("weights") is None and (run.model.revision, run.model.dtype) == (model.revision, model.dtype):
                found = {**self._outcome(run).benchmarks, **found}
        return found

    def _outcome(self, run: RunConfig) -> RunOutcome:
        """Read once when it cannot change any more: a failed run may be tried again."""
        if run.run_id in self._ended:
            return self._ended[run.run_id]
        outcome = read_run(self._results, run)
        if outcome.state in (State.COMPLETE, State.PRUNED):
            self._ended[run.run_id] = outcome
        return outcome

    def _directions(self, search: PlannedSearch, runs: list[RunOutcome]) -> tuple[Direction, ...]:
        """Costs are made smaller; which way is better for the deciding metric, its own rows say."""
        metric = self.plan.decision.metric
        lower = any(run.directions.get(metric) == "lower" for run in runs)
        quality: Direction = "minimize" if lower else "maximize"
        return tuple(quality if name == "quality" else "minimize" for name in search.search.objectives)

    def _past(self, search: _Search, proposal: Proposal, runs: list[RunOutcome]) -> Past:
        if not runs:
            return Past(proposal, State.FAILED)
        state = arm_state(runs)
        losses = course(runs[0]).losses if search.judging is not None else ()
        if state is not State.COMPLETE:
            return Past(proposal, state, losses=losses)
        values = [mean_figure(runs, self._figure(name)) for name in search.planned.search.objectives]
        limits = [(limit, mean_figure(runs, self._figure(limit.name))) for limit in search.constraints]
        objectives = tuple(value for value in values if value is not None)
        excess = tuple(limit.excess(value) for limit, value in limits if value is not None)
        if FORGETTING in search.figures and any(FORGETTING not in run.figures for run in runs):
            return Past(proposal, State.RUNNING, losses=losses)  # the base is still to be measured
        if len(objectives) < len(values) or len(excess) < len(limits):
            return Past(proposal, State.FAILED)
        return Past(proposal, State.COMPLETE, objectives, excess, losses)

    def _figure(self, name: str) -> str:
        return self.plan.decision.metric if name == "quality" else name


class _Search:
    """One search, its records and its constraints."""

    def __init__(self, planned: PlannedSearch, results: Path) -> None:
        self.planned = planned
        self.proposals = Proposals(results, planned)
        self.runs: list[list[RunConfig]] = []
        """Of every proposal, by its number; those of one in the order of the seeds."""
        self.figures = {*planned.search.objectives}
        """What is aimed at or kept to."""
        pruned = planned.search.pruning.type != "none"
        self.judging = Judging(planned, results) if pruned else None
        self.constraints = [
            limit for text in planned.search.constraints if (limit := parse_constraint(text)) is not None
        ]
        self.figures |= {limit.name for limit in self.constraints}


def _arm(search: PlannedSearch, proposal: Proposal) -> Arm | None:
    """None for a point that the method refuses."""
    try:
        return proposed_arm(search, proposal.values)
    except UsageError:
        return None
