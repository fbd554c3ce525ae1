"""Examples with the answers of several arms beside each other, and the scores that comparisons rest on.

Every function takes a cursor of its own (`Snapshot.cursor()`). What a caller passes is always bound, never part of the
text of a statement; the only parts that vary are the numbers of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

Cursor = duckdb.DuckDBPyConnection
Mode = Literal["regressed", "improved", "different", "invalid", "all"]

MAX_COLUMNS = 4
"""A baseline and up to three arms."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a side-by-side view: an arm, the run that stands for it, and the stages that hold its outputs."""

    arm_id: str
    run_id: str
    seed: int
    predictions: str
    scores: str | None
    fold: int | None = None
    """Which fold it held out: on validation its examples are that fold's alone."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which examples are asked for. The first column is the baseline."""

    dataset: str
    split: str
    columns: tuple[Column, ...]
    metric: str | None
    """The metric whose per-example score tells better from worse."""
    mode: Mode = "all"
    search: str = ""
    """Only examples whose text, target or an output contains this, in any case."""
    example_id: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """What one arm said to one example. `score` and `parsed` are None where nothing was scored or read."""

    output: str
    parsed: str | None
    score: float | None
    output_tokens: int | None
    seconds: float | None
    finish: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """One example with a cell per column; None where the arm has no output for it."""

    example_id: str
    position: int
    text: str
    target: str
    cells: tuple[Cell | None, ...]


def columns(cursor: Cursor, arm_ids: Sequence[str], split: str) -> dict[str, Column]:
    """For each arm that has outputs: the first run in the plan's order among those that are furthest."""
    found = cursor.execute(
        """
        SELECT r.arm_id, r.run_id, r.seed, p.key, s.key, (r.config_json::JSON->>'fold')::INTEGER
        FROM runs AS r
        JOIN run_stages AS p
            ON p.run_id = r.run_id AND p.kind = 'predictions' AND p.name = $split AND p.state = 'complete'
        LEFT JOIN run_stages AS s
            ON s.run_id = r.run_id AND s.kind = 'scores' AND s.name = $split AND s.state = 'complete'
        WHERE r.current AND r.arm_id IN (SELECT unnest($arms::VARCHAR[]))
        QUALIFY row_number() OVER (PARTITION BY r.arm_id ORDER BY s.key IS NULL, r.position, r.seed) = 1
        """,
        {"arms": list(arm_ids), "split": split},
    ).fetchall()
    return {row[0]: Column(*row) for row in found}


def dataset_key(cursor: Cursor, run_id: str) -> str | None:
    """The data set that a run reads."""
    row = cursor.execute("SELECT key FROM run_stages WHERE run_id = ? AND kind = 'dataset'", [run_id]).fetchone()
    return None if row is None else row[0]


def scored_by(cursor: Cursor, scores_key: str, wanted: str) -> str | None:
    """The metric that has a score for each example: `wanted`, else accuracy, else any; None when there is none."""
    row = cursor.execute(
        """
        SELECT metric FROM scores WHERE key = $key AND score IS NOT NULL GROUP BY metric
        ORDER BY metric = $wanted DESC, metric = $wanted || '/example' DESC, metric = 'accuracy' DESC, metric LIMIT 1
        """,
        {"key": scores_key, "wanted": wanted},
    ).fetchone()
    return None if row is None else row[0]


def count_examples(cursor: Cursor, question: Question) -> dict[Mode, int]:
    """How many examples each mode would show, under the question's search."""
    modes = _modes(len(question.columns))
    counts = ", ".join(f"count(*) FILTER (WHERE {rule})" for rule in modes.values())
    row = cursor.execute(f"SELECT {counts} {_body(question)}", _values(question)).fetchone()
    return dict(zip(modes, row or (), strict=True))


def find_examples(cursor: Cursor, question: Question, limit: int, offset: int = 0) -> list[Example]:
    """One page of examples in the order of the split."""
    width = len(question.columns)
    cells = "".join(
        f", p{i}.output, s{i}.parsed, s{i}.score, p{i}.output_tokens, p{i}.seconds, p{i}.finish" for i in range(width)
    )
    found = cursor.execute(
        f"SELECT e.example_id, e.position, e.text, e.target{cells} {_body(question)} "
        f"AND ({_modes(width)[question.mode]}) ORDER BY e.position LIMIT $limit OFFSET $offset",
        {**_values(question), "limit": limit, "offset": offset},
    ).fetchall()
    return [Example(*(*row[:4], tuple(_cell(row[4 + 6 * i : 10 + 6 * i]) for i in range(width)))) for row in found]


def example_scores(cursor: Cursor, scores_key: str, metric: str) -> dict[str, float]:
    """The score of each example that has one."""
    return dict(
        cursor.execute(
            "SELECT example_id, score FROM scores WHERE key = ? AND metric = ? AND score IS NOT NULL "
            "ORDER BY example_id",
            [scores_key, metric],
        ).fetchall()
    )


def bench_scores(cursor: Cursor, benchmark_key: str, metric: str) -> dict[str, float]:
    """The score of each item of a benchmark, by the hash of the item."""
    return dict(
        cursor.execute(
            "SELECT doc_hash, score FROM bench_items WHERE key = ? AND metric = ? AND score IS NOT NULL "
            "ORDER BY doc_hash",
            [benchmark_key, metric],
        ).fetchall()
    )


def _body(question: Question) -> str:
    width = len(question.columns)
    if not 1 <= width <= MAX_COLUMNS:
        raise ValueError(f"expected 1 to {MAX_COLUMNS} arms side by side, found {width}")
    joins = " ".join(
        f"LEFT JOIN predictions AS p{i} ON p{i}.key = $p{i} AND p{i}.example_id = e.example_id "
        f"LEFT JOIN scores AS s{i} ON s{i}.key = $s{i} AND s{i}.metric = $metric AND s{i}.example_id = e.example_id"
        for i in range(width)
    )
    texts = ["e.text", "e.target", *(f"p{i}.output" for i in range(width))]
    search = " OR ".join(f"contains(lower({text}), lower($search))" for text in texts)
    return (
        f"FROM examples AS e {joins} WHERE e.dataset_key = $dataset AND e.split = $split "
        f"AND ($example IS NULL OR e.example_id = $example) AND ($search = '' OR {search})"
    )


def _modes(width: int) -> dict[Mode, str]:
    """The SQL rule of each mode: any of the arms against the baseline in column 0."""

    def any_arm(rule: str) -> str:
        return " OR ".join(f"({rule.format(i=i)})" for i in range(1, width)) or "false"

    return {
        "regressed": any_arm("s{i}.score < s0.score"),
        "improved": any_arm("s{i}.score > s0.score"),
        "different": any_arm(
            "p{i}.output IS NOT NULL AND p0.output IS NOT NULL AND "
            "coalesce(s{i}.parsed, p{i}.output) IS DISTINCT FROM coalesce(s0.parsed, p0.output)"
        ),
        "invalid": " OR ".join(f"(s{i}.example_id IS NOT NULL AND s{i}.parsed IS NULL)" for i in range(width)),
        "all": "true",
    }


def _values(question: Question) -> dict[str, Any]:
    values: dict[str, Any] = {
        "metric": question.metric,
        "dataset": question.dataset,
        "split": question.split,
        "example": question.example_id,
        "search": question.search,
    }
    for i, column in enumerate(question.columns):
        values[f"p{i}"], values[f"s{i}"] = column.predictions, column.scores
    return values


def _cell(values: tuple[Any, ...]) -> Cell | None:
    return None if values[0] is None else Cell(*values)
