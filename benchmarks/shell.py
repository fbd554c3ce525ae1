"""What a user without ftlab would run for one of a plan's runs: a plain TRL script, then `lm_eval`.

The rows, the chats and the hyperparameters are those of the plan, so that both sides do the same work.
"""

from __future__ import annotations

import json
import os
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
class Measured:
    """One side's figures for one run."""

    script_seconds: float
    benchmark_seconds: float
    accuracy: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.script_seconds + self.benchmark_seconds


def plan_of(spec: str, overrides: tuple[str, ...] = ()) -> tuple[Plan, Dataset]:
    """The plan of a spec and its rows."""
    plan = build_plan(load_spec(spec, overrides))
    return plan, build_dataset(plan.runs[0].data, plan.task)


def plain(run: RunConfig, dataset: Dataset, folder: Path) -> Measured:
    """Run the plain script and `lm_eval` for `run` as fresh processes, and time both."""
    folder.mkdir(parents=True)
    model = fetch_model(run.model)
    description = folder / "run.json"
    description.write_text(json.dumps(_description(run, dataset, model, folder / "trained")))
    started = time.perf_counter()
    printed = _python(str(PLAIN), str(description))
    script = time.perf_counter() - started
    started = time.perf_counter()
    if run.benchmarks.tasks:
        _lm_eval(run, model, folder)
    return Measured(script, time.perf_counter() - started, json.loads(printed.splitlines()[-1])["accuracy"])


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


def _lm_eval(run: RunConfig, model: Path, folder: Path) -> None:
    names = [name.removeprefix("builtin:") for name in run.benchmarks.tasks]
    tasks = folder / "tasks"
    tasks.mkdir()
    for name in names:
        rows = BENCHMARKS.load(name).fetch()
        text = (task_folder() / f"{name}.yaml").read_text()
        (tasks / f"{name}.yaml").write_text(f"{text}\ndataset_kwargs: {{data_files: {{validation: {rows}}}}}\n")
    trained = folder / "trained"
    adapter = (trained / "adapter_config.json").exists()
    weights = trained if trained.exists() and not adapter else model
    arguments = f"pretrained={weights},dtype=float32" + (f",peft={trained}" if adapter else "")
    limit = ["--limit", str(run.benchmarks.limit)] if run.benchmarks.limit else []
    # fmt: off
    _python(
        "-m", "lm_eval", "run", "--model", "hf", "--model_args", arguments, "--device", "cpu", "--batch_size", "8",
        "--tasks", ",".join(names), "--include_path", str(tasks), *limit,
        "--log_samples", "--output_path", str(folder / "bench"),
    )
    # fmt: on


def _python(*arguments: str) -> str:
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:4])} failed:\n{done.stderr[-3000:]}")
    return done.stdout
