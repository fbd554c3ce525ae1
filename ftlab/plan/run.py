"""The frozen records of a plan: arms, runs, and what a worker is given. Plain data, JSON in and out.

A `RunConfig` is all that a worker needs to execute one run; it is written to `a<n>/config.json` of each attempt.
`StageKey`s are computed once, by the planner, from `ftlab.plan.identity`; a worker never derives a key of its own.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ftlab.spec.judge import JudgeSpec
from ftlab.spec.schema import BenchmarkSpec, DataSpec, DecisionSpec, ExecuteSpec, Message, PriceSpec, TaskSpec
from ftlab.spec.searches import Dimension, SearchSpec

StageKind = Literal["dataset", "candidates", "weights", "predictions", "scores", "benchmark"]

BASE_FAMILY = "base"
"""The family of an arm that is the base model itself: benchmarked, so that forgetting has something to be measured
against, and no candidate."""
BASE_NAME = "base model"
"""What such an arm is called where methods are listed. No method of a spec can have a name with a blank."""


class Record(BaseModel):
    """The base of frozen records."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRef(Record):
    """A base model whose identity is settled.

    `revision` is a content address: a wheel's sha256, a hub commit, or the hash of a folder's files. `folder` is where
    the files are on this machine, or None when they are still to be fetched; it is not part of any identity.
    """

    source: str
    revision: str
    dtype: Literal["float32", "bfloat16"]
    folder: str | None = None


class DataRef(Record):
    """Rows whose identity is settled: `content` is a hash over the source's bytes (or a hub commit)."""

    spec: DataSpec
    content: str
    root: str
    """The folder that relative file names start from; not part of any identity."""


class StageKey(Record):
    """One stage of a run. `name` tells stages of a kind apart: the split, or the benchmark's task; else empty."""

    kind: StageKind
    name: str = ""
    key: str
    task: str = ""
    """Of a benchmark in the course of a training: its task; `name` then names the point too."""
    point: str = ""
    """Of such a benchmark: the point, as `BenchmarkSpec.points` names it."""

    @property
    def benchmark(self) -> str:
        """The task of a benchmark, wherever it is asked."""
        return self.task or self.name


class WarmStart(Record):
    """Trained weights that a training begins from, instead of from the base."""

    run_id: str
    """Whose weights they are."""
    keys: tuple[str, ...]
    """The keys of their stages: one for each fold, and one where there are none."""


class RunConfig(Record):
    """One fully resolved run: an arm with one seed, and one fold where the data has folds."""

    experiment_id: str
    run_id: str
    arm_id: str
    method_name: str
    seed: int
    fold: int | None = None
    """Which fold is held out for validation; None where the data has none."""
    model: ModelRef
    data: DataRef
    task: TaskSpec
    method: dict[str, Any]
    """Every field of the method's config, defaults filled in; `type` names the method in the catalogue."""
    benchmarks: BenchmarkSpec
    execute: ExecuteSpec
    splits: tuple[str, ...] = ("validation",)
    """The splits that are predicted and scored. Sweeps never see test."""
    stages: tuple[StageKey, ...]
    """Every stage of this run in the order of execution."""
    warm_start: WarmStart | None = None
    """What training begins from; None for the base as the method attaches to it."""

    @property
    def start(self) -> str | None:
        """The key of the weights that training begins from: those trained on the same rows, so of the same fold."""
        return None if self.warm_start is None else self.warm_start.keys[self.fold or 0]

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Every fold that an arm of this data runs on."""
        folds = self.data.spec.splits.folds
        return (None,) if folds is None else tuple(range(folds))

    @property
    def messages(self) -> list[Message]:
        """The chat this run starts from: the method's own, else the task's."""
        own = self.method.get("prompt")
        return [Message.model_validate(message) for message in own] if own else list(self.task.prompt)

    @property
    def decode(self) -> str:
        """`generate` or `choose`: the method's own, else the task's."""
        return self.method.get("decode") or self.task.decode

    @property
    def points(self) -> tuple[str, ...]:
        """At which points of this run's training benchmarks are asked besides its result."""
        if not self.benchmarks.tasks or "keep" not in self.method:
            return ()
        return tuple(point for point in self.benchmarks.points() if point != self.method["keep"])

    def key(self, kind: StageKind, name: str = "") -> str | None:
        """The key of one of this run's stages, or None when the run has no such stage (weights of a prompting arm)."""
        return next((stage.key for stage in self.stages if stage.kind == kind and stage.name == name), None)


class Arm(Record):
    """What a comparison compares: one fully resolved configuration of a method, without the seed."""

    arm_id: str
    method_name: str
    family: str
    """`prompt`, `adapter` or `full`: from the method's class; `base` for the base model itself."""
    label: str
    """The method's name and the values that tell this arm from its siblings, e.g. `lora r=16 learning_rate=0.0005`."""
    model: ModelRef
    method: dict[str, Any]
    varied: dict[str, Any]
    """The fields that a range gave a value, by dotted path."""
    place: str
    """`file:line:col` of the method in the spec; of the benchmarks for the base model itself."""
    cloned_from: str | None = None
    """The run whose config people made this arm from, after results were seen; None for an arm of the spec."""
    warm_start: WarmStart | None = None
    """What its training begins from."""


class PlannedSearch(Record):
    """A search over one method on one model. Its arms join the plan as they are proposed."""

    search_id: str
    """A hash of all that makes earlier proposals still hold, so not of how long the search goes on."""
    search: SearchSpec
    """As the spec says, `arms` settled by the spec's budget."""
    dimensions: tuple[Dimension, ...]
    fields: dict[str, Any]
    """The method with its ranges; a proposal replaces each of them by a value."""
    arm: Arm
    """One point of the space as an arm. It is no arm of the plan, but what its arms are made like."""
    run: RunConfig
    """Its run with the first seed."""
    seeds: tuple[int, ...]
    training_tokens: int | None = None
    """What all its arms together may train on."""


class PlannedRace(Record):
    """Which arms get more seeds than the others (`ftlab.spec.schema.SeedRace`), and which seeds."""

    top: int
    seeds: tuple[int, ...]
    """Of a leading arm; the first `first` are those of every arm."""
    first: int


class Plan(Record):
    """A whole experiment, expanded. Written to `resolved.json`."""

    experiment_id: str
    name: str
    question: str
    spec_text: str
    spec_hash: str
    task: TaskSpec
    decision: DecisionSpec
    judge: JudgeSpec | None = None
    prices: PriceSpec = PriceSpec()
    benchmarks: BenchmarkSpec
    execute: ExecuteSpec
    arms: tuple[Arm, ...]
    runs: tuple[RunConfig, ...]
    searches: tuple[PlannedSearch, ...] = ()
    """Their arms and runs, as far as they are proposed, are among those above."""
    race: PlannedRace | None = None
    """The runs of its leaders are among those above as soon as they lead."""

    @property
    def secrets(self) -> list[str]:
        """Every reference to a secret in the spec, as it stands there: `${env:NAME}`."""
        endpoint = self.judge.endpoint if self.judge is not None else None
        return [*self.execute.notify, *([endpoint.api_key] if endpoint is not None and endpoint.api_key else [])]
