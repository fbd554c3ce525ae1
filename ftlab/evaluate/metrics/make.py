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
    if is_function(entry.name):
        return UserMetric(UserMetricOptions.model_validate(entry.options), entry.name, root)
    found = METRICS.load(entry.name)
    return found(found.Options.model_validate(entry.options))


def metric_definitions(metrics: Iterable[GivenMetric], root: Path) -> dict[str, Any]:
    """What each metric's values depend on besides outputs and targets, by key: the identity of scores needs it.

    A metric without options is its version, so that it keeps its identity when it learns an option.
    """
    definitions: dict[str, Any] = {}
    for entry in map(metric_entry, metrics):
        if is_function(entry.name):
            function = find_function(entry.name, root)
            if function.wrong is not None:
                raise UsageError(f"task.metrics: '{entry.name}': {function.wrong}")
            known = {"metric": entry.name, "source": function.sha256, "options": entry.options}
            definitions[entry.key] = {**known, "version": UserMetric.version}
            continue
        found = METRICS.load(entry.name)
        version = str(found.version)
        if entry.key == entry.name and not entry.options:
            definitions[entry.key] = version
        else:
            definitions[entry.key] = {"metric": entry.name, "version": version, "options": entry.options}
    return definitions
