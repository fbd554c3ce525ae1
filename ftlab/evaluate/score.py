"""Scores of stored predictions: no model and no torch, so a corrected metric rescores everything in a moment."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.errors import DataError, FtlabError
from ftlab.evaluate.metrics.base import EXAMPLE, Answer, Metric
from ftlab.evaluate.metrics.classification import confusion, per_class
from ftlab.evaluate.metrics.make import make_metric
from ftlab.evaluate.metrics.parsing import LabelParser
from ftlab.spec.metrics import metric_entry
from ftlab.spec.schema import TaskSpec

if TYPE_CHECKING:
    from ftlab.data.dataset import Dataset
    from ftlab.statistics.intervals import Interval

BOOTSTRAP_SEED = 0
"""Intervals of equal scores are equal, whatever seed a run was trained with."""

MetricRow = dict[str, Any]
"""{key, value, low, high, n, unit, direction, interval}: one row of a `metrics` event."""


def score(
    dataset: Dataset, predictions: Path, task: TaskSpec, out: Path, root: Path = Path(), cluster_by: str | None = None
) -> tuple[dict[str, Any], list[MetricRow]]:
    """Score `predictions/predictions.parquet` and write scores.parquet, metrics.json, details.json and summary.json.

    Returns the summary and the metric rows: the task's metrics in their order, then, for classification, precision and
    recall of every label. Files that metrics name start from `root`. With `cluster_by` intervals of means count its
    groups of examples as independent, not the examples; those of other metrics say that they do not. Raises DataError
    when a prediction belongs to no example of the data set, and what metrics raise.
    """
    answers = read_answers(dataset, predictions)
    entries = [metric_entry(given) for given in task.metrics]
    metrics = {entry.key: make_metric(entry, root) for entry in entries}
    labelled = task.type == "classification"
    scores = [row for key, metric in metrics.items() for row in _score_rows(key, metric, answers, labelled)]
    rows = [_row(key, metric, answers, dataset.labels, cluster_by) for key, metric in metrics.items()]
    details: dict[str, Any] = {}
    if labelled:
        classes = per_class(answers, dataset.labels)
        for label, figures in classes.items():
            rows += _class_rows(label, figures)
        details = {"confusion": confusion(answers, dataset.labels), "per_class": _public(classes)}
    summary = {"metrics": {row["key"]: row["value"] for row in rows[: len(metrics)]}}
    _write_scores(out / "scores.parquet", scores)
    for name, content in (("metrics.json", rows), ("details.json", details), ("summary.json", summary)):
        (out / name).write_text(json.dumps(content, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return summary, rows


def read_answers(dataset: Dataset, predictions: Path) -> list[Answer]:
    """Stored predictions with the label they were read as, in their stored order. Raises DataError for an unknown
    example."""
    import pyarrow.parquet as pq

    examples = {example.example_id: example for split in dataset.splits.values() for example in split}
    parse = LabelParser(dataset.labels)
    path = predictions / "predictions.parquet"
    wanted = ("example_id", "output", "target_logprob", "target_tokens")
    stored = set(pq.read_schema(path).names)
    answers = []
    for row in pq.read_table(path, columns=[name for name in wanted if name in stored]).to_pylist():
        example_id, output, tokens = row["example_id"], row["output"], row.get("target_tokens")
        example = examples.get(example_id)
        if example is None:
            raise DataError(f"{predictions}: example {example_id} is not in the data set; predict again")
        # A sum of logarithms may come out a hair above zero.
        nats = max(0.0, -row["target_logprob"] / tokens) if tokens else None
        answers.append(Answer(example_id, output, parse(output), example.target, example.fields, nats))
    return answers


def _row(
    key: str, metric: Metric, answers: Sequence[Answer], labels: Sequence[str], cluster_by: str | None
) -> MetricRow:
    interval = metric.interval(answers, labels, BOOTSTRAP_SEED)
    if cluster_by is not None:
        interval = _clustered(interval, metric, answers, cluster_by)
    return {
        "key": key,
        **_numbers(key, interval),
        "unit": metric.unit,
        "direction": metric.direction,
        "interval": interval.method,
    }


def _clustered(interval: Interval, metric: Metric, answers: Sequence[Answer], cluster_by: str) -> Interval:
    """The interval over groups of examples; never shorter than that over examples."""
    from ftlab.data.groups import group_names
    from ftlab.statistics.clusters import cluster_mean, cluster_numbers

    if metric.corpus:
        return replace(interval, method=f"{interval.method}; groups by {cluster_by} not counted")
    scored = [(answer, score) for answer in answers if (score := metric.score(answer)) is not None]
    if not scored or interval.low is None or interval.high is None:
        return interval
    names = group_names([one.row or {} for one, _ in scored], [one.example_id for one, _ in scored], cluster_by)
    found = cluster_mean([score for _, score in scored], cluster_numbers(names))
    method = f"cluster-robust t over {found.clusters} groups by {cluster_by}; at least {interval.method}"
    if found.clusters < 2:
        return replace(interval, low=None, high=None, method=f"no interval: one group by {cluster_by}")
    if found.low is None or found.high is None:
        return replace(interval, method=method)
    ends = (min(interval.low, found.low), max(interval.high, found.high))
    if metric.unit == "share":
        ends = (max(0.0, ends[0]), min(1.0, ends[1]))
    return replace(interval, low=ends[0], high=ends[1], method=method)


def _numbers(name: str, interval: Interval) -> dict[str, float | int | None]:
    numbers = {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
    if any(number is not None and not math.isfinite(number) for number in numbers.values()):
        raise FtlabError(f"metric '{name}' gave {numbers}; a metric gives finite numbers, or None where there is none")
    return numbers


def _class_rows(label: str, figures: dict[str, Any]) -> list[MetricRow]:
    from ftlab.statistics.intervals import wilson

    rows = []
    for name, n in (("precision", figures["outputs"]), ("recall", figures["support"])):
        interval = wilson(figures["hits"], n)
        rows.append(
            {
                "key": f"{name}/{label}",
                **_numbers(name, interval),
                "unit": "share",
                "direction": "higher",
                "interval": interval.method,
            }
        )
    return rows


def _public(classes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        label: {key: row[key] for key in ("precision", "recall", "f1", "support")} for label, row in classes.items()
    }


def _score_rows(key: str, metric: Metric, answers: Sequence[Answer], labelled: bool) -> list[dict[str, Any]]:
    """Rows of scores.parquet. In a task of labels every metric's row tells the label, whatever the metric reads."""
    rows, examples = [], []
    for answer in answers:
        score = metric.score(answer)
        if score is not None and not math.isfinite(score):
            raise FtlabError(
                f"metric '{key}' gave {score} for example {answer.example_id}; "
                "a metric gives a finite number, or None where there is none"
            )
        known = {"example_id": answer.example_id, "parsed": answer.parsed if labelled else metric.read(answer)}
        rows.append({**known, "metric": key, "score": None if metric.corpus else score})
        if metric.corpus and score is not None:
            examples.append({**known, "metric": key + EXAMPLE, "score": score})
    return rows + examples


def _write_scores(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("example_id", pa.string()), ("metric", pa.string()), ("score", pa.float64()), ("parsed", pa.string())]
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
