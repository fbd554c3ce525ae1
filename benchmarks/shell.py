"""What a user without ftlab would run for one of a plan's runs: a plain TRL script, then `lm_eval`.

The rows, the chats and the hyperparameters are those of the plan, so that both sides do the same work.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.catalog import BENCHMARKS
from ftlab.data.dataset import Dataset, build_dataset
from ftlab.data.prompts import few_shot_messages, shots_for
from ftlab.evaluate.builtin import task_folder
from ftlab.evaluate.predict import MARGIN
from ftlab.models.sources import fetch_model
from ftlab.plan.expand import build_plan
from ftlab.plan.lengths import open_tokens
from ftlab.plan.run import Plan, RunConfig
from ftlab.spec.load import load_spec

PLAIN = Path(__file__).with_name("plain_run.py")


@dataclass(frozen=True, slots=True)
class Taken:
    """What some processes took. Processor seconds say more than the clock on a machine that is busy otherwise."""

    seconds: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.seconds + other.seconds, self.processor + other.processor)

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s (of processor {self.processor:6.1f} s)"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the plain side."""

    script: Taken
    benchmark: Taken
    accuracy: float | None
    """None for a base that is only benchmarked."""

    @property
    def all(self) -> Taken:
        """Script and benchmark."""
        return self.script + self.benchmark

    def __str__(self) -> str:
        accuracy = "" if self.accuracy is None else f"   accuracy {self.accuracy:.3f}"
        return f"script {self.script}   lm_eval {self.benchmark}{accuracy}"


def plan_of(spec: str, overrides: tuple[str, ...] = ()) -> tuple[Plan, Dataset]:
    """The plan of a spec and its rows."""
    plan = build_plan(load_spec(spec, overrides))
    return plan, build_dataset(plan.runs[0].data, plan.task)


def swept(spec: str, folder: Path, overrides: tuple[str, ...] = ()) -> Taken:
    """What `ftlab run` takes for the whole spec, with nothing computed before."""
    options = [part for override in overrides for part in ("-s", override)]
    taken, _ = _python("-m", "ftlab.cli", "run", spec, "--results", str(folder), *options)
    return taken


class Shell:
    """The plain side: a script per run and `lm_eval` per set of weights, each a fresh process."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._benchmarked: set[str] = set()

    def run(self, run: RunConfig) -> Measured:
        """Run and time what `run` does. Whoever writes the loop by hand benchmarks the base once, and so does this."""
        folder = self._folder / run.run_id
        folder.mkdir(parents=True)
        model = fetch_model(run.model)
        script, accuracy, benchmark = Taken(), None, Taken()
        if any(stage.kind == "predictions" for stage in run.stages):
            description = folder / "run.json"
            description.write_text(json.dumps(_description(run, self._dataset, model, folder / "trained")))
            script, printed = _python(str(PLAIN), str(description))
            accuracy = json.loads(printed.splitlines()[-1])["accuracy"]
        keys = {stage.key for stage in run.stages if stage.kind == "benchmark"}
        if not keys <= self._benchmarked:
            benchmark = _lm_eval(run, model, folder)
            self._benchmarked |= keys
        return Measured(script, benchmark, accuracy)


def _description(run: RunConfig, dataset: Dataset, model: Path, out: Path) -> dict[str, Any]:
    shots = shots_for(dataset.splits["train"], dataset.labels, run.method["shots"], run.seed)

    def rows(split: str) -> list[dict[str, Any]]:
        return [
            {"messages": few_shot_messages(run.messages, shots, row.fields, dataset.labels), "answer": row.target}
            for row in dataset.splits[split]
        ]

    return {
        "model": str(model),
        "out": str(out),
        "train": rows("train") if run.method["type"] != "prompt" else [],
        "validation": rows("validation"),
        "labels": dataset.labels,
        "method": run.method,
        "decode": run.decode,
        "seed": run.seed,
        "max_new_tokens": run.task.max_new_tokens or _longest(model, run, dataset) + MARGIN,
    }


def _longest(model: Path, run: RunConfig, dataset: Dataset) -> int:
    """Tokens of the longest label: ftlab lets an answer be that long and a margin."""
    tokens = open_tokens(run.model.model_copy(update={"folder": str(model)}))
    assert tokens is not None, f"{model} has no tokenizer.json"
    return max(tokens.count(dataset.labels))


def _lm_eval(run: RunConfig, model: Path, folder: Path) -> Taken:
    names = [name.removeprefix("builtin:") for name in run.benchmarks.tasks]
    tasks = folder / "tasks"
    tasks.mkdir()
    for name in names:
        rows = ", ".join(f"{split}: {path}" for split, path in BENCHMARKS.load(name).fetch().items())
        text = (task_folder() / f"{name}.yaml").read_text()
        (tasks / f"{name}.yaml").write_text(f"{text}\ndataset_kwargs: {{data_files: {{{rows}}}}}\n")
    trained = folder / "trained"
    adapter = (trained / "adapter_config.json").exists()
    weights = trained if trained.exists() and not adapter else model
    arguments = f"pretrained={weights},dtype=float32" + (f",peft={trained}" if adapter else "")
    limit = ["--limit", str(run.benchmarks.limit)] if run.benchmarks.limit else []
    # fmt: off
    taken, _ = _python(
        "-m", "lm_eval", "run", "--model", "hf", "--model_args", arguments, "--device", "cpu", "--batch_size", "8",
        "--tasks", ",".join(names), "--include_path", str(tasks), *limit,
        "--log_samples", "--output_path", str(folder / "bench"),
    )
    # fmt: on
    return taken


def _python(*arguments: str) -> tuple[Taken, str]:
    """What a fresh process took and what it printed. Exits with its last words when it fails."""
    own = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    before, started = _processor(), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=os.environ | own)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:4])} failed:\n{done.stderr[-3000:]}")
    return Taken(time.perf_counter() - started, _processor() - before), done.stdout


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
