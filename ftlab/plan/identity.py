"""What makes two pieces of work the same: a hash of all that can change a result and of nothing else.

Each `*_key` function lists its ingredients by name, so that reading it answers "what invalidates this stage?". A key
starts with a version number of its own: raise it when the code of a stage changes what the stage produces.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from ftlab.plan.run import DataRef, ModelRef, WarmStart
from ftlab.spec.measures import MEASURES
from ftlab.spec.schema import BenchmarkSpec, TaskSpec

DATASET_VERSION = 1
WEIGHTS_VERSION = 1
PREDICTIONS_VERSION = 1
SCORES_VERSION = 1
BENCHMARK_VERSION = 1
CANDIDATES_VERSION = 1

NOT_IN_WEIGHTS = frozenset({"checkpoints", "decode", "prompt"})
"""Fields of a method that cannot change trained weights: how often progress is saved, and how answers are read off. The
chat counts too, but as the resolved messages: a method's own `prompt` or the task's."""

ADDED_LATER = {"on_diverge": "warn"}
"""Fields of a method that came after results were stored, with the value that stands for what was done before. With it
they count in no identity, so that what is stored keeps its name."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no blanks, and one spelling per number: equal values give equal text.

    1.0 and 1 are the same number and are written alike. Raises ValueError for NaN and infinity, which are never values.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return int(value)
    return value


def digest(value: Any, length: int = 32) -> str:
    """The first `length` hex digits (4 bits each) of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def experiment_id(name: str) -> str:
    """A folder name for an experiment: letters and digits of its name and a hash, so that names never become paths."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"{slug or 'experiment'}-{digest(name, 6)}"


def arm_id(
    experiment: str,
    method_name: str,
    model: ModelRef,
    method: dict[str, Any],
    shared: dict[str, Any],
    warm_start: WarmStart | None = None,
) -> str:
    """An arm's id. `shared` is what all arms of an experiment have in common: data, task, benchmarks.

    Without a warm start the id is what it was before there were any.
    """
    identity = {
        "experiment": experiment,
        "method_name": method_name,
        "model": _model(model),
        "method": _as_before(method),
        "shared": shared,
        **({} if warm_start is None else {"warm_start": list(warm_start.keys)}),
    }
    return f"a{digest(identity, 12)}"


def shared_by_arms(data: DataRef, task: TaskSpec, benchmarks: BenchmarkSpec) -> dict[str, Any]:
    """What all arms of an experiment have in common."""
    groups = [] if data.spec.cluster_by is None else [data.spec.cluster_by]
    folds = data.spec.splits.folds
    return {
        "data": [data.content, _splits(data), *([{"folds": folds}] if folds else []), *groups],
        "task": task.model_dump(mode="json"),
        "benchmarks": benchmarks.model_dump(mode="json", exclude=None if benchmarks.at else {"at"}),
    }


def search_id(
    experiment: str, method_name: str, model: ModelRef, fields: dict[str, Any], shared: dict[str, Any]
) -> str:
    """A search's id: what its earlier proposals still hold for. `fields` are the method's, ranges included, and what
    the search is told but for how long it goes on."""
    identity = {
        "experiment": experiment,
        "search": method_name,
        "model": _model(model),
        "fields": _as_before(fields),
        "shared": shared,
    }
    return f"s{digest(identity, 12)}"


def run_id(arm: str, seed: int, fold: int | None = None) -> str:
    """A run's id: its arm and its seed, and its fold where there are folds."""
    return f"r{digest({'arm': arm, 'seed': seed, **({} if fold is None else {'fold': fold})}, 12)}"


def dataset_key(data: DataRef, task: TaskSpec, fold: int | None = None) -> str:
    """Source bytes, split rule, and what the right answer of a row is. Prompts belong to later stages.

    Without `fold` the key is that of the rows before they are folded: of the same test rows as in every fold.
    """
    return digest(
        {
            "stage": ["dataset", DATASET_VERSION],
            "content": data.content,
            "splits": _splits(data),
            **({"fold": [fold, data.spec.splits.folds]} if fold is not None else {}),
            "type": task.type,
            "target": task.target,
            "labels": task.labels,
            **({"cluster_by": data.spec.cluster_by} if data.spec.cluster_by is not None else {}),
        }
    )


