"""Checks across the blocks of a spec and against the world: names that exist, files that exist, parts that agree.

They read the tree rather than the validated spec, so that a mistake elsewhere does not hide theirs. A value of the
wrong type is passed over: the schema has reported it already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from ftlab.catalog import BENCHMARKS, BENCHMARKS_LEFT_OUT, DATASETS, EXECUTORS, MODELS, Registry, suggest
from ftlab.errors import Problem
from ftlab.spec.judge import JUDGE, wrong_question
from ftlab.spec.measures import MEASURES
from ftlab.spec.metrics import DEFAULT_METRICS, metric_entry
from ftlab.spec.scalars import shown
from ftlab.spec.schema import BenchmarkGroup, SeedRace
from ftlab.spec.searches import FORGETTING, OBJECTIVES, parse_constraint
from ftlab.spec.task_checks import TaskChecker
from ftlab.spec.tree import Node

DATA_ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
"""The formats of data files, by the ending of their name."""

KeyPath = tuple[str | int, ...]


def check_references(tree: Node, root: Path, problems: list[Problem]) -> None:
    """Add what is wrong between the blocks of a spec and with the names in it.

    Args:
        root: the folder that relative file names start from.
    """
    checker = _Checker(tree, root, problems)
    checker.models()
    checker.data()
    checker.distinct(("task", "labels"), "label")
    task = TaskChecker(tree, root, problems)
    task.task()
    checker.benchmarks()
    checker.course()
    task.decision()
    checker.prices()
    checker.judge()
    checker.forgetting()
    checker.searches()
    checker.executor()
    checker.distinct(("seeds",), "seed")
    checker.race()


def is_folder(source: str) -> bool:
    """Whether a model's source names a folder rather than a hub id."""
    return source.startswith((".", "/", "~"))


def is_file(source: str) -> bool:
    """Whether a data source names a file rather than a hub id."""
    return is_folder(source) or source.lower().endswith(DATA_ENDINGS)


def _metric_keys(metrics: Sequence[Any]) -> Iterator[str]:
    """The keys of the metrics that are in order; what is wrong with the others is told elsewhere."""
    for metric in metrics:
        with suppress(ValueError, AttributeError, TypeError):
            yield metric_entry(metric).key


