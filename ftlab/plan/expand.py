"""Expand a spec: methods x variants x grid x models into arms, arms x seeds x folds into runs, all stages named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.catalog import METHODS
from ftlab.errors import Problem, SpecError
from ftlab.plan import identity
from ftlab.plan.opening import TEST
from ftlab.plan.race import Group, is_seeded, race_group
from ftlab.plan.run import (
    BASE_FAMILY,
    BASE_NAME,
    Arm,
    DataRef,
    ModelRef,
    Plan,
    PlannedRace,
    PlannedSearch,
    RunConfig,
    StageKey,
)
from ftlab.plan.settle import refuse_unknown_benchmarks, settle
from ftlab.spec.load import LoadedSpec, ResolvedMethod, SearchedMethod
from ftlab.spec.metrics import GivenMetric
from ftlab.spec.schema import BenchmarkSpec, ExecuteSpec, ExperimentSpec, ModelSpec
from ftlab.spec.searches import DEFAULT_ARMS, space_size
from ftlab.text import one_line

SPLITS = ("validation",)
"""What a sweep predicts and scores. Test stays sealed."""
GATED_REQUESTS = 80
"""Requests timed alone where the 95th percentile has a limit: its interval has an upper end from 72 on."""
MAX_PROPOSALS = 1000
"""The most arms of a search that is bounded by time, money or tokens alone."""
ENDS_OF_A_SEARCH = frozenset(
    {"arms", "budget_hours", "budget_usd", "stop_at", "patience", "pruner", "objectives", "constraints"}
)
"""What a search is told that leaves its earlier proposals as good as they were."""


def build_plan(loaded: LoadedSpec) -> Plan:
    """Everything that the experiment will do, in the order of execution.

    Arms come in the order of the spec; runs by model, then by seed, by fold and by arm, so that a worker keeps the base
    it has loaded and the first replicate of every arm is there before the second of any. Where something is trained and
    no arm runs on the base as it is, the base gets one run of its own, before the others, for the benchmarks alone.

    Raises:
        SpecError: for two places that stand for the same arm, and for a benchmark that does not exist.
        UsageError: when the models or the data cannot be settled; a SpecError with the places of all that are wrong.
    """
    refuse_unknown_benchmarks(loaded)
    data, models = settle(loaded)
    experiment = _Expander(loaded, data, list(zip(loaded.models, models, strict=True)))
    arms = [*experiment.arms(), *experiment.bases()]
    runs = experiment.runs(arms)
    _refuse_duplicates(arms, runs, loaded)
    return Plan(
        experiment_id=experiment.id,
        name=loaded.spec.name,
        question=loaded.spec.question,
        spec_text=loaded.text,
        spec_hash=identity.digest(loaded.data),
        task=loaded.spec.task,
        decision=loaded.spec.decision,
        judge=loaded.spec.judge,
        prices=loaded.spec.prices,
        benchmarks=loaded.spec.benchmarks,
        execute=loaded.spec.execute,
        arms=tuple(arms),
        runs=tuple(runs),
        searches=tuple(experiment.searches()),
        race=experiment.race(),
    )


def needs_base_runs(loaded: LoadedSpec) -> bool:
    """Whether benchmarks are asked for, some arm is trained, and none runs on the base as it is."""
    trained = [
        *(method.config.trained for method in loaded.arms),
        *(search.sample.trained for search in loaded.searches),
    ]
    return bool(loaded.spec.benchmarks.tasks) and bool(trained) and all(trained)


def count_runs(loaded: LoadedSpec) -> int:
    """How many runs the plan of a spec may come to: all that its searches and its race may add included."""
    models = len(loaded.models)
    arms = len(loaded.arms) + sum(count_proposals(loaded, search) for search in loaded.searches)
    folds = loaded.spec.data.splits.folds or 1
    return models * arms * folds * len(loaded.spec.first_seeds) + models * needs_base_runs(loaded) + count_raced(loaded)


def count_raced(loaded: LoadedSpec) -> int:
    """How many runs the race of a spec adds at most."""
    if (race := loaded.spec.race) is None:
        return 0
    points = [(method.name, method.config, 1) for method in loaded.arms]
    points += [(one.name, one.sample, count_proposals(loaded, one)) for one in loaded.searches]
    racing: Counter[Group] = Counter()
    for name, config, arms in points:
        family = METHODS.load(config.type).family
        if is_seeded(family, config.model_dump(mode="json")):
            racing[race_group(name, family)] += arms * len(loaded.models)
    further = (race.count - len(race.first)) * (loaded.spec.data.splits.folds or 1)
    return sum(min(race.top, arms) for arms in racing.values()) * further


def count_proposals(loaded: LoadedSpec, searched: SearchedMethod) -> int:
    """The most arms that a search may try on one model: by its own word, the spec's budget and the size of its space.

    A search that time or money bounds may go on for as many as MAX_PROPOSALS.
    """
    search, budget = searched.search, loaded.spec.budget
    bounded = search.budget_hours or search.budget_usd or budget.training_tokens or budget.arms_per_method
    own = search.arms or (MAX_PROPOSALS if bounded else DEFAULT_ARMS)
    size = space_size(searched.dimensions)
    return min(number for number in (own, budget.arms_per_method, size) if number is not None)


def arm_label(name: str, varied: dict[str, Any], ordinals: dict[str, int]) -> str:
    """`lora r=16 learning_rate=0.0005`. A value that is no short text (a chat) is shown by its number: `prompt=#2`."""
    return " ".join([name, *(f"{path}={_value_label(value, ordinals.get(path, 1))}" for path, value in varied.items())])


def _value_label(value: Any, ordinal: int) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, str) and len(value) <= 40 and value == one_line(value):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value) and len(",".join(value)) <= 40:
        return one_line(",".join(value))
    return f"#{ordinal}"


def execution(spec: ExperimentSpec) -> ExecuteSpec:
    """How runs are executed: a limit on the slowest requests needs more of them timed than a median does."""
    if spec.decision.max_p95_ms is None or spec.execute.latency_requests is not None:
        return spec.execute
    return spec.execute.model_copy(update={"latency_requests": GATED_REQUESTS})


@dataclass(frozen=True)
class _Expander:
    """One experiment with its model and data settled."""

    loaded: LoadedSpec
    data: DataRef
    models: list[tuple[ModelSpec, ModelRef]]

    @property
    def spec(self) -> ExperimentSpec:
        return self.loaded.spec

    @property
    def id(self) -> str:
        return identity.experiment_id(self.spec.name)

    def arms(self) -> list[Arm]:
        """Every arm, in the order of the spec."""
        arms: list[Arm] = []
        ordinals = _ordinals(self.loaded.arms)
        shared = self._shared()
        for method in self.loaded.arms:
            config = method.config.model_dump(mode="json")
            for spec, model in self.models:
                varied = dict(method.varied)
                if len(self.models) > 1:
                    varied = {"model": _model_name(spec, self.models), **varied}
                arms.append(
                    Arm(
                        arm_id=identity.arm_id(self.id, method.name, model, config, shared),
                        method_name=method.name,
                        family=METHODS.load(method.config.type).family,
                        label=arm_label(method.name, varied, ordinals[id(method)]),
                        model=model,
                        method=config,
                        varied=varied,
                        place=method.place,
                    )
                )
        return arms

    def bases(self) -> list[Arm]:
        """The base models themselves, where nothing else would measure what they could do before."""
        if not needs_base_runs(self.loaded):
            return []
        config = METHODS.load("prompt").Config().model_dump(mode="json")
        several = len(self.models) > 1
        return [
            Arm(
                arm_id=identity.arm_id(self.id, BASE_NAME, model, config, self._shared()),
                method_name=BASE_NAME,
                family=BASE_FAMILY,
                label=f"{BASE_NAME} {_model_name(spec, self.models)}" if several else BASE_NAME,
                model=model,
                method=config,
                varied={},
                place=str(self.loaded.place("benchmarks")),
            )
            for spec, model in self.models
        ]

    def _shared(self) -> dict[str, Any]:
        return identity.shared_by_arms(self.data, self.spec.task, self.spec.benchmarks)

    def searches(self) -> Iterator[PlannedSearch]:
        """Every search on every model."""
        for searched in self.loaded.searches:
            config = searched.sample.model_dump(mode="json")
            told = searched.search.model_dump(mode="json", exclude=set(ENDS_OF_A_SEARCH))
            for spec, model in self.models:
                name = searched.name
                varied = {"model": _model_name(spec, self.models)} if len(self.models) > 1 else {}
                arm = Arm(
                    arm_id=identity.arm_id(self.id, name, model, config, self._shared()),
                    method_name=name,
                    family=METHODS.load(searched.sample.type).family,
                    label=arm_label(name, varied, {}),
                    model=model,
                    method=config,
                    varied=varied,
                    place=searched.place,
                )
                fields = {**searched.fields, "search": told}
                arms = count_proposals(self.loaded, searched)
                yield PlannedSearch(
                    search_id=identity.search_id(self.id, name, model, fields, self._shared()),
                    search=searched.search.model_copy(update={"arms": arms}),
                    dimensions=searched.dimensions,
                    fields=searched.fields,
                    arm=arm,
                    run=with_stages(self._config(arm, self.spec.first_seeds[0], SPLITS, self._folds[0])),
                    seeds=self.spec.first_seeds,
                    training_tokens=self.spec.budget.training_tokens,
                )

    def race(self) -> PlannedRace | None:
        """How leading arms get more seeds, where they do."""
        race = self.spec.race
        return None if race is None else PlannedRace(top=race.top, seeds=race.seeds, first=len(race.first))

    def runs(self, arms: Sequence[Arm]) -> list[RunConfig]:
        """Every run of every arm in the order of execution."""
        metrics = _metric_definitions(self.spec.task.metrics, self.loaded.root)
        benchmarks = _benchmark_versions(self.spec.benchmarks, self.loaded.root)
        # Stable sorts: arms keep their order within a model and a seed.
        order = {(model.revision, model.dtype): index for index, (_, model) in enumerate(self.models)}
        by_model = sorted(arms, key=lambda arm: order[arm.model.revision, arm.model.dtype])
        bases = [arm for arm in by_model if arm.family == BASE_FAMILY]
        runs = [self._base_run(arm, benchmarks) for arm in bases]
        for seed in self.spec.first_seeds:
            for fold in self._folds:
                runs += [self._run(arm, seed, fold, metrics, benchmarks) for arm in by_model if arm not in bases]
        return sorted(runs, key=lambda run: order[run.model.revision, run.model.dtype])

    @property
    def _folds(self) -> tuple[int | None, ...]:
        folds = self.spec.data.splits.folds
        return (None,) if folds is None else tuple(range(folds))

    def _run(
        self, arm: Arm, seed: int, fold: int | None, metrics: dict[str, Any], benchmarks: dict[str, str]
    ) -> RunConfig:
        run = self._config(arm, seed, SPLITS, fold)
        return run.model_copy(update={"stages": tuple(_stages(run, metrics, benchmarks))})

    def _base_run(self, arm: Arm, benchmarks: dict[str, str]) -> RunConfig:
        run = self._config(arm, self.spec.first_seeds[0], ())
        weights = identity.base_key(run.model)
        return run.model_copy(update={"stages": tuple(_benchmark_stages(run, weights, benchmarks))})

    def _config(self, arm: Arm, seed: int, splits: tuple[str, ...], fold: int | None = None) -> RunConfig:
        """A run without its stages."""
        return RunConfig(
            experiment_id=self.id,
            run_id=identity.run_id(arm.arm_id, seed, fold),
            arm_id=arm.arm_id,
            method_name=arm.method_name,
            seed=seed,
            fold=fold,
            model=arm.model,
            data=self.data,
            task=self.spec.task,
            method=arm.method,
            benchmarks=self.spec.benchmarks,
            execute=execution(self.spec),
            splits=splits,
            stages=(),
        )


def with_stages(run: RunConfig) -> RunConfig:
    """The same run, every stage named."""
    metrics = _metric_definitions(run.task.metrics, Path(run.data.root))
    benchmarks = _benchmark_versions(run.benchmarks, Path(run.data.root))
    return run.model_copy(update={"stages": tuple(_stages(run, metrics, benchmarks))})


def _stages(run: RunConfig, metrics: dict[str, Any], benchmarks: dict[str, str]) -> list[StageKey]:
    """Every stage of a run in order. A prompting run uses the base's weights and has no such stage."""
    dataset = identity.dataset_key(run.data, run.task, run.fold)
    stages = [StageKey(kind="dataset", key=dataset)]
    weights = identity.base_key(run.model)
    if METHODS.load(run.method["type"]).Config.trained:
        weights = identity.weights_key(run.model, dataset, run.method, _messages(run), run.seed, run.start)
        if run.points:
            stages.append(StageKey(kind="candidates", key=identity.candidates_key(weights, run.points)))
        stages.append(StageKey(kind="weights", key=weights))
    for split in run.splits:
        stages += _answers(run, split, weights, dataset, metrics)
    return [*stages, *_benchmark_stages(run, weights, benchmarks), *course_stages(run, weights, benchmarks)]


