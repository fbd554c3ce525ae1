"""What a plan will take: time, memory and disk, from what earlier runs measured or else from a stated rule of thumb."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ftlab.plan.lengths import ArmLengths
from ftlab.plan.model_facts import ModelFacts, model_facts
from ftlab.plan.propose import seeded_runs
from ftlab.plan.race import race_groups
from ftlab.plan.run import BASE_FAMILY, Arm, Plan, RunConfig, StageKey
from ftlab.plan.speeds import TRAINING_FLOPS, PastStage, Speeds
from ftlab.spec.measures import SIZES

START_SECONDS = 8.0
"""What a worker needs to import its libraries and load a small base model."""
SMALL_STAGE_SECONDS = 0.5
"""A stage that loads no model: splitting rows, scoring outputs."""
BENCHMARK_ITEMS = 1000
"""Items of a benchmark without a limit."""
PROCESS_BYTES = 900_000_000
"""A worker's libraries."""
ACTIVATION_BYTES = 68
"""Per token, layer and hidden unit kept for the backward pass: 34 bytes in half precision (Korthikanti et al. 2022,
section 4.1), twice that in float32."""
OUTPUT_BYTES = 400
"""One stored prediction with its scores."""


@dataclass(frozen=True, slots=True)
class MethodEstimate:
    """One method of the spec. Seconds and bytes are those of the work that is left; None when unknown."""

    method: str
    type: str
    arms: int
    runs: int
    runs_done: int
    stages: int
    """Distinct stages; one that several methods share is counted with the first of them."""
    stages_done: int
    seconds: float | None
    disk_bytes: int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole plan. Seconds and bytes are those of the work that is left; None when unknown."""

    methods: tuple[MethodEstimate, ...]
    runs: int
    runs_done: int
    stages: int
    stages_done: int
    seconds: float | None
    memory_bytes: int | None
    """The peak of one worker."""
    disk_bytes: int | None
    basis: tuple[str, ...]
    """What the numbers rest on, one sentence each."""


def estimate_plan(
    plan: Plan,
    done: Callable[[StageKey], bool],
    lengths: Mapping[str, ArmLengths],
    past: Iterable[PastStage] = (),
    cores: int | None = None,
) -> Estimate:
    """Count what is done and estimate the rest.

    Args:
        done: whether a stage stands complete on disk.
        lengths: token counts by arm id, from `ftlab.plan.lengths`; an arm that is missing has no estimate.
        past: stages that were computed before on this machine, whose speed then replaces the rule of thumb.
        cores: CPU cores to reckon with; all that this process may use when left out.
    """
    estimator = _Estimator(plan, lengths, Speeds(past, cores or len(os.sched_getaffinity(0))))
    finished = {stage: done(stage) for stage in dict.fromkeys(stage for run in plan.runs for stage in run.stages)}
    owners = {stage: run for run in reversed(plan.runs) for stage in run.stages}
    seconds: dict[str, list[float | None]] = defaultdict(list)
    disk: dict[str, list[int | None]] = defaultdict(list)
    for stage, run in owners.items():
        if not finished[stage]:
            seconds[run.method_name].append(estimator.seconds(run, stage))
            disk[run.method_name].append(estimator.disk(run, stage))
    complete = Counter(run.method_name for run in plan.runs if all(finished[stage] for stage in run.stages))
    stages = Counter(run.method_name for run in owners.values())
    stages_done = Counter(run.method_name for stage, run in owners.items() if finished[stage])
    methods = []
    for name in dict.fromkeys(arm.method_name for arm in plan.arms):
        arms = [arm for arm in plan.arms if arm.method_name == name]
        methods.append(
            MethodEstimate(
                method=name,
                type=BASE_FAMILY if arms[0].family == BASE_FAMILY else str(arms[0].method["type"]),
                arms=len(arms),
                runs=sum(run.method_name == name for run in plan.runs),
                runs_done=complete[name],
                stages=stages[name],
                stages_done=stages_done[name],
                seconds=_total(seconds[name]),
                disk_bytes=_total(disk[name]),
            )
        )
    return _whole(methods, estimator, {run.arm_id for stage, run in owners.items() if not finished[stage]})


@dataclass(frozen=True, slots=True)
class RaceEstimate:
    """The most that a race may add to a plan."""

    runs: int
    seconds: float | None
    """When the arms that take longest lead; None when unknown."""


def estimate_race(
    plan: Plan, done: Callable[[StageKey], bool], lengths: Mapping[str, ArmLengths], past: Iterable[PastStage] = ()
) -> RaceEstimate | None:
    """What further seeds of leading arms may take; None for a plan without a race. Arguments as of `estimate_plan`.

    A search stands in the plan with one arm; any of those that it may try can lead.
    """
    if plan.race is None:
        return None
    estimator = _Estimator(plan, lengths, Speeds(past, len(os.sched_getaffinity(0))))
    searched = {search.arm.arm_id: search.search.arms or 1 for search in plan.searches}
    one_run = {run.arm_id: run for run in plan.runs}
    further = plan.race.seeds[plan.race.first :]
    runs = 0
    seconds: list[float | None] = []
    for arms in race_groups(plan).values():
        costs: list[float | None] = []
        for arm in arms:
            stages = {stage: run for run in seeded_runs(one_run[arm.arm_id], further) for stage in run.stages}
            left = _total(estimator.seconds(run, stage) for stage, run in stages.items() if not done(stage))
            costs += [left] * searched.get(arm.arm_id, 1)
        folds = len(one_run[arms[0].arm_id].folds)
        runs += min(plan.race.top, len(costs)) * len(further) * folds
        # What is unknown comes first: then the whole is unknown.
        costs.sort(key=lambda cost: -math.inf if cost is None else -cost)
        seconds += costs[: plan.race.top]
    return RaceEstimate(runs, _total(seconds))


def _whole(methods: list[MethodEstimate], estimator: _Estimator, unfinished: set[str]) -> Estimate:
    work = _total([method.seconds for method in methods])
    # Training needs the most; an arm that only predicts needs the base alone.
    memory = [estimator.memory(arm) for arm in estimator.plan.arms if arm.arm_id in unfinished]
    return Estimate(
        methods=tuple(methods),
        runs=sum(method.runs for method in methods),
        runs_done=sum(method.runs_done for method in methods),
        stages=sum(method.stages for method in methods),
        stages_done=sum(method.stages_done for method in methods),
        seconds=work + START_SECONDS if work else work,
        memory_bytes=None if None in memory else max([size for size in memory if size], default=0),
        disk_bytes=_total([method.disk_bytes for method in methods]),
        basis=tuple(estimator.basis()),
    )


def _total(parts: Iterable[Any]) -> Any:
    """The sum, or None when a part is unknown."""
    known = list(parts)
    return None if None in known else sum(known)


class _Estimator:
    """Seconds, bytes and memory of single stages."""

    def __init__(self, plan: Plan, lengths: Mapping[str, ArmLengths], speeds: Speeds) -> None:
        self.plan = plan
        self.lengths = lengths
        self.speeds = speeds
        self.arms = {arm.arm_id: arm for arm in plan.arms}
        self.facts: dict[str, ModelFacts | None] = {}
        for arm in plan.arms:
            if arm.model.revision not in self.facts:
                self.facts[arm.model.revision] = model_facts(arm.model)

    def seconds(self, run: RunConfig, stage: StageKey) -> float | None:
        """The time that one stage of a run takes, or None when the model's size or the lengths are unknown."""
        if stage.kind in ("dataset", "scores") or (stage.kind == "weights" and run.points):
            return SMALL_STAGE_SECONDS
        facts = self.facts[run.model.revision]
        if facts is None:
            return None
        if stage.kind == "benchmark":
            return _items(run, stage) / self.speeds.benchmark(stage.benchmark, facts.parameters)
        lengths = self.lengths.get(run.arm_id)
        if lengths is None:
            return None
        if stage.kind == "predictions":
            return self.speeds.prediction(lengths.predict_rows, lengths.computed_tokens, facts.parameters)
        family = self.arms[run.arm_id].family
        tokens = _trained_tokens(run.method, lengths)
        return TRAINING_FLOPS.get(family, 6.0) * facts.parameters * tokens / self.speeds.training(family)

    def disk(self, run: RunConfig, stage: StageKey) -> int | None:
        """The bytes that one stage of a run leaves behind, checkpoints included."""
        lengths = self.lengths.get(run.arm_id)
        if stage.kind not in ("weights", "candidates"):
            if stage.kind == "benchmark":
                return OUTPUT_BYTES * _items(run, stage)
            rows = lengths.predict_rows if lengths is not None else run.benchmarks.limit
            return OUTPUT_BYTES * (rows or BENCHMARK_ITEMS)
        facts = self.facts[run.model.revision]
        if facts is None:
            return None
        trained = self._trained_parameters(run.method, self.arms[run.arm_id].family, facts)
        stored = trained * 4 if self.arms[run.arm_id].family != "full" else facts.weight_bytes or trained * 4
        if stage.kind == "weights" and run.points:
            return stored
        # Kept at every point and as the result, and on the way in the checkpoints' folder too.
        stored *= 1 + 2 * len(run.points)
        # A checkpoint holds the weights and two moments of AdamW; one is kept at a time.
        return stored + (12 * trained if run.method.get("checkpoints") else 0)

    def memory(self, arm: Arm) -> int | None:
        """The peak of a worker that runs `arm`: libraries, base, what is trained with its optimizer, activations."""
        facts = self.facts[arm.model.revision]
        if facts is None:
            return None
        base = facts.parameters * (2 if arm.model.dtype == "bfloat16" else 4)
        trained = "max_length" in arm.method
        if not trained:
            return PROCESS_BYTES + base
        measured = self.speeds.peak_memory(arm.family, facts.parameters)
        if measured:
            return int(measured)
        # A float32 copy of what is trained, its gradients and two moments: the whole model, or the adapter alone.
        optimised = 16 * self._trained_parameters(arm.method, arm.family, facts)
        lengths = self.lengths.get(arm.arm_id)
        longest = min(lengths.longest, arm.method["max_length"]) if lengths is not None else arm.method["max_length"]
        tokens = int(arm.method["batch_size"]) * longest
        return PROCESS_BYTES + base + optimised + ACTIVATION_BYTES * tokens * facts.layers * facts.hidden

    def _trained_parameters(self, method: Mapping[str, Any], family: str, facts: ModelFacts) -> int:
        if family == "full":
            return facts.parameters
        if facts.linear_dimensions and isinstance(method.get("r"), int):
            return facts.linear_dimensions * method["r"]
        return facts.parameters // 100

    def basis(self) -> list[str]:
        """What the numbers rest on, one sentence each."""
        sentences = [sentence for sentence in self.speeds.used.values() if sentence]
        if ruled := [work for work, sentence in self.speeds.used.items() if not sentence]:
            speed = f"{self.speeds.rule / 1e9:,.0f} billion operations per second on {self.speeds.cores} CPU cores"
            sentences.append(f"the speed of {', '.join(ruled)} is a rule of thumb: {speed}; a GPU is faster")
        for revision, facts in self.facts.items():
            source = next(arm.model.source for arm in self.plan.arms if arm.model.revision == revision)
            if facts is None:
                sentences.append(f"the size of {source} is unknown until it is fetched, so there is no estimate for it")
            elif not facts.measured:
                sentences.append(f"the size of {source} is read off its name; fetching it is not counted")
        return sentences


def _items(run: RunConfig, stage: StageKey) -> int:
    """The items of a benchmark, as far as that is known before it is read."""
    limit = run.benchmarks.limit or BENCHMARK_ITEMS
    return min(limit, SIZES.get(stage.benchmark, limit))


def _trained_tokens(method: Mapping[str, Any], lengths: ArmLengths) -> float:
    """Tokens that training reads, until `epochs` or `max_steps` ends it."""
    tokens = float(method["epochs"]) * lengths.train_tokens
    if method.get("max_steps") is not None and lengths.train_rows:
        rows = method["max_steps"] * method["batch_size"] * method["gradient_accumulation_steps"]
        tokens = min(tokens, rows * lengths.train_tokens / lengths.train_rows)
    return tokens
