"""Scores of examples and of benchmark items as aligned arrays, straight from the ledger.

Rows are ordered by example (or document) id, never by the order of arrival, so that a ledger and its rebuild give the
same arrays and therefore the same intervals to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ftlab.data.groups import group_names
from ftlab.decide.facts import ArmFacts
from ftlab.evaluate.metrics.base import EXAMPLE, Answer
from ftlab.spec.measures import MEASURES, Measure
from ftlab.statistics.clusters import cluster_numbers
from ftlab.text import SHARE

Floats = NDArray[np.float64]
Clusters = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Blocks:
    """What examples, or the models that answer them, share: then they are not independent."""

    clusters: Clusters | None = None
    """The group that each example belongs to, `(examples,)`, where the spec names groups."""
    folds: Clusters | None = None
    """The fold whose model answered each, `(examples,)`, -1 for none; where folds share the examples out."""
    models: int | None = None
    """How many folds there are, where every fold's model answers every example: these are trained on much the same."""

    def of(self, chosen: Mask) -> Blocks:
        """The same for some of the examples."""
        clusters, folds = (None if part is None else part[chosen] for part in (self.clusters, self.folds))
        return Blocks(clusters, folds, self.models)


INDEPENDENT = Blocks()


def example_scores(cursor: duckdb.DuckDBPyConnection, keys: Sequence[str], metric: str) -> dict[str, Floats]:
    """The scores of one metric by scores key: arrays of one length, NaN where an example has no score.

    Empty when the metric has no per-example score at all (macro F1).
    """
    cursor.execute(
        "SELECT key, (dense_rank() OVER (ORDER BY example_id) - 1)::BIGINT AS row, score FROM scores "
        "WHERE metric = ? AND score IS NOT NULL AND key IN (SELECT unnest(?))",
        [metric, list(keys)],
    )
    return _by_key(cursor.fetchnumpy(), keys)


def example_clusters(
    cursor: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    metric: str,
    datasets: Sequence[str],
    split: str,
    column: str,
) -> Clusters:
    """The number of each example's group by a column of its row, aligned with `example_scores` of the same keys."""
    rows = cursor.execute(
        "SELECT DISTINCT s.example_id, e.fields_json FROM scores s JOIN examples e USING (example_id) "
        "WHERE s.metric = ? AND s.score IS NOT NULL AND s.key IN (SELECT unnest(?)) "
        "AND e.dataset_key IN (SELECT unnest(?)) AND e.split = ? ORDER BY s.example_id",
        [metric, list(keys), list(datasets), split],
    ).fetchall()
    return _numbered(rows, column)


def judged_clusters(
    cursor: duckdb.DuckDBPyConnection, keys: Sequence[str], datasets: Sequence[str], split: str, column: str
) -> Clusters:
    """The same for the examples that a judge compared."""
    rows = cursor.execute(
        "SELECT DISTINCT s.example_id, e.fields_json FROM judge_scores s JOIN examples e USING (example_id) "
        "WHERE s.key IN (SELECT unnest(?)) AND e.dataset_key IN (SELECT unnest(?)) AND e.split = ? "
        "ORDER BY s.example_id",
        [list(keys), list(datasets), split],
    ).fetchall()
    return _numbered(rows, column)


def _numbered(rows: Sequence[tuple[str, str]], column: str) -> Clusters:
    names = group_names([json.loads(fields) for _, fields in rows], [example_id for example_id, _ in rows], column)
    return cluster_numbers(names)


def item_scores(cursor: duckdb.DuckDBPyConnection, keys: Sequence[str], metric: str) -> dict[str, Floats]:
    """The scores of benchmark items by benchmark key, aligned by the hash of the document."""
    cursor.execute(
        "SELECT key, (dense_rank() OVER (ORDER BY doc_hash) - 1)::BIGINT AS row, any_value(score) AS score "
        "FROM bench_items WHERE metric = ? AND score IS NOT NULL AND key IN (SELECT unnest(?)) GROUP BY key, doc_hash",
        [metric, list(keys)],
    )
    return _by_key(cursor.fetchnumpy(), keys)


def item_measures(cursor: duckdb.DuckDBPyConnection, task: str, key: str) -> tuple[Measure, ...]:
    """What is compared on a benchmark that was measured under `key`; empty without scores of single items."""
    metric = item_metric(cursor, key)
    if task in MEASURES or metric is None:
        return MEASURES.get(task, ())
    row = cursor.execute(
        "SELECT any_value(summary_json) FROM stages WHERE kind = 'benchmark' AND key = ?", [key]
    ).fetchone()
    figures = (json.loads(row[0]) if row and row[0] else {}).get("metrics", {}).get(metric) or {}
    return (Measure(metric, unit=figures.get("unit", SHARE), direction=figures.get("direction", "higher")),)