def course_stages(run: RunConfig, weights: str, benchmarks: dict[str, str]) -> Iterator[StageKey]:
    """The benchmarks in the course of the training, last: what is decided does not wait for them."""
    for point in run.points:
        kept = identity.candidate_key(identity.candidates_key(weights, run.points), point)
        for task, version in benchmarks.items():
            key = identity.benchmark_key(kept, task, version, run.benchmarks)
            yield StageKey(kind="benchmark", name=f"{task} at {point}", key=key, task=task, point=point)


def _benchmark_stages(run: RunConfig, weights: str, benchmarks: dict[str, str]) -> list[StageKey]:
    return [
        StageKey(kind="benchmark", name=task, key=identity.benchmark_key(weights, task, version, run.benchmarks))
        for task, version in benchmarks.items()
    ]


def _answers(run: RunConfig, split: str, weights: str, dataset: str, metrics: dict[str, Any]) -> list[StageKey]:
    """The stages that answer the rows of one split and score the answers."""
    shots, limit, targets = run.method["shots"], run.task.max_new_tokens, _need_targets(run.task.metrics)
    if split == TEST and weights == identity.base_key(run.model) and not shots:
        # Of the data such an answer reads the test rows alone, and those are the same in every fold.
        dataset = identity.dataset_key(run.data, run.task)
    predictions = identity.predictions_key(
        weights, dataset, split, _messages(run), shots, run.decode, limit, run.seed, targets
    )
    return [
        StageKey(kind="predictions", name=split, key=predictions),
        StageKey(kind="scores", name=split, key=identity.scores_key(predictions, metrics, run.data.spec.cluster_by)),
    ]


