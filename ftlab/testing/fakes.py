"""Methods that change nothing and a plan of them: whole sweeps, coordinator and workers included, without a model.

`fake_plan` makes a plan that `ftlab.testing.fake_pipeline:FakePipeline` can execute, re-exported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftlab.plan import identity
from ftlab.plan.expand import course_stages
from ftlab.plan.run import Arm, DataRef, ModelRef, Plan, RunConfig, StageKey
from ftlab.spec.metrics import metric_keys
from ftlab.spec.schema import (
    BenchmarkSpec,
    DataSpec,
    DecisionSpec,
    ExecuteSpec,
    Message,
    MethodConfig,
    TaskSpec,
    TrainedConfig,
)
from ftlab.testing.fake_pipeline import FakePipeline

__all__ = ["FakePipeline", "FakeTrained", "FakeTrainedConfig", "FakePrompt", "FakePromptConfig", "fake_plan"]

Fault = Literal["none", "error", "usage", "oom", "disk", "exit", "kill", "hang", "clock"]
"""How it goes wrong: an exception, a UsageError, no memory, a full disk, the process's exit or kill, no progress, a
clock that jumps back by a day."""


class FakeFields(MethodConfig):
    """What every fake can be told."""

    seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long each stage of its own takes: weights, predictions and benchmarks."""
    quality: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of examples it answers rightly, about."""
    fault: Fault = "none"
    """What goes wrong."""
    fault_in: Literal["dataset", "weights", "predictions", "scores", "benchmark"] = "predictions"
    """The stage in which it goes wrong."""
    fault_times: Annotated[int, Field(ge=0)] = 0
    """How many times it goes wrong before it goes well; 0 for always."""


class FakePromptConfig(FakeFields):
    """A fake that trains nothing."""

    type: Literal["fake_prompt"] = "fake_prompt"
    """The method family."""


class FakeTrainedConfig(FakeFields, TrainedConfig):
    """A fake that has weights."""

    trained: ClassVar[bool] = True
    type: Literal["fake_trained"] = "fake_trained"
    """The method family."""


class FakePrompt:
    """The class behind `type: fake_prompt`."""

    name: ClassVar[str] = "fake_prompt"
    family: ClassVar[str] = "prompt"
    summary: ClassVar[str] = "A prompt that asks nobody"
    Config: ClassVar[type[MethodConfig]] = FakePromptConfig


class FakeTrained:
    """The class behind `type: fake_trained`."""

    name: ClassVar[str] = "fake_trained"
    family: ClassVar[str] = "adapter"
    summary: ClassVar[str] = "An adapter that learns nothing"
    Config: ClassVar[type[MethodConfig]] = FakeTrainedConfig


TASK = TaskSpec(
    type="classification",
    prompt=[Message(role="user", content="{{ question }}")],
    target="{{ label }}",
    metrics=["accuracy", "valid_format"],
)
METHODS: dict[str, Any] = {method.name: method for method in (FakePrompt, FakeTrained)}


def fake_plan(
    methods: Mapping[str, Mapping[str, Any]],
    *,
    name: str = "fake",
    seeds: Sequence[int] = (0,),
    benchmarks: Sequence[str] = ("builtin:piqa",),
    at: Sequence[Any] = (),
    execute: ExecuteSpec | None = None,
    metric_version: str = "1",
    root: Path = Path("."),
) -> Plan:
    """A plan with one arm per entry of `methods`, each a dict of a fake's fields with its `type`.

    Raising `metric_version` stands for a corrected metric.
    """
    experiment = identity.experiment_id(name)
    model = ModelRef(source="builtin:fake", revision="0" * 40, dtype="float32")
    data = DataRef(spec=DataSpec(source="builtin:fake"), content="1" * 40, root=str(root))
    tasks = BenchmarkSpec.model_validate({"tasks": list(benchmarks), "at": list(at)})
    execute = execute or ExecuteSpec()
    arms, runs = [], []
    for method_name, fields in methods.items():
        method = METHODS[fields["type"]].Config(**fields).model_dump(mode="json")
        shared = {"data": data.content, "task": TASK.model_dump(mode="json"), "benchmarks": list(benchmarks)}
        arm = Arm(
            arm_id=identity.arm_id(experiment, method_name, model, method, shared),
            method_name=method_name,
            family=METHODS[fields["type"]].family,
            label=method_name,
            model=model,
            method=method,
            varied={},
            place=f"{name}.yaml:1:1",
        )
        arms.append(arm)
        for seed in seeds:
            run = RunConfig(
                experiment_id=experiment,
                run_id=identity.run_id(arm.arm_id, seed),
                arm_id=arm.arm_id,
                method_name=method_name,
                seed=seed,
                model=model,
                data=data,
                task=TASK,
                method=method,
                benchmarks=tasks,
                execute=execute,
                stages=(),
            )
            runs.append(run.model_copy(update={"stages": _stages(run, metric_version)}))
    spec_text = f"version: 1\nname: {name}\n"
    return Plan(
        experiment_id=experiment,
        name=name,
        question="Which fake is best?",
        spec_text=spec_text,
        spec_hash=identity.digest(spec_text),
        task=TASK,
        decision=DecisionSpec(),
        benchmarks=tasks,
        execute=execute,
        arms=tuple(arms),
        runs=tuple(runs),
    )


def _stages(run: RunConfig, metric_version: str) -> tuple[StageKey, ...]:
    dataset = identity.dataset_key(run.data, TASK)
    messages = [message.model_dump(mode="json") for message in TASK.prompt]
    stages = [StageKey(kind="dataset", key=dataset)]
    # Fakes are told apart by their fields even where nothing is trained: each is its own work to do and to fail at.
    weights = identity.weights_key(run.model, dataset, run.method, messages, run.seed)
    trained = METHODS[run.method["type"]].Config.trained
    if run.points:
        stages.append(StageKey(kind="candidates", key=identity.candidates_key(weights, run.points)))
    if trained:
        stages.append(StageKey(kind="weights", key=weights))
    predictions = identity.predictions_key(weights, dataset, "validation", messages, 0, "generate", None, run.seed)
    scores = identity.scores_key(predictions, dict.fromkeys(metric_keys(TASK.metrics), metric_version))
    stages.append(StageKey(kind="predictions", name="validation", key=predictions))
    stages.append(StageKey(kind="scores", name="validation", key=scores))
    benched = weights if trained else identity.base_key(run.model)
    versions = dict.fromkeys(run.benchmarks.tasks, "fake")
    for task, version in versions.items():
        key = identity.benchmark_key(benched, task, version, run.benchmarks)
        stages.append(StageKey(kind="benchmark", name=task, key=key))
    return (*stages, *course_stages(run, weights, versions))
