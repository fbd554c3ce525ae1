"""General benchmarks: the same items for the base and for every arm, item by item. Most are lm-eval's.

`builtin:<name>` tasks ship with ftlab and need no hub, some of them asked by ftlab itself; any other name is one of
lm-eval's own registry, or a task of the user's own that the spec allows by name (`ftlab.evaluate.own_tasks`).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.catalog import BENCHMARKS, BENCHMARKS_LEFT_OUT, suggest
from ftlab.errors import FetchError, UnknownNameError, UsageError
from ftlab.evaluate.asked import AskedBenchmark, run_asked
from ftlab.evaluate.own_tasks import OwnTask
from ftlab.evaluate.registry import task_names
from ftlab.events import EventType, Reporter
from ftlab.paths import cache_dir
from ftlab.spec.measures import MEASURES, Measure, known_group
from ftlab.spec.schema import BenchmarkGroup, BenchmarkSpec
from ftlab.text import one_line

if TYPE_CHECKING:
    from ftlab.evaluate.builtin import BuiltinBenchmark
    from ftlab.models.load import LoadedModel

BUILTIN = "builtin:"
SEED = 1234
"""lm-eval's own seed for few-shot examples, so that its published numbers can be compared."""
STDERR_DRAWS = 1000
"""lm-eval's bootstrap of the standard errors that have no closed form."""


def benchmark_version(task: str, own: OwnTask | None = None) -> str:
    """What a task's result depends on besides the model; of a task of the user's own, its files. Light: no torch.

    Raises UnknownNameError for an unknown builtin; `check_task` also checks the names of lm-eval's registry.
    """
    builtin = _builtin(task)
    harness = f"lm-eval {metadata.version('lm-eval')}"
    if builtin:
        return builtin.version()
    return f"{own.version}, {harness}" if own else harness


def benchmark_facts(task: str) -> dict[str, Any]:
    """What is known of a task before it runs, `{"group", "chance", "rows_dropped"}`; the last two None for others.

    A task that measures several things has several groups, joined by `and`. Light, and raises, as `benchmark_version`.
    """
    builtin = _builtin(task)
    if builtin is None:
        return {"group": known_group(task), "chance": None, "rows_dropped": None}
    if isinstance(builtin, AskedBenchmark):
        groups = dict.fromkeys(measure.group for measure in MEASURES[task] if measure.gated)
        return {"group": " and ".join(groups), "chance": None, "rows_dropped": 0}
    return {"group": builtin.group, "chance": builtin.chance, "rows_dropped": builtin.dropped}


def measures_of(task: str) -> tuple[Measure, ...]:
    """What is judged on a task: of most one measure, whose metric is found in what was measured.

    A builtin that is no longer there is of the group `other`, since old results stay readable.
    """
    if task in MEASURES:
        return MEASURES[task]
    try:
        group: BenchmarkGroup = benchmark_facts(task)["group"]
    except UnknownNameError:
        group = "other"
    return (Measure("", group=group),)


def check_task(task: str, own: OwnTask | None = None) -> None:
    """Raise UnknownNameError, with the nearest name, unless `task` exists. Light: no torch, no lm-eval.

    Raises UsageError for a path, before anything of it is read: a task file of a user's own may name code to run, and
    `own` says that the spec allows it. Also for a task of the user's own with a name of lm-eval's: on a page the two
    could not be told apart.
    """
    if own is not None:
        own.check()
        if task in task_names():
            raise UsageError(f"benchmark '{task}' is a task of lm-eval's registry too; give your own another name")
        return
    if _builtin(task) is None and looks_like_path(task):
        raise UsageError(
            f"benchmark '{one_line(task)}' is a path, and an lm-eval task file may name Python code to run; "
            f"name a task of `lm-eval ls tasks` or a builtin ({_offered()}), or allow your own by its name: "
            "benchmarks.own: {<task>: <folder>}"
        )
    if _builtin(task) is None and task not in (known := task_names()):
        near = suggest(task, [*known, *(f"{BUILTIN}{name}" for name in BENCHMARKS.names())])
        raise UnknownNameError(
            f"unknown benchmark '{task}'{near} (known: {_offered()}, and {len(known):,} names of `lm-eval ls tasks`)"
        )


def looks_like_path(task: str) -> bool:
    """Whether a task's name is that of a file or folder; no name of lm-eval's registry is."""
    return task.startswith(("~", ".")) or task.endswith((".yaml", ".yml")) or os.sep in task


def _offered() -> str:
    return ", ".join(f"{BUILTIN}{name}" for name in BENCHMARKS.names())


def _builtin(task: str) -> BuiltinBenchmark | AskedBenchmark | None:
    if not task.startswith(BUILTIN):
        return None
    name = task.removeprefix(BUILTIN)
    if (why := BENCHMARKS_LEFT_OUT.get(name)) and name not in BENCHMARKS.names():
        raise UnknownNameError(f"there is no builtin benchmark '{name}': {why}")
    return BENCHMARKS.load(name)


