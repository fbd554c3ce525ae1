"""What an lm-eval run leaves behind, as plain rows: items with their log-likelihoods, metrics with their intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ftlab.statistics.intervals import bootstrap_mean, wilson
from ftlab.text import SHARE

Item = dict[str, Any]
"""One row of items.parquet: doc_hash, doc_id, metric, score, logliks, target, choice, question, choices."""
MOST_CHARACTERS = 4_000
"""Of a question or a choice that is kept to be shown."""
SEED = 0
"""Intervals of equal scores are equal."""
PREFERRED = ("acc_norm", "acc", "exact_match", "f1", "mcc", "bleu", "rougeL")
"""What stands for a task of lm-eval's registry, the first of these that it has; else its first metric."""
CHOSEN_BY: dict[str, Callable[[str], float]] = {
    "acc": lambda text: 1.0,
    "acc_norm": len,
    "acc_bytes": lambda text: len(text.encode()),
}
"""What a choice's log-likelihood is divided by before the largest wins, as in lm-eval."""


def read_items(tasks: dict[str, Any], samples: dict[str, list[dict[str, Any]]]) -> Iterator[Item]:
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
                    "question": _question(tasks[name], row),
                    "choices": json.dumps([text[:MOST_CHARACTERS] for text in texts]) if texts else None,
                }


def _logliks(row: dict[str, Any]) -> list[float]:
    """The log-likelihood of every choice; empty for a task that generates."""
    answers = row["filtered_resps"]
    return [float(answer[0]) for answer in answers if isinstance(answer, (tuple, list)) and len(answer) == 2]


def _choice_texts(task: Any, row: dict[str, Any]) -> list[str]:
    return list(task.doc_to_choice(row["doc"])) if task.get_config("doc_to_choice") is not None else []


def _question(task: Any, row: dict[str, Any]) -> str | None:
    """What an item asks, without the examples before it; None for a task that does not say."""
    try:
        asked = task.doc_to_text(row["doc"])
    except Exception:  # a task's own template or code: what is only to be shown must not end a run
        return None
    return asked[:MOST_CHARACTERS] if isinstance(asked, str) else None


def _choice(metric: str, logliks: list[float], texts: list[str]) -> int | None:
    """The index of the choice that a metric takes the model to have made."""
    size = CHOSEN_BY.get(metric)
    if size is None or len(texts) != len(logliks) or not logliks:
        return None
    return max(range(len(logliks)), key=lambda index: logliks[index] / (size(texts[index]) or 1))


def chance_of(items: Sequence[Item]) -> float | None:
    """The accuracy of guessing, 0 to 1, by the number of each item's choices; None unless all items are choices."""
    sizes = {
        (item["doc_hash"], item["doc_id"]): len(json.loads(item["logliks"])) if item["choice"] is not None else 0
        for item in items
        if item["metric"] in CHOSEN_BY
    }
    if not sizes or 0 in sizes.values():
        return None
    return sum(1 / size for size in sizes.values()) / len(sizes)


def summarize(name: str, tasks: dict[str, Any], results: dict[str, Any], items: Sequence[Item]) -> dict[str, Any]:
    """The metrics of a task or group with their intervals, and how many items they rest on.

    `name` is lm-eval's name of the task. Metrics come in lm-eval's order.
    """
    scores: dict[str, list[float]] = {}
    for item in items:
        scores.setdefault(item["metric"], []).append(item["score"])
    top = _top(name, tasks, results)
    better = _better(name, tasks, results)
    metrics = {
        metric: _metric_row(top, metric, scores.get(metric, []))
        | _kind(scores.get(metric, []), better.get(metric, True))
        for metric in _metric_names(top)
    }
    return {
        "metrics": metrics,
        "primary": next((metric for metric in PREFERRED if metric in metrics), next(iter(metrics), None)),
        "samples": len({(item["doc_hash"], item["doc_id"]) for item in items}),
    }


def _top(name: str, tasks: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's numbers of the task, of the group, or of the only task there is."""
    if name in results["results"]:
        return results["results"][name]
    return results["results"][next(iter(tasks["tasks"]))]


def _better(name: str, tasks: dict[str, Any], results: dict[str, Any]) -> dict[str, bool]:
    """Whether higher is better, by metric, as far as lm-eval says so."""
    said = results.get("higher_is_better", {})
    return said.get(name) or said.get(next(iter(tasks["tasks"]), ""), {}) or {}


def _kind(scores: Sequence[float], higher: bool | None) -> dict[str, str]:
    """The unit and direction of a metric: a share where every item's score is one, from 0 to 1."""
    share = bool(scores) and all(0.0 <= score <= 1.0 for score in scores)
    return {"unit": SHARE if share else "score", "direction": "lower" if higher is False else "higher"}


def _metric_names(top: dict[str, Any]) -> list[str]:
    """Metric names in lm-eval's order, each with its first filter alone: its keys are `metric,filter`."""
    names = [key.split(",")[0] for key, value in top.items() if "," in key and isinstance(value, (int, float))]
    return [name for name in dict.fromkeys(names) if not name.endswith("_stderr")]


def _metric_row(top: dict[str, Any], name: str, scores: list[float]) -> dict[str, Any]:
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


def finite(value: Any) -> Any:
    """Plain data with None for what JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_items(items: Sequence[Item], path: Path) -> None:
    """Write items.parquet."""
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
            ("question", pa.string()),
            ("choices", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(list(items), schema=schema), path)
