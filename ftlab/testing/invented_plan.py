"""An invented sweep: its arms, examples and plan. `ftlab.testing.journals` writes it to a folder."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftlab.evaluate.metrics.make import metric_definitions
from ftlab.events import Status
from ftlab.plan import identity
from ftlab.plan.expand import course_stages
from ftlab.plan.run import Arm, DataRef, ModelRef, Plan, RunConfig, StageKey
from ftlab.spec.schema import (
    BenchmarkSpec,
    DataSpec,
    DecisionSpec,
    ExecuteSpec,
    Message,
    SplitSpec,
    TaskSpec,
    TrainSpec,
)

LABELS = ("Anatomy", "Dental", "Medicine", "Pharmacology", "Surgery")
BENCHMARKS = ("builtin:piqa", "builtin:openbookqa", "builtin:commonsenseqa")
BASE_SCORES = {"builtin:piqa": 0.66, "builtin:openbookqa": 0.37, "builtin:commonsenseqa": 0.42}
STARTED = 1_790_000_000.0
SECRET = "hf_" + "A" * 34

HOSTILE_TEXTS = (
    "<script>alert('ftlab')</script>",
    "[click me](javascript:alert(1))",
    "\x1b[31mred\x1b[0m\x1b]0;owned\x07",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "<img src=x onerror=alert(1)> $\\href{javascript:alert(1)}{x}$ | a | b |\n|---|\n",
)
"""What must do nothing in the app, the report, the terminal and the CSV."""


@dataclass(frozen=True, slots=True)
class FakeArm:
    """One arm of a made-up sweep."""

    method_name: str
    type: str
    values: dict[str, Any] = field(default_factory=dict)
    """What tells it from its siblings."""
    accuracy: float = 0.5
    forgetting: float = 0.0
    """How much every benchmark falls."""
    status: Status = Status.COMPLETE
    reason: str | None = None

    @property
    def label(self) -> str:
        """As the planner writes it."""
        return " ".join([self.method_name, *(f"{name}={value}" for name, value in self.values.items())])

    @property
    def family(self) -> str:
        """As the method's class says it."""
        return {"prompt": "prompt", "full": "full"}.get(self.type, "adapter")


ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.12),
    FakeArm("labels_listed", "prompt", accuracy=0.31),
    FakeArm("few_shot", "prompt", {"shots": 4}, accuracy=0.38),
    FakeArm("ranked", "prompt", {"decode": "choose"}, accuracy=0.46),
    FakeArm("lora", "lora", {"r": 8, "learning_rate": 2e-4}, accuracy=0.55, forgetting=0.005),
    FakeArm("lora", "lora", {"r": 16, "learning_rate": 5e-4}, accuracy=0.66, forgetting=0.01),
    FakeArm("full", "full", {"learning_rate": 3e-5}, accuracy=0.64, forgetting=0.06),
    FakeArm(
        "full", "full", {"learning_rate": 0.1}, status=Status.FAILED, reason="the training loss is not finite at step 7"
    ),
    FakeArm("lora", "lora", {"r": 64, "learning_rate": 5e-4}, status=Status.RUNNING),
)
"""Four prompts, three finished trainings, one failed, one running: a sweep caught near its end."""


