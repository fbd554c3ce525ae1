"""Metrics as a spec names them: `accuracy`, or `{regex: {pattern: ...}}` with options, or `module:function`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

TaskType = Literal["classification", "generation", "extraction"]

GivenMetric = str | dict[str, dict[str, Any]]
"""One entry of `task.metrics` as it is written: a name, or a name with its options."""

DEFAULT_METRICS: dict[TaskType, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "valid_format"),
    "generation": ("token_f1", "rougeL", "chrf", "exact_match", "length_ratio", "repetition"),
    "extraction": ("field_f1", "field_precision", "field_recall", "valid_json"),
}
"""What is measured when a task names no metrics. The first one decides, unless `decision.metric` says otherwise."""

RENAME = "as"
"""The option that every metric has: what its values are called, so that one metric can be asked twice."""


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One entry of `task.metrics`, taken apart."""

    key: str
    """What its values are called everywhere: the option `as`, else the name, else the name of the user's function."""
    name: str
    """A name of the catalogue, or `module:function`."""
    options: dict[str, Any] = field(default_factory=dict)
    """The other options, not checked yet."""


def metric_entry(given: GivenMetric) -> MetricEntry:
    """Take an entry apart."""
    if isinstance(given, str):
        return MetricEntry(_plain_key(given), given)
    ((name, options),) = given.items()
    others = {key: value for key, value in options.items() if key != RENAME}
    return MetricEntry(str(options.get(RENAME, _plain_key(name))), name, others)


def metric_keys(metrics: Iterable[GivenMetric]) -> list[str]:
    """What the values of these metrics are called, in their order."""
    return [metric_entry(given).key for given in metrics]


def is_function(name: str) -> bool:
    """Whether a metric's name stands for a function of the user's own."""
    return ":" in name


def _plain_key(name: str) -> str:
    return name.rpartition(":")[2]
