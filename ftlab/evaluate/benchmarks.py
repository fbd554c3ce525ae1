"""General benchmarks by lm-eval: the same items for the base and for every arm, item by item, with log-likelihoods.

`builtin:<name>` tasks ship with ftlab and need no hub; any other name is one of lm-eval's own registry. Folders with
tasks of a user's own are not offered: an lm-eval YAML may name Python code to run.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.catalog import BENCHMARKS, suggest
from ftlab.errors import FetchError, FtlabError, UnknownNameError, UsageError
from ftlab.events import Reporter
from ftlab.files import file_lock, storage_errors, write_atomic
from ftlab.paths import cache_dir
from ftlab.spec.schema import BenchmarkSpec

if TYPE_CHECKING:
    from ftlab.evaluate.builtin import BuiltinBenchmark
    from ftlab.models.load import LoadedModel

BUILTIN = "builtin:"
SEED = 1234
"""lm-eval's own seed for few-shot examples, so that its published numbers can be compared."""
STDERR_DRAWS = 1000
"""lm-eval's bootstrap of the standard errors that have no closed form."""
PREFERRED = ("acc_norm", "acc", "exact_match", "f1", "mcc", "bleu", "rougeL")
"""What stands for a task of lm-eval's registry, the first of these that it has; else its first metric."""
CHOSEN_BY: dict[str, Callable[[str], float]] = {
    "acc": lambda text: 1.0,
    "acc_norm": len,
    "acc_bytes": lambda text: len(text.encode()),
}
"""What a choice's log-likelihood is divided by before the largest wins, as in lm-eval."""


def benchmark_version(task: str) -> str:
    """What a task's result depends on besides the model. Light: no torch, no lm-eval.

    Raises UnknownNameError for an unknown builtin; `check_task` also checks the names of lm-eval's registry.
    """
    builtin = _builtin(task)
    return builtin.version() if builtin else f"lm-eval {metadata.version('lm-eval')}"


def check_task(task: str) -> None:
    """Raise UnknownNameError, with the nearest name, unless `task` exists.

    Names of lm-eval's registry are listed once per version, in a process of its own that takes about 20 seconds, and
    then come from the cache.
    """
    if _builtin(task) is None and task not in (known := registry_names()):
        offered = ", ".join(f"{BUILTIN}{name}" for name in BENCHMARKS.names())
        near = suggest(task, [*known, *(f"{BUILTIN}{name}" for name in BENCHMARKS.names())])
        raise UnknownNameError(
            f"unknown benchmark '{task}'{near} (known: {offered}, and the {len(known)} names of `lm-eval ls tasks`)"
        )


def registry_names() -> list[str]:
    """Every task and group name of the installed lm-eval, sorted."""
    path = cache_dir() / "benchmarks" / f"lm-eval-{metadata.version('lm-eval')}-tasks.json"
    if not path.exists():
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_suffix(".lock")):
            if not path.exists():
                write_atomic(path, json.dumps(_list_registry()).encode())
    return json.loads(path.read_bytes())


def _list_registry() -> list[str]:
    code = "import json; from lm_eval.tasks import TaskManager; print(json.dumps(TaskManager().all_tasks))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if process.returncode:
        raise FtlabError(f"lm-eval cannot list its tasks: {process.stderr.strip()[-500:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _builtin(task: str) -> BuiltinBenchmark | None:
    return BENCHMARKS.load(task.removeprefix(BUILTIN)) if task.startswith(BUILTIN) else None


def run_benchmark(
    task: str,
    model: Any,
    loaded: LoadedModel,
    bench: BenchmarkSpec,
    out: Path,
    report: Reporter,
    batch_tokens: int = 4096,
) -> dict[str, Any]:
    """Run one task on `model` (with the tokenizer of `loaded`) and write items.parquet, results.json and summary.json.

    The first `bench.limit` items, every time the same; two runs on equal weights write equal items. Returns the
    summary. Raises UnknownNameError for an unknown task, FetchError when its rows cannot be fetched, UsageError for a
    task that needs more than a text model and greedy decoding.
    """
    from ftlab.evaluate.harness import LoadedLM

    started = time.perf_counter()
    tasks = load_tasks(task, bench.shots, report)
    language_model = LoadedLM(model, loaded.tokenizer, batch_tokens, report)
    results = _evaluate(task, language_model, tasks, bench)
    items = list(_items(tasks["tasks"], results["samples"]))
    _write_items(items, out / "items.parquet")
    summary = _summary(task, tasks, results, items, time.perf_counter() - started)
    kept = {
        key: results[key]
        for key in ("results", "versions", "n-shot", "n-samples", "higher_is_better")
        if key in results
    }
    for name, content in (("results.json", _finite(kept)), ("summary.json", summary)):
        (out / name).write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, default=str), encoding="utf-8")
    return summary


def load_tasks(task: str, shots: int | None, report: Reporter) -> dict[str, Any]:
    """lm-eval's task objects for one name, `{"tasks": {name: Task}, ...}`, with their few-shot settings made.

    Raises as `run_benchmark`.
    """
    from lm_eval.tasks import TaskManager

    builtin = _builtin(task)
    if builtin is not None:
        files = {"data_files": {"validation": str(builtin.fetch(report))}, "cache_dir": str(cache_dir() / "datasets")}
        with _quiet():
            # Without lm-eval's own folder, whose 14,000 names take 17 s to read.
            tasks = TaskManager(include_defaults=False).load([{**builtin.config(), "dataset_kwargs": files}])
    else:
        check_task(task)
        tasks = _load_from_registry(task)
    for each in tasks["tasks"].values():
        # What `simple_evaluate` does before `evaluate`; it would also run git and list the environment.
        own = each.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):
            each.set_config(key="num_fewshot", value=shots or 0)
        each.set_fewshot_seed(seed=SEED)
    return tasks