def run_benchmark(
    task: str,
    model: Any,
    loaded: LoadedModel,
    bench: BenchmarkSpec,
    out: Path,
    report: Reporter,
    batch_tokens: int = 4096,
    own: OwnTask | None = None,
) -> dict[str, Any]:
    """Run one task on `model` (with the tokenizer of `loaded`) and write items.parquet, results.json and summary.json.

    The first `bench.limit` items, every time the same; two runs on equal weights write equal items. Returns the
    summary. Raises UnknownNameError for an unknown task, FetchError when its rows cannot be fetched, UsageError for a
    task that needs more than a text model and greedy decoding.
    """
    from ftlab.evaluate.bench_items import chance_of, finite, read_items, summarize, write_items
    from ftlab.evaluate.harness import LoadedLM

    builtin = _builtin(task)
    if isinstance(builtin, AskedBenchmark):
        return run_asked(builtin, model, loaded, bench.limit, out, report, batch_tokens)
    started = time.perf_counter()
    if own is not None:
        report(
            EventType.WARNING,
            code="own_benchmark",
            message=f"benchmark '{task}' is a task of your own; any Python code that its files in "
            f"'{own.folder.name}' name was run ({own.version})",
            step=None,
        )
    tasks = load_tasks(task, bench.shots, report, own)
    language_model = LoadedLM(model, loaded.tokenizer, batch_tokens, report)
    results = _evaluate(task, language_model, tasks, bench)
    items = list(read_items(tasks["tasks"], results["samples"]))
    write_items(items, out / "items.parquet")
    known = benchmark_facts(task)
    if builtin is None:
        known["chance"] = chance_of(items)
    summary = {
        "task": task,
        "version": benchmark_version(task, own),
        **summarize(task.removeprefix(BUILTIN), tasks, results, items),
        **({"primary": builtin.primary} if builtin else {}),
        **known,
        "seconds": time.perf_counter() - started,
        "lm_eval": metadata.version("lm-eval"),
    }
    kept = {
        key: results[key]
        for key in ("results", "versions", "n-shot", "n-samples", "higher_is_better")
        if key in results
    }
    for name, content in (("results.json", finite(kept)), ("summary.json", summary)):
        (out / name).write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, default=str), encoding="utf-8")
    return summary


def load_tasks(task: str, shots: int | None, report: Reporter, own: OwnTask | None = None) -> dict[str, Any]:
    """lm-eval's task objects for one name, `{"tasks": {name: Task}, ...}`, with their few-shot settings made.

    Raises as `run_benchmark`, and UsageError for a builtin that lm-eval does not ask.
    """
    from lm_eval.tasks import TaskManager

    builtin = _builtin(task)
    if isinstance(builtin, AskedBenchmark):
        raise UsageError(f"benchmark '{task}' is asked by ftlab itself and is no task of lm-eval")
    if builtin is not None:
        rows = {split: str(path) for split, path in builtin.fetch(report).items()}
        files = {"data_files": rows, "cache_dir": str(cache_dir() / "datasets")}
        with _quiet():
            # Without lm-eval's own folder, whose 14,000 names take 17 s to read.
            tasks = TaskManager(include_defaults=False).load([{**builtin.config(), "dataset_kwargs": files}])
    else:
        check_task(task, own)
        tasks = _load_own(own) if own else _load_from_registry(task)
    for each in tasks["tasks"].values():
        # What `simple_evaluate` does before `evaluate`; it would also run git and list the environment.
        own = each.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):
            each.set_config(key="num_fewshot", value=shots or 0)
        each.set_fewshot_seed(seed=SEED)
    return tasks


def _load_own(own: OwnTask) -> dict[str, Any]:
    """A task of the user's own. Here its code runs, and may do so again while the task is evaluated.

    Files that it names start from its folder, so that it means the same wherever a sweep is started.
    """
    from lm_eval.tasks import TaskManager

    try:
        with _quiet(), chdir(own.folder):
            return TaskManager(include_path=str(own.folder), include_defaults=False).load([own.name])
    except Exception as error:  # anything at all: it is a stranger's code
        reason = one_line(str(error).strip() or type(error).__name__)
        raise UsageError(f"benchmark '{own.name}' of {own.folder} cannot be loaded: {reason}") from error


def _load_from_registry(task: str) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    try:
        with _quiet():
            return TaskManager().load([task])
    except (OSError, RuntimeError) as error:  # no network, or a data set that is only on a hub
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FetchError(
            f"the rows of benchmark '{task}' cannot be fetched ({reason}); check the network, or use one that needs no "
            f"hub: {_offered()}"
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's notes and the progress bars of `datasets` out of the log; errors still show."""
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