def item_metric(cursor: duckdb.DuckDBPyConnection, key: str) -> str | None:
    """The primary metric of a benchmark: acc_norm where it has one, else acc, else the first by name."""
    rows = cursor.execute("SELECT DISTINCT metric FROM bench_items WHERE key = ? ORDER BY metric", [key]).fetchall()
    names = [row[0] for row in rows]
    return next((name for name in ("acc_norm", "acc") if name in names), names[0] if names else None)


def answers(
    cursor: duckdb.DuckDBPyConnection, scores_key: str, dataset_key: str, split: str, metric: str, nats: bool = False
) -> dict[str, Answer]:
    """What a corpus metric is computed from, by example id in the order of the ids.

    The outputs are those that the scores were computed from; empty where the ledger does not hold them. With `nats` the
    metric's scores of single examples are how likely the targets are.
    """
    rows = cursor.execute(
        "SELECT s.example_id, coalesce(p.output, ''), s.parsed, e.target, x.score "
        "FROM scores s JOIN examples e ON e.example_id = s.example_id "
        "LEFT JOIN predictions p ON p.example_id = s.example_id AND p.key = ("
        "SELECT any_value(made.key) FROM run_stages scored JOIN run_stages made USING (run_id, name) "
        "WHERE scored.kind = 'scores' AND scored.key = $key AND made.kind = 'predictions') "
        "LEFT JOIN scores x ON x.example_id = s.example_id AND x.key = s.key AND x.metric = $metric || $example "
        "WHERE s.key = $key AND s.metric = $metric AND e.dataset_key = $dataset AND e.split = $split "
        "ORDER BY s.example_id",
        {"key": scores_key, "metric": metric, "dataset": dataset_key, "split": split, "example": EXAMPLE},
    ).fetchall()
    return {row[0]: Answer(row[0], row[1], row[2], row[3], target_nats=row[4] if nats else None) for row in rows}


def labels(cursor: duckdb.DuckDBPyConnection, dataset_key: str) -> list[str]:
    """Every target of a data set, over all splits, sorted."""
    rows = cursor.execute(
        "SELECT DISTINCT target FROM examples WHERE dataset_key = ? ORDER BY target", [dataset_key]
    ).fetchall()
    return [row[0] for row in rows]


def seed_rows(arm: ArmFacts, kind: str, name: str, scores: dict[str, Floats]) -> Floats | None:
    """An arm's scores, shape (seeds, examples); NaN where a seed lacks an example's. None without scores.

    Folds of one seed share out the examples of validation and are one row. Seeds that share their answers (a prompt
    that draws nothing, decoded greedily) are one row.
    """
    rows = [[scores[key] for key in keys if key in scores] for keys in arm.key_rows(kind, name)]
    merged = [_merged(parts) for parts in rows if parts]
    return np.stack(merged) if merged else None


def _merged(parts: Sequence[Floats]) -> Floats:
    """The scores of several runs, none of which has an example that another has."""
    row = parts[0]
    for part in parts[1:]:
        row = np.where(np.isnan(row), part, row)
    return row


def fold_numbers(arm: ArmFacts, kind: str, name: str, scores: dict[str, Floats]) -> Clusters | None:
    """By which of several models each example was scored, `(examples,)`; -1 for none. None where one scored all."""
    keys = next((keys for keys in arm.key_rows(kind, name) if len(keys) > 1), ())
    parts = [scores[key] for key in keys if key in scores]
    if len(parts) < 2:
        return None
    numbers = np.full(parts[0].shape, -1, dtype=np.int64)
    for number, part in enumerate(parts):
        numbers[np.isfinite(part)] = number
    return numbers


def _by_key(columns: dict[str, Any], keys: Sequence[str]) -> dict[str, Floats]:
    rows = np.asarray(columns["row"], dtype=np.int64)
    if not rows.size:
        return {}
    owners = np.asarray(columns["key"])
    values = np.asarray(columns["score"], dtype=np.float64)
    found: dict[str, Floats] = {}
    for key in keys:
        mine = owners == key
        if mine.any():
            found[key] = np.full(int(rows.max()) + 1, np.nan)
            found[key][rows[mine]] = values[mine]
    return found