def with_split(run: RunConfig, split: str) -> RunConfig:
    """The same run answering one more split besides: a run of a sweep that is allowed to see the test rows."""
    dataset = run.key("dataset")
    assert dataset is not None, "every run has a data set"
    weights = run.key("weights") or identity.base_key(run.model)
    metrics = _metric_definitions(run.task.metrics, Path(run.data.root))
    answers = _answers(run, split, weights, dataset, metrics)
    return run.model_copy(update={"splits": (*run.splits, split), "stages": (*run.stages, *answers)})


def _messages(run: RunConfig) -> list[dict[str, Any]]:
    return [message.model_dump(mode="json") for message in run.messages]


def _benchmark_versions(benchmarks: BenchmarkSpec, root: Path) -> dict[str, str]:
    if not benchmarks.tasks:
        return {}
    from ftlab.evaluate.benchmarks import benchmark_version
    from ftlab.evaluate.own_tasks import own_task

    return {task: benchmark_version(task, own_task(task, benchmarks, root)) for task in benchmarks.tasks}


def _metric_definitions(metrics: Sequence[GivenMetric], root: Path) -> dict[str, Any]:
    from ftlab.evaluate.metrics.make import metric_definitions

    return metric_definitions(metrics, root)


def _need_targets(metrics: Sequence[GivenMetric]) -> bool:
    from ftlab.evaluate.metrics.make import need_targets

    return need_targets(metrics)