def base_key(model: ModelRef) -> str:
    """The weights of a base model as they are: what every prompting arm runs on."""
    return digest({"stage": ["weights", WEIGHTS_VERSION], "model": _model(model)})


def weights_key(
    model: ModelRef,
    dataset: str,
    method: dict[str, Any],
    messages: list[dict[str, Any]],
    seed: int,
    start: str | None = None,
) -> str:
    """The base, the data, the chat it is trained on, every field of the method that training reads, and the seed.

    `start` is the key of the weights that training begins from; without it the key is that of a training from scratch.

    Fields of `NOT_IN_WEIGHTS` are left out: choosing labels instead of generating them must not train again.
    `on_diverge: stop` counts: it may keep other weights, and must not take over those that it would have refused.
    """
    return digest(
        {
            "stage": ["weights", WEIGHTS_VERSION],
            "model": _model(model),
            "dataset": dataset,
            "method": {name: value for name, value in _as_before(method).items() if name not in NOT_IN_WEIGHTS},
            "messages": messages,
            "seed": seed,
            **({} if start is None else {"start": start}),
        }
    )


def candidates_key(weights: str, points: Sequence[str]) -> str:
    """The training, by the weights that come of it, and the points at which its weights are kept besides."""
    return digest({"stage": ["candidates", CANDIDATES_VERSION], "weights": weights, "points": list(points)})


def candidate_key(candidates: str, point: str) -> str:
    """The weights at one point of a training."""
    return digest({"candidates": candidates, "point": point})


def predictions_key(
    weights: str,
    dataset: str,
    split: str,
    messages: list[dict[str, Any]],
    shots: int,
    decode: str,
    max_new_tokens: int | None,
    seed: int,
    targets: bool = False,
) -> str:
    """The weights, the rows, the chat and how the answer is read off. The seed counts only where it draws shots.

    `targets` says that the log-likelihood of the right answers is stored too; predictions without it keep their key.
    """
    return digest(
        {
            **({"targets": True} if targets else {}),
            "stage": ["predictions", PREDICTIONS_VERSION],
            "weights": weights,
            "dataset": dataset,
            "split": split,
            "messages": messages,
            "shots": shots,
            "decode": decode,
            "max_new_tokens": max_new_tokens if decode == "generate" else None,
            "seed": seed if shots else None,
        }
    )


def scores_key(predictions: str, metrics: dict[str, Any], cluster_by: str | None = None) -> str:
    """The predictions and the definition of every metric: its name and its own version, and what it was told.

    `cluster_by` widens intervals; scores without it keep their key.
    """
    clustered = {"cluster_by": cluster_by} if cluster_by is not None else {}
    return digest({"stage": ["scores", SCORES_VERSION], "predictions": predictions, "metrics": metrics, **clustered})


def benchmark_key(weights: str, task: str, version: str, benchmarks: BenchmarkSpec) -> str:
    """The weights (never left out: a cache without them reports no forgetting at all), the task and how it is asked.

    What ftlab asks itself has one form, so neither shots nor the chat template count there.
    """
    one_form = task in MEASURES
    return digest(
        {
            "stage": ["benchmark", BENCHMARK_VERSION],
            "weights": weights,
            "task": task,
            "version": version,
            "limit": benchmarks.limit,
            "shots": None if one_form else benchmarks.shots,
            "chat_template": False if one_form else benchmarks.chat_template,
        }
    )


def _splits(data: DataRef) -> dict[str, Any]:
    """The split rule without its folds, which count where a fold is taken."""
    return data.spec.splits.model_dump(mode="json", exclude={"folds"})


def _as_before(method: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in method.items() if name not in ADDED_LATER or value != ADDED_LATER[name]}


def _model(model: ModelRef) -> dict[str, str]:
    return {"revision": model.revision, "dtype": model.dtype}