class InventedSweep:
    """Invents one sweep. Every number comes from a generator that is named by what it decides."""

    def __init__(
        self,
        arms: tuple[FakeArm, ...],
        examples: int,
        benchmarks: tuple[str, ...],
        items: int,
        curve_points: int,
        hostile: bool,
        name: str,
        seed: int,
        at: Sequence[Any] = (),
    ) -> None:
        self.arms = arms
        self.hostile = hostile
        self.items = items
        self.curve_points = curve_points
        self.name = name
        self.seed = seed
        self.labels = [*LABELS, *HOSTILE_TEXTS[:4]] if hostile else list(LABELS)
        self.task = TaskSpec(
            type="classification",
            prompt=[
                Message(role="system", content="Name the medical specialty of the question."),
                Message(role="user", content="{{ question }}"),
            ],
            target="{{ label }}",
            labels=self.labels,
        )
        self.model = ModelRef(source="builtin:smollm2-135m-instruct", revision="5" * 64, dtype="float32")
        sizes = SplitSpec(train=2 * examples, validation=examples, test=examples)
        spec = DataSpec(source="builtin:medical-specialty", splits=sizes)
        self.data = DataRef(spec=spec, content=identity.digest([seed, examples, hostile], 64), root=".")
        self.dataset_key = identity.dataset_key(self.data, self.task)
        self.benchmarks = BenchmarkSpec.model_validate({"tasks": list(benchmarks), "limit": items, "at": list(at)})
        self.splits = {
            "train": self._examples("train", 2 * examples),
            "validation": self._examples("validation", examples),
            "test": self._examples("test", examples),
        }

    def random(self, *what: Any) -> random.Random:
        """A generator for what is named, the same at every call."""
        return random.Random(json.dumps([self.seed, *what]))

    def _examples(self, split: str, count: int) -> list[tuple[str, int, str, str, str]]:
        draw = self.random("examples", split)
        rows = []
        for position in range(count):
            target = draw.choice(self.labels)
            text = f"A patient of {draw.randint(18, 90)} asks: what does sign {position} of {split} point to?"
            if self.hostile:
                text += f" {HOSTILE_TEXTS[position % len(HOSTILE_TEXTS)]}"
            fields = json.dumps({"question": text, "label": target})
            rows.append((identity.digest([split, position, self.seed], 16), position, text, fields, target))
        return rows

    def plan(self, seeds: tuple[int, ...]) -> Plan:
        """The plan with one run per arm and seed; every key is computed as the planner does."""
        experiment = identity.experiment_id(self.name)
        planned = [self._arm(experiment, index, arm) for index, arm in enumerate(self.arms)]
        spec = f"version: 1\nname: {self.name}\n"
        note = f" {HOSTILE_TEXTS[0]}" if self.hostile else ""
        return Plan(
            experiment_id=experiment,
            name=f"{self.name}{note}",
            question=f"Prompting, LoRA or full fine-tuning to route medical questions?{note}",
            spec_text=spec,
            spec_hash=identity.digest([spec, len(self.arms)], 64),
            task=self.task,
            decision=DecisionSpec(min_valid_format=0.9),
            benchmarks=self.benchmarks,
            execute=ExecuteSpec(),
            arms=tuple(planned),
            runs=tuple(self._run(experiment, arm, number) for arm in planned for number in seeds),
        )

    def _arm(self, experiment: str, index: int, arm: FakeArm) -> Arm:
        method: dict[str, Any] = {"type": arm.type, "prompt": None, "shots": 0, "decode": None}
        if arm.type != "prompt":
            method.update(TrainSpec(epochs=2).model_dump(mode="json"))
        if arm.type == "lora":
            method.update(
                r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", use_rslora=False, use_dora=False
            )
        method.update(arm.values)
        shared = {"data": self.data.content, "benchmarks": self.benchmarks.model_dump(mode="json"), "seed": self.seed}
        note = f" {HOSTILE_TEXTS[index % len(HOSTILE_TEXTS)]}" if self.hostile else ""
        return Arm(
            arm_id=identity.arm_id(experiment, arm.method_name, self.model, method, shared),
            method_name=arm.method_name,
            family=arm.family,
            label=arm.label + note,
            model=self.model,
            method=method,
            varied=arm.values,
            place=f"medical.yaml:{20 + index}:3",
        )

    def _run(self, experiment: str, arm: Arm, number: int) -> RunConfig:
        messages = [message.model_dump() for message in self.task.prompt]
        trained = arm.family != "prompt"
        base = identity.base_key(self.model)
        weights = identity.weights_key(self.model, self.dataset_key, arm.method, messages, number) if trained else base
        decode = arm.method["decode"] or "generate"
        predictions = identity.predictions_key(
            weights,
            self.dataset_key,
            "validation",
            [*messages, {"arm": arm.method_name}],
            arm.method["shots"],
            decode,
            8,
            number,
        )
        run = RunConfig(
            experiment_id=experiment,
            run_id=identity.run_id(arm.arm_id, number),
            arm_id=arm.arm_id,
            method_name=arm.method_name,
            seed=number,
            model=self.model,
            data=self.data,
            task=self.task,
            method=arm.method,
            benchmarks=self.benchmarks,
            execute=ExecuteSpec(),
            stages=(),
        )
        stages = [StageKey(kind="dataset", key=self.dataset_key)]
        if run.points:
            stages.append(StageKey(kind="candidates", key=identity.candidates_key(weights, run.points)))
        if trained:
            stages.append(StageKey(kind="weights", key=weights))
        scores = identity.scores_key(predictions, metric_definitions(self.task.metrics, Path()))
        stages.append(StageKey(kind="predictions", name="validation", key=predictions))
        stages.append(StageKey(kind="scores", name="validation", key=scores))
        stages += [
            StageKey(kind="benchmark", name=task, key=identity.benchmark_key(weights, task, "1", self.benchmarks))
            for task in self.benchmarks.tasks
        ]
        stages += course_stages(run, weights, dict.fromkeys(self.benchmarks.tasks, "1"))
        return run.model_copy(update={"stages": tuple(stages)})