class _Checker:
    def __init__(self, tree: Node, root: Path, problems: list[Problem]) -> None:
        self.tree = tree
        self.root = root
        self.problems = problems

    def models(self) -> None:
        for path, source in [*self._texts(("model",)), *self._texts(("model", "source"))]:
            self._model(path, source)
        models = self.tree.find(("model",))
        if models is not None and isinstance(models.content, list):
            for index in range(len(models.content)):
                for path, source in self._texts(("model", index, "source")):
                    self._model(path, source)
            self.distinct(("model",), "model")

    def data(self) -> None:
        for path, source in self._texts(("data", "source")):
            if source.startswith("builtin:"):
                self._known(path, source.removeprefix("builtin:"), DATASETS)
            elif is_file(source):
                self._file(path, source)
        for split in ("train", "validation", "test"):
            for path, name in self._texts(("data", "files", split)):
                self._file(path, name)

    def judge(self) -> None:
        """A judge that exists, and a question that shows it both answers."""
        judge = self.tree.find((JUDGE,))
        if judge is None or judge.content is None:
            return
        if self._value(("data", "splits", "folds"), None) is not None:
            self._note((JUDGE,), "a judge compares the answers of whole runs; leave it out, or data.splits.folds")
        for path, source in self._texts((JUDGE, "model")):
            self._model(path, source)
        for path, question in self._texts((JUDGE, "question")):
            if wrong := wrong_question(question):
                self._note(path, wrong)

    def benchmarks(self) -> None:
        for path, task in self._texts(("benchmarks", "tasks")):
            if not task.startswith("builtin:"):
                continue
            name = task.removeprefix("builtin:")
            if (why := BENCHMARKS_LEFT_OUT.get(name)) and name not in BENCHMARKS.names():
                self._note(path, f"there is no builtin benchmark '{name}': {why}")
            else:
                self._known(path, name, BENCHMARKS)
        self._own_benchmarks()

    def _own_benchmarks(self) -> None:
        """What is allowed to run code is used, and is a folder."""
        tasks = [task for _, task in self._texts(("benchmarks", "tasks"))]
        own = self._value(("benchmarks", "own"), None)
        for name, folder in own.items() if isinstance(own, dict) else ():
            path = ("benchmarks", "own", name)
            if name not in tasks:
                self._note(path, f"'{shown(str(name))}' is not among benchmarks.tasks; add it there or remove it here")
            elif isinstance(folder, str) and not (self.root / Path(folder).expanduser()).is_dir():
                self._note(path, f"there is no folder '{shown(folder)}' in {self.root.absolute()}")

    def executor(self) -> None:
        """Somewhere to run."""
        for path, name in self._texts(("execute", "executor")):
            self._known(path, name, EXECUTORS)

    def prices(self) -> None:
        """A hosted price belongs to a method, and a limit on costs needs a price."""
        methods = self._value(("methods",), None)
        hosted = self._value(("prices", "hosted"), None)
        self._limit_on_costs(methods, hosted)
        if not isinstance(methods, dict) or not isinstance(hosted, dict):
            return
        for name in hosted:
            if name not in methods:
                known = ", ".join(map(str, methods))
                near = suggest(str(name), list(map(str, methods)))
                self._note(("prices", "hosted", name), f"no method '{shown(str(name))}'{near} (there are: {known})")

    def _limit_on_costs(self, methods: Any, hosted: Any) -> None:
        path = ("decision", "max_cost_per_1k")
        if self._value(path, None) is None or self._value(("prices", "machine_hour"), None) is not None:
            return
        priced = hosted if isinstance(hosted, dict) else {}
        without = [str(name) for name in methods if name not in priced] if isinstance(methods, dict) else []
        if without:
            names = ", ".join(shown(name) for name in without)
            self._note(path, f"needs a price for {names}: prices.machine_hour, or prices.hosted for each method")

    def searches(self) -> None:
        """What a search must keep to is a metric of the task or a cost."""
        methods = self._value(("methods",), None)
        metrics = self._value(("task", "metrics"), None)
        kind = self._value(("task", "type"), None)
        given = (
            metrics
            if isinstance(metrics, list)
            else {str(type_): keys for type_, keys in DEFAULT_METRICS.items()}.get(str(kind), ())
        )
        known = [*_metric_keys(given), *OBJECTIVES]
        for name in methods if isinstance(methods, dict) else {}:
            for path, text in self._texts(("methods", name, "search", "objectives")):
                self._needs_benchmarks(path, text)
            if self._value(("methods", name, "search", "budget_usd"), None) is not None and (
                self._value(("prices", "machine_hour"), None) is None
            ):
                message = "a budget in money needs what an hour of the machine costs; set prices.machine_hour"
                self._note(("methods", name, "search", "budget_usd"), message)
            for path, text in self._texts(("methods", name, "search", "constraints")):
                limit = parse_constraint(text)
                self._needs_benchmarks(path, "" if limit is None else limit.name)
                if limit is not None and limit.name not in known:
                    near = suggest(limit.name, known)
                    self._note(path, f"no metric '{shown(limit.name)}'{near} (there are: {', '.join(known)})")

    def _needs_benchmarks(self, path: KeyPath, name: str) -> None:
        if name == FORGETTING and not self._value(("benchmarks", "tasks"), None):
            self._note(path, "forgetting is measured on benchmarks, and this spec names none; set benchmarks.tasks")

    def course(self) -> None:
        """Points of a training are there to ask benchmarks at."""
        if self._value(("benchmarks", "at"), None) and not self._value(("benchmarks", "tasks"), None):
            self._note(("benchmarks", "at"), "points of a training need benchmarks to ask there; set benchmarks.tasks")

    def race(self) -> None:
        """Leading arms get more seeds than they have."""
        race = self._value(("seeds",), None)
        if not isinstance(race, dict):
            return
        self.distinct(("seeds", "first"), "seed")
        given = {name: race.get(name, SeedRace.model_fields[name].get_default()) for name in ("count", "first")}
        count, first = given["count"], given["first"]
        if isinstance(count, int) and isinstance(first, list) and 2 <= count <= len(first):
            self._note(("seeds",), f"expected a count above the {len(first)} first seeds, found {count}")

    def forgetting(self) -> None:
        """Every key of the mapping is a benchmark of this spec, one of its measures, a group, or `default`."""
        limits = self._value(("decision", "max_forgetting"), None)
        tasks = self._value(("benchmarks", "tasks"), None)
        named = [str(task) for task in tasks] if isinstance(tasks, list) else []
        measures = [name for task in named for each in MEASURES.get(task, ()) if (name := each.name(task)) not in named]
        known = ["default", *get_args(BenchmarkGroup), *named, *measures]
        for key in limits if isinstance(limits, dict) else {}:
            if key not in known:
                message = f"expected a benchmark of this spec, a group or 'default', found '{shown(str(key))}'"
                near = suggest(str(key), known) or f" (there are: {', '.join(known)})"
                self._note(("decision", "max_forgetting", key), f"{message}{near}")

    def distinct(self, path: KeyPath, what: str) -> None:
        """Every entry of a list once."""
        values = self._value(path, None)
        seen: list[Any] = []
        for index, value in enumerate(values if isinstance(values, list) else []):
            if value in seen:
                named = f", found {shown(repr(value))} again" if isinstance(value, (str, int)) else ""
                self._note((*path, index), f"expected each {what} once{named}")
            seen.append(value)

    def _value(self, path: KeyPath, default: Any) -> Any:
        node = self.tree.find(path)
        return default if node is None else node.plain()

    def _texts(self, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
        """The text at a path, or every text in the list there."""
        node = self.tree.find(path)
        if node is None:
            return
        if isinstance(node.content, str):
            yield path, node.content
        elif isinstance(node.content, list):
            for index, item in enumerate(node.content):
                if isinstance(item.content, str):
                    yield (*path, index), item.content

    def _note(self, path: KeyPath, message: str) -> None:
        self.problems.append(self.tree.place_of(path).problem(path, message))

    def _known(self, path: KeyPath, name: str, registry: Registry) -> None:
        known = registry.names()
        if name not in known:
            message = f"unknown {registry.kind} '{shown(name)}'{suggest(name, known)} (known: {', '.join(known)})"
            self._note(path, message)

    def _model(self, path: KeyPath, source: str) -> None:
        if not source.strip():
            self._note(path, "expected a model, found empty text")
        elif source.startswith("builtin:"):
            self._known(path, source.removeprefix("builtin:"), MODELS)
        elif is_folder(source):
            self._exists(path, source, folder=True)

    def _file(self, path: KeyPath, name: str) -> None:
        if name.lower().endswith(DATA_ENDINGS):
            self._exists(path, name, folder=False)
        else:
            endings = ", ".join(DATA_ENDINGS)
            self._note(path, f"expected a file that ends in one of {endings}, found '{shown(name, 200)}'")

    def _exists(self, path: KeyPath, name: str, folder: bool) -> None:
        kind, other = ("folder", "file") if folder else ("file", "folder")
        try:
            target = self.root / Path(name).expanduser()
            exists, is_directory = target.exists(), target.is_dir()
        except (OSError, RuntimeError) as error:
            self._note(path, f"cannot look for the {kind} '{shown(name, 200)}': {shown(str(error), 200)}")
            return
        if not exists:
            start = self.root.absolute()
            self._note(path, f"no such {kind}: '{shown(name, 200)}' (relative names start from {start})")
        elif is_directory != folder:
            self._note(path, f"expected a {kind}, found a {other}: '{shown(name, 200)}'")
