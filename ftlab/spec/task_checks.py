"""Checks of a task and of what decides it: metrics that exist, fit the type of the task, and have options that fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftlab.catalog import METRICS, load_target, suggest
from ftlab.errors import FtlabError, Problem, first_line
from ftlab.spec.functions import find_function
from ftlab.spec.judge import JUDGE
from ftlab.spec.metrics import DEFAULT_METRICS, RENAME, MetricEntry, is_function, metric_entry
from ftlab.spec.problems import problems_from
from ftlab.spec.scalars import shown
from ftlab.spec.schema import DecisionSpec, default_decision_metric
from ftlab.spec.tree import Node

KeyPath = tuple[str | int, ...]

USER_METRIC = "ftlab.evaluate.metrics.user:UserMetric"
"""What a function of the user's own becomes."""

_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class TaskChecker:
    """Adds what is wrong with `task:` and `decision:` to `problems`. Relative file names start from `root`."""

    def __init__(self, tree: Node, root: Path, problems: list[Problem]) -> None:
        self.tree = tree
        self.root = root
        self.problems = problems
        kind = self._value(("task", "type"))
        self.type: str | None = kind if isinstance(kind, str) and kind in DEFAULT_METRICS else None

    def task(self) -> None:
        """Labels, decoding and metrics."""
        self._labels()
        self._decode()
        for path, count in self._crowded():
            self._note(
                path, f"expected one metric with its options, such as {{regex: {{pattern: ...}}}}, found {count}"
            )
        known: dict[str, MetricEntry] = {}
        for path, entry in self._metrics():
            if entry.key in known:
                self._note(
                    path,
                    f"expected each metric once, found '{shown(entry.key)}' again; "
                    f"give one of them another name: {{{shown(entry.name)}: {{{RENAME}: ...}}}}",
                )
            elif not entry.key or not set(entry.key) <= _KEY_CHARACTERS or len(entry.key) > 64:
                message = "expected a name of letters, digits, -, _ and . (at most 64), found"
                self._note((*path, entry.name, RENAME), f"{message} '{shown(entry.key)}'")
            elif entry.key == JUDGE and self._value((JUDGE,)) is not None:
                self._note(path, f"'{JUDGE}' is what the score of `judge:` is called; give this metric another name")
            known.setdefault(entry.key, entry)
            self._metric(path, entry)

    def decision(self) -> None:
        """The metric that decides, and the gate on the form of answers."""
        given = self._value(("decision", "metric"))
        entries = self._known_entries()
        if entries is None or (given is None and self.type is None):
            return
        metrics = list(entries)
        default = default_decision_metric(self.tree.plain()) or DecisionSpec.model_fields["metric"].default
        metric = default if given is None else given
        if metric == JUDGE and self._value((JUDGE,)) is not None:
            self._judge_decides(entries)
            return
        where: KeyPath = ("decision", "metric") if given else ("task", "metrics")
        if isinstance(metric, str) and metric not in metrics:
            near = suggest(metric, metrics) or f" (there are: {', '.join(metrics)})"
            message = (
                f"expected one of the task's metrics, found '{shown(metric)}'{'' if given else ' by default'}{near}"
            )
            self._say(where, ("decision", "metric"), message)
        elif isinstance(metric, str) and getattr(self._class(entries[metric]), "direction", None) == "none":
            message = (
                f"expected a metric that says which output is better; '{shown(metric)}' only describes outputs; "
                "name another in decision.metric"
            )
            self._say(where, ("decision", "metric"), message)
        if self._value(("decision", "min_valid_format")) is not None and "valid_format" not in metrics:
            mend = ""
            if self.type == "extraction":
                mend = f"; for JSON, name one so: {{valid_json: {{{RENAME}: valid_format}}}}"
            elif self.type == "generation":
                mend = f"; for free text, name one so: {{regex: {{pattern: ..., {RENAME}: valid_format}}}}"
            self._note(("decision", "min_valid_format"), f"needs the metric 'valid_format' in task.metrics{mend}")

    def _judge_decides(self, entries: dict[str, MetricEntry]) -> None:
        """The judge compares with the best prompt, so another metric must tell which that is."""
        if all(getattr(self._class(entry), "direction", None) == "none" for entry in entries.values()):
            message = "compares with the best prompt; add a metric to task.metrics that tells which prompt is the best"
            self._note(("decision", "metric"), f"the judge {message}")

    def _labels(self) -> None:
        labels = self.tree.find(("task", "labels"))
        if labels is None:
            return
        if self.type not in (None, "classification") and labels.content is not None:
            self._say(("task", "labels"), ("task", "labels"), f"a task of type {self.type} has no labels; remove them")
            return
        texts = [item.content for item in labels.content] if isinstance(labels.content, list) else []
        if len(texts) == 1:
            self._note(("task", "labels"), "expected at least 2 labels, found 1")
        for index, label in enumerate(texts):
            if isinstance(label, str) and not label.strip():
                self._note(("task", "labels", index), "expected a label, found empty text")

    def _decode(self) -> None:
        if self.type in (None, "classification"):
            return
        for path in [("task", "decode"), *self._method_paths("decode")]:
            node = self.tree.find(path)
            if node is not None and node.content == "choose":
                self._note(path, f"'choose' ranks labels, and a task of type {self.type} has none; expected 'generate'")
        stratify = ("data", "splits", "stratify")
        if self._value(stratify) is True:
            self._note(stratify, f"keeps the shares of labels, and a task of type {self.type} has none; leave it out")

    def _method_paths(self, field: str) -> Iterator[KeyPath]:
        """Every place where a method gives `field` a value: by itself, in a range, in a variant."""
        methods = self.tree.find(("methods",))
        for name in methods.content if methods is not None and isinstance(methods.content, dict) else ():
            variants = self.tree.find(("methods", name, "variants"))
            count = len(variants.content) if variants is not None and isinstance(variants.content, list) else 0
            for start in [("methods", name), *(("methods", name, "variants", index) for index in range(count))]:
                yield (*start, field)
                for kind in ("grid", "choice"):
                    values = self.tree.find((*start, field, kind))
                    if values is not None and isinstance(values.content, list):
                        yield from ((*start, field, kind, index) for index in range(len(values.content)))

    def _metrics(self) -> Iterator[tuple[KeyPath, MetricEntry]]:
        """Every entry of `task.metrics` that has the right form; the schema has reported the others."""
        metrics = self.tree.find(("task", "metrics"))
        items = metrics.content if metrics is not None and isinstance(metrics.content, list) else []
        for index, item in enumerate(items):
            path: KeyPath = ("task", "metrics", index)
            if isinstance(item.content, str):
                yield path, metric_entry(item.content)
            elif isinstance(item.content, dict):
                given = item.plain()
                if len(given) == 1 and all(isinstance(options, dict) for options in given.values()):
                    yield path, metric_entry(given)

    def _crowded(self) -> Iterator[tuple[KeyPath, int]]:
        """Entries of `task.metrics` that name no metric or several."""
        metrics = self.tree.find(("task", "metrics"))
        items = metrics.content if metrics is not None and isinstance(metrics.content, list) else []
        for index, item in enumerate(items):
            if isinstance(item.content, dict) and len(item.content) != 1:
                yield ("task", "metrics", index), len(item.content)

    def _known_entries(self) -> dict[str, MetricEntry] | None:
        """The task's metrics by key, given or by default; None when one of them is in error."""
        metrics = self.tree.find(("task", "metrics"))
        if metrics is None:
            return {name: metric_entry(name) for name in DEFAULT_METRICS[self.type]} if self.type else None  # type: ignore[index]
        entries = [entry for _, entry in self._metrics()]
        if not isinstance(metrics.content, list) or len(entries) != len(metrics.content):
            return None
        if not all(is_function(entry.name) or entry.name in METRICS.names() for entry in entries):
            return None
        return {entry.key: entry for entry in entries}

    def _metric(self, path: KeyPath, entry: MetricEntry) -> None:
        found = self._class(entry, path)
        if found is None:
            return
        tasks = getattr(found, "tasks", None)
        if self.type is not None and tasks is not None and self.type not in tasks:
            names = METRICS.names()
            fit = [name for name in names if self.type in getattr(self._class(MetricEntry(name, name)), "tasks", ())]
            self._note(
                path,
                f"'{shown(entry.name)}' is a metric for {' and '.join(sorted(tasks))}, and this task is of type "
                f"{self.type} (known: {', '.join(fit)})",
            )
            return
        options = getattr(found, "Options", None)
        if options is None:
            return
        at = (*path, entry.name)
        try:
            checked = options.model_validate_json(json.dumps(entry.options), strict=True)
        except ValidationError as error:
            prefix = at if self.tree.find(at) is not None else path
            self.problems.extend(problems_from(error, self.tree, prefix, options))
            return
        check = getattr(found, "check", None)
        wrong = check(checked, self.root) if check is not None else None
        if wrong is not None:
            field, message = wrong
            self._note((*at, field), message)

    def _class(self, entry: MetricEntry, path: KeyPath | None = None) -> Any:
        """The class behind an entry, or None, noted at `path` when there is one."""
        if is_function(entry.name):
            wrong = find_function(entry.name, self.root).wrong
            if wrong is not None:
                if path is not None:
                    self._note(path, wrong)
                return None
            return load_target(USER_METRIC)
        known = METRICS.names()
        if entry.name not in known:
            if path is not None:
                near = suggest(entry.name, known)
                self._note(path, f"unknown metric '{shown(entry.name)}'{near} (known: {', '.join(known)})")
            return None
        try:
            found = METRICS.load(entry.name)
            return found if isinstance(found, type) else load_target(USER_METRIC)
        except (ImportError, AttributeError, FtlabError) as error:
            if path is not None:
                target = METRICS.target(entry.name)
                message = f"the metric '{entry.name}' cannot be loaded from {target}: {shown(first_line(error), 200)}"
                self._note(path, message)
            return None

    def _value(self, path: KeyPath) -> Any:
        node = self.tree.find(path)
        return None if node is None else node.plain()

    def _note(self, path: KeyPath, message: str) -> None:
        self._say(path, path, message)

    def _say(self, where: KeyPath, path: KeyPath, message: str) -> None:
        self.problems.append(self.tree.place_of(where).problem(path, message))