def _load_from_registry(task: str) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    try:
        with _quiet():
            return TaskManager().load([task])
    except (OSError, RuntimeError) as error:  # no network, or a data set that is only on a hub
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FetchError(
            f"the rows of benchmark '{task}' cannot be fetched ({reason}); check the network, or use {BUILTIN}piqa, "
            f"{BUILTIN}openbookqa or {BUILTIN}commonsenseqa, which need no hub"
        ) from error


def _evaluate(name: str, language_model: Any, tasks: dict[str, Any], bench: BenchmarkSpec) -> dict[str, Any]:
    from lm_eval.evaluator import evaluate

    try:
        with _quiet():
            results = evaluate(
                lm=language_model,
                task_dict=tasks,
                limit=bench.limit,
                bootstrap_iters=STDERR_DRAWS,
                log_samples=True,
                apply_chat_template=bench.chat_template,
                fewshot_as_multiturn=bench.chat_template,
            )
    except ValueError as error:
        if isinstance(error, UsageError) or not str(error).startswith("Attempted to run task"):
            raise
        raise UsageError(f"benchmark '{name}' needs images, sound or code to be run; ftlab runs text alone") from error
    if results is None or not any(results["samples"].values()):
        raise UsageError(f"benchmark '{name}' has no items")
    return results


def _items(tasks: dict[str, Any], samples: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """One row per item and metric; only metrics that have one number per item."""
    for name, rows in samples.items():
        first_filter = rows[0]["filter"]
        for row in rows:
            if row["filter"] != first_filter:  # a task with several readings of one answer: its first counts
                continue
            logliks = _logliks(row)
            texts = _choice_texts(tasks[name], row) if logliks else []
            for metric in row["metrics"]:
                score = row[metric]
                if not isinstance(score, (int, float, bool)) or not math.isfinite(score):
                    continue
                yield {
                    "doc_hash": row["doc_hash"],
                    "doc_id": row["doc_id"],
                    "metric": metric,
                    "score": float(score),
                    "logliks": json.dumps(logliks) if logliks else None,
                    "target": str(row["target"]),
                    "choice": _choice(metric, logliks, texts),
                }


def _logliks(row: dict[str, Any]) -> list[float]:
    """The log-likelihood of every choice; empty for a task that generates."""
    answers = row["filtered_resps"]
    return [float(answer[0]) for answer in answers if isinstance(answer, (tuple, list)) and len(answer) == 2]


def _choice_texts(task: Any, row: dict[str, Any]) -> list[str]:
    return list(task.doc_to_choice(row["doc"])) if task.get_config("doc_to_choice") is not None else []


def _choice(metric: str, logliks: list[float], texts: list[str]) -> int | None:
    """The index of the choice that a metric takes the model to have made."""
    size = CHOSEN_BY.get(metric)
    if size is None or len(texts) != len(logliks) or not logliks:
        return None
    return max(range(len(logliks)), key=lambda index: logliks[index] / (size(texts[index]) or 1))


def _summary(
    task: str, tasks: dict[str, Any], results: dict[str, Any], items: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    scores: dict[str, list[float]] = {}
    for item in items:
        scores.setdefault(item["metric"], []).append(item["score"])
    top = _top(task, tasks, results)
    metrics = {name: _metric_row(top, name, scores.get(name, [])) for name in _metric_names(top)}
    builtin = _builtin(task)
    primary = builtin.primary if builtin else next((name for name in PREFERRED if name in metrics), next(iter(metrics)))
    return {
        "task": task,
        "version": benchmark_version(task),
        "metrics": metrics,
        "primary": primary,
        "seconds": seconds,
        "rows_dropped": builtin.dropped if builtin else 0,
        "samples": len({(item["doc_hash"], item["doc_id"]) for item in items}),
        "lm_eval": metadata.version("lm-eval"),
    }


def _top(task: str, tasks: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's numbers of the task, of the group, or of the only task there is."""
    name = task.removeprefix(BUILTIN)
    if name in results["results"]:
        return results["results"][name]
    return results["results"][next(iter(tasks["tasks"]))]


def _metric_names(top: dict[str, Any]) -> list[str]:
    """Metric names in lm-eval's order, each with its first filter alone: its keys are `metric,filter`."""
    names = [key.split(",")[0] for key, value in top.items() if "," in key and isinstance(value, (int, float))]
    return [name for name in dict.fromkeys(names) if not name.endswith("_stderr")]


def _metric_row(top: dict[str, Any], name: str, scores: list[float]) -> dict[str, Any]:
    from ftlab.statistics.intervals import bootstrap_mean, wilson

    def first(metric: str) -> float | None:
        value = next((value for key, value in top.items() if key.split(",")[0] == metric), None)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    value, low, high = first(name), None, None
    # An interval belongs to a mean over items; a group may weigh its tasks, and a perplexity is no mean.
    if value is not None and scores and math.isclose(value, sum(scores) / len(scores), abs_tol=1e-9):
        whole = all(score in (0.0, 1.0) for score in scores)
        interval = wilson(int(sum(scores)), len(scores)) if whole else bootstrap_mean(scores, SEED)
        low, high = interval.low, interval.high
    return {"value": value, "stderr": first(f"{name}_stderr"), "low": low, "high": high, "n": len(scores) or None}


def _finite(value: Any) -> Any:
    """Plain data with None for what JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_items(items: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("doc_hash", pa.string()),
            ("doc_id", pa.int64()),
            ("metric", pa.string()),
            ("score", pa.float64()),
            ("logliks", pa.string()),
            ("target", pa.string()),
            ("choice", pa.int64()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(items, schema=schema), path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's and datasets' progress bars and notes out of the log; errors still show."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level, bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