def _model_name(spec: ModelSpec, models: Sequence[tuple[ModelSpec, ModelRef]]) -> str:
    """The source, and the precision where two entries differ in nothing else."""
    alike = [other for other, _ in models if other.source == spec.source]
    return spec.source if len(alike) == 1 else f"{spec.source} {spec.dtype}"


def _ordinals(methods: Sequence[ResolvedMethod]) -> dict[int, dict[str, int]]:
    """For each method point, the number of each varied value among the distinct ones of its method, from 1."""
    seen: dict[tuple[str, str], list[Any]] = defaultdict(list)
    ordinals: dict[int, dict[str, int]] = {}
    for method in methods:
        numbers = ordinals.setdefault(id(method), {})
        for path, value in method.varied.items():
            values = seen[method.name, path]
            if value not in values:
                values.append(value)
            numbers[path] = values.index(value) + 1
    return ordinals


def _refuse_duplicates(arms: Sequence[Arm], runs: Sequence[RunConfig], loaded: LoadedSpec) -> None:
    """Raise SpecError naming both places of every two arms that would do the same: all their stages are equal."""
    first_seed = loaded.spec.first_seeds[0]
    stages = {run.arm_id: tuple(stage.key for stage in run.stages) for run in runs if run.seed == first_seed}
    first: dict[tuple[str, ...], Arm] = {}
    problems: list[Problem] = []
    for arm in arms:
        earlier = first.setdefault(stages[arm.arm_id], arm)
        if earlier is not arm:
            message = f"'{arm.label}' is the same arm as '{earlier.label}' at {earlier.place}; remove one of them"
            place = loaded.place("methods", arm.method_name)
            problems.append(place.problem(("methods", arm.method_name), message))
    if problems:
        raise SpecError(problems)
