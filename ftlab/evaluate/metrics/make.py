"""From entries of a spec to metrics, and to what identifies them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ftlab.catalog import METRICS
from ftlab.errors import UsageError
from ftlab.evaluate.metrics.base import Metric
from ftlab.evaluate.metrics.user import UserMetric, UserMetricOptions
from ftlab.spec.functions import find_function
from ftlab.spec.metrics import GivenMetric, MetricEntry, is_function, metric_entry


def make_metric(given: GivenMetric | MetricEntry, root: Path) -> Metric:
    """The metric of an entry; files it names start from `root`.

    Raises UnknownNameError, UsageError for a function or a file that cannot be used, and ValueError for options that do
    not fit.
    """
    entry = given if isinstance(given, MetricEntry) else metric_entry(given)
    function = function_of(entry)
    if function is not None:
        return UserMetric(UserMetricOptions.model_validate(entry.options), function, root)
    found = METRICS.load(entry.name)
    options = found.Options.model_validate(entry.options)
    return found(options, root) if hasattr(found, "content") else found(options)


def metric_definitions(metrics: Iterable[GivenMetric], root: Path) -> dict[str, Any]:
    """What each metric's values depend on besides outputs and targets, by key: the identity of scores needs it.

    A metric without options is its version, so that it keeps its identity when it learns an option. A function counts
    by its source file, a schema by what its file holds. Raises as `make_metric`.
    """
    return {entry.key: _definition(entry, root) for entry in map(metric_entry, metrics)}


def corpus_metric(entry: MetricEntry) -> Metric | None:
    """The metric of an entry when its value is no mean of scores, and must be compared over all answers; else None.

    Only a metric of means may depend on files, so none is looked for.
    """
    if is_function(entry.name):
        return None
    found = METRICS.load(entry.name)
    return make_metric(entry, Path()) if isinstance(found, type) and found.corpus else None  # type: ignore[attr-defined]


def need_targets(metrics: Iterable[GivenMetric]) -> bool:
    """Whether one of these metrics needs the log-likelihood of the targets, which only the model can give."""
    entries = [entry for entry in map(metric_entry, metrics) if not is_function(entry.name)]
    return any(getattr(METRICS.load(entry.name), "needs_target", False) for entry in entries)


def function_of(entry: MetricEntry) -> str | None:
    """`module:function` for an entry that names one, by itself or through an entry point; None for a metric's class."""
    if is_function(entry.name):
        return entry.name
    return METRICS.target(entry.name) if not isinstance(METRICS.load(entry.name), type) else None


def _definition(entry: MetricEntry, root: Path) -> Any:
    known: dict[str, Any] = {"metric": entry.name, "options": entry.options}
    function = function_of(entry)
    if function is not None:
        source = find_function(function, root)
        if source.wrong is not None:
            raise UsageError(f"task.metrics: '{entry.name}': {source.wrong}")
        return {**known, "version": UserMetric.version, "source": source.sha256}
    found = METRICS.load(entry.name)
    known["version"] = str(found.version)
    if hasattr(found, "content"):
        try:
            return {**known, "content": found.content(found.Options.model_validate(entry.options), root)}
        except ValueError as error:
            raise UsageError(f"task.metrics: '{entry.name}': {error}") from error
    return known["version"] if entry.key == entry.name and not entry.options else known
