"""Items of a benchmark before and after: which were lost and gained, from the ledger; what each asked, from files.

The ledger holds every item's score. Questions, choices and log-likelihoods stay in the benchmark stage's own file,
which is looked into for the few items that are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from ftlab.execute.stages import StageStore, is_identifier

ItemMode = Literal["lost", "gained", "both_wrong", "all"]

ITEMS_FILE = "items.parquet"
_WHERE: Mapping[ItemMode, str] = {
    "lost": "after.score < before.score",
    "gained": "after.score > before.score",
    "both_wrong": "after.score = 0 AND before.score = 0",
    "all": "TRUE",
}


@dataclass(frozen=True, slots=True)
class ItemPair:
    """One item with both scores."""

    doc_hash: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ItemText:
    """What one model made of one item, as far as its file tells."""

    question: str | None
    choices: tuple[str, ...]
    target: str | None
    choice: int | None
    """The place of the choice that the model made; None for a task without choices."""
    logliks: tuple[float, ...]
    """Nats, one for each choice."""


def benchmark_keys(cursor: duckdb.DuckDBPyConnection, run_id: str, task: str) -> str | None:
    """The key of a run's benchmark stage, if it is complete."""
    row = cursor.execute(
        "SELECT key FROM run_stages WHERE run_id = ? AND kind = 'benchmark' AND name = ? AND state = 'complete'",
        [run_id, task],
    ).fetchone()
    return row[0] if row else None


def base_key(cursor: duckdb.DuckDBPyConnection, experiment_id: str, run_id: str, task: str) -> str | None:
    """The key of the same benchmark on the base weights of the run's model."""
    row = cursor.execute(
        "SELECT s.key FROM run_stages s JOIN runs r USING (run_id) JOIN arms a USING (arm_id) "
        "WHERE r.experiment_id = ? AND s.kind = 'benchmark' AND s.name = ? AND s.state = 'complete' "
        "AND a.family IN ('prompt', 'base') AND (a.model_source, a.model_revision) = ("
        "SELECT (mine.model_source, mine.model_revision) FROM arms mine JOIN runs own ON own.arm_id = mine.arm_id "
        "WHERE own.run_id = ?) ORDER BY s.key LIMIT 1",
        [experiment_id, task, run_id],
    ).fetchone()
    return row[0] if row else None


def count_items(cursor: duckdb.DuckDBPyConnection, before: str, after: str, metric: str) -> dict[ItemMode, int]:
    """How many items each mode has."""
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in _WHERE.values())
    row = cursor.execute(f"SELECT {counts} FROM {_JOINED}", _bound(before, after, metric)).fetchone()
    return dict(zip(_WHERE, row or (0,) * len(_WHERE), strict=True))


def find_items(
    cursor: duckdb.DuckDBPyConnection, before: str, after: str, metric: str, mode: ItemMode, limit: int, offset: int
) -> list[ItemPair]:
    """Items of a mode in the order of the benchmark."""
    rows = cursor.execute(
        f"SELECT before.doc_hash, before.score, after.score FROM {_JOINED} WHERE {_WHERE[mode]} "
        "ORDER BY before.doc_id, before.doc_hash LIMIT $limit OFFSET $offset",
        {**_bound(before, after, metric), "limit": limit, "offset": offset},
    ).fetchall()
    return [ItemPair(*row) for row in rows]


_JOINED = (
    "(SELECT doc_hash, any_value(doc_id) AS doc_id, any_value(score) AS score FROM bench_items "
    "WHERE key = $before AND metric = $metric AND score IS NOT NULL GROUP BY doc_hash) before "
    "JOIN (SELECT doc_hash, any_value(score) AS score FROM bench_items "
    "WHERE key = $after AND metric = $metric AND score IS NOT NULL GROUP BY doc_hash) after USING (doc_hash)"
)


def _bound(before: str, after: str, metric: str) -> dict[str, Any]:
    return {"before": before, "after": after, "metric": metric}


def item_texts(results: Path, key: str, metric: str, wanted: Sequence[str]) -> dict[str, ItemText]:
    """What a model made of these items, by their hash; empty when the stage's file is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not is_identifier(key) or not wanted:
        return {}
    file = StageStore(results).path("benchmark", key) / ITEMS_FILE
    try:
        known = set(pq.read_schema(file).names)
        columns = [name for name in ("doc_hash", "question", "choices", "target", "choice", "logliks") if name in known]
        rows = pq.read_table(file, columns=columns, filters=[("doc_hash", "in", list(wanted)), ("metric", "=", metric)])
    except (OSError, pa.ArrowException):
        return {}
    return {row["doc_hash"]: _text(row) for row in rows.to_pylist()}


def _text(row: Mapping[str, Any]) -> ItemText:
    return ItemText(
        question=row.get("question"),
        choices=tuple(json.loads(row.get("choices") or "[]")),
        target=row.get("target"),
        choice=row.get("choice"),
        logliks=tuple(json.loads(row.get("logliks") or "[]")),
    )
