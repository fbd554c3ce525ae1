"""What readers ask of a snapshot, as frozen records: experiments, runs, one run, curves. Examples: `side_by_side`.

Every function takes a cursor of its own (`Snapshot.cursor()`). Everything is filtered, joined and cut inside DuckDB.
What a caller passes is always bound, never part of the text of a statement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

Cursor = duckdb.DuckDBPyConnection

CURVE_POINTS = 400
"""Points of one curve that a chart gets; more of them are averaged in stretches of equal length."""


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment and how far it is."""

    experiment_id: str
    name: str
    question: str
    created_ts: float
    """When its first plan was seen, in seconds since 1970."""
    updated_ts: float | None
    """When its newest attempt started or ended."""
    by_status: dict[str, int]
    """Runs of the current plan by status; statuses without a run are left out."""

    @property
    def runs(self) -> int:
        """How many runs its current plan has."""
        return sum(self.by_status.values())


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run with its results so far. What a run does not have is None or missing from its dict."""

    run_id: str
    arm_id: str | None
    label: str | None
    method_name: str | None
    family: str | None
    seed: int | None
    status: str
    reason: str | None
    attempt: int | None
    started_ts: float | None
    finished_ts: float | None
    current: bool
    """Whether the experiment's present plan has it."""
    stages_done: int
    stages_total: int
    metrics: dict[str, float]
    """By `<split>/<metric>`, without the metrics of single classes."""
    cost: dict[str, float]
    """train_seconds, train_tokens, peak_memory_bytes, trainable_parameters, artifact_bytes, tokens_per_second,
    seconds_per_1k, serving_memory_bytes: as far as its stages tell."""
    fold: int | None = None
    """Which fold it held out; None where the data has none."""

    @property
    def replicate(self) -> str:
        """What tells it from the other runs of its arm: `seed 0`, or `seed 0, fold 2`."""
        return f"seed {self.seed}{'' if self.fold is None else f', fold {self.fold}'}"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of a run: where it stands and what it gave."""

    kind: str
    name: str
    key: str
    state: str
    """`planned`, `running` or `complete`."""
    cached: bool | None
    """Whether it was on disk before this run needed it."""
    seconds: float | None
    """How long it took whoever computed it."""
    bytes: int | None
    summary: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One execution of a run, with where and on what it ran."""

    attempt: int
    status: str
    reason: str | None
    error: str | None
    pid: int | None
    host: str | None
    started_ts: float | None
    finished_ts: float | None
    provenance: dict[str, Any]
    bad_lines: int
    """Lines of its journal that could not be read."""


@dataclass(frozen=True, slots=True)
class WarningRow:
    """One warning; equal ones of a run are one row."""

    code: str
    message: str
    step: int | None
    ts: float | None
    """None for what ftlab found when reading the files."""


@dataclass(frozen=True, slots=True)
class RunDetail:
    """All there is to say about one run."""

    run: RunRow
    experiment_id: str
    config: dict[str, Any]
    """The resolved RunConfig; empty when the files do not hold it."""
    stages: list[StageRow]
    attempts: list[AttemptRow]
    """The newest first."""
    warnings: list[WarningRow]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of one run's curve, or the mean of a stretch of points. `value` is None where it was not finite."""

    run_id: str
    key: str
    step: int
    value: float | None


def experiments(cursor: Cursor) -> list[ExperimentRow]:
    """Every experiment, the newest first."""
    found = cursor.execute(
        """
        SELECT e.experiment_id, e.name, e.question, e.created_ts, r.updated_ts, r.by_status
        FROM experiments AS e LEFT JOIN (
            SELECT experiment_id, max(updated_ts) AS updated_ts, map_from_entries(list((status, n))) AS by_status
            FROM (SELECT experiment_id, status, count(*) AS n, max(coalesce(finished_ts, started_ts)) AS updated_ts
                  FROM runs WHERE current GROUP BY experiment_id, status)
            GROUP BY experiment_id) AS r USING (experiment_id)
        ORDER BY e.created_ts DESC, e.experiment_id
        """
    ).fetchall()
    return [ExperimentRow(*(*row[:5], dict(row[5] or {}))) for row in found]


def progress(cursor: Cursor, experiment_id: str) -> dict[str, int]:
    """How many runs of an experiment's current plan are in each status; statuses without a run are left out."""
    found = cursor.execute(
        "SELECT status, count(*) FROM runs WHERE experiment_id = ? AND current GROUP BY status ORDER BY status",
        [experiment_id],
    ).fetchall()
    return dict(found)


def runs(cursor: Cursor, experiment_id: str, planned_only: bool = True) -> list[RunRow]:
    """The runs of an experiment in the plan's order, with or without those that are no longer planned."""
    return _runs(cursor, experiment_id, None, planned_only)


def _runs(cursor: Cursor, experiment_id: str | None, run_id: str | None, planned_only: bool) -> list[RunRow]:
    found = cursor.execute(
        """
        WITH wanted AS (
            SELECT * FROM runs WHERE ($experiment IS NULL OR experiment_id = $experiment)
                AND ($run IS NULL OR run_id = $run) AND (current OR NOT $planned_only)),
        measured AS (
            SELECT run_id, map_from_entries(list((split || '/' || key, value) ORDER BY split, key)) AS metrics
            FROM metrics JOIN wanted USING (run_id) WHERE value IS NOT NULL AND NOT contains(key, '/') GROUP BY run_id),
        staged AS (
            SELECT run_id, count(*) FILTER (WHERE r.state = 'complete') AS done, count(*) AS total,
                list(s.summary_json ORDER BY r.kind)
                    FILTER (WHERE r.state = 'complete' AND r.kind IN ('weights', 'predictions'))
                    AS summaries
            FROM run_stages AS r JOIN wanted USING (run_id) LEFT JOIN stages AS s ON s.kind = r.kind AND s.key = r.key
            GROUP BY run_id)
        SELECT w.run_id, w.arm_id, a.label, a.method_name, a.family, w.seed, w.status, w.reason, w.attempt,
            w.started_ts, w.finished_ts, w.current, coalesce(s.done, 0), coalesce(s.total, 0), m.metrics, s.summaries,
            (w.config_json::JSON->>'fold')::INTEGER
        FROM wanted AS w LEFT JOIN arms AS a USING (arm_id) LEFT JOIN measured AS m USING (run_id)
            LEFT JOIN staged AS s USING (run_id)
        ORDER BY w.current DESC, w.position, w.run_id
        """,
        {"experiment": experiment_id, "run": run_id, "planned_only": planned_only},
    ).fetchall()
    return [RunRow(*(*row[:14], dict(row[14] or {}), _cost(row[15] or []), row[16])) for row in found]


_COSTS = (
    "train_seconds",
    "train_tokens",
    "peak_memory_bytes",
    "trainable_parameters",
    "artifact_bytes",
    "tokens_per_second",
    "seconds_per_1k",
    "serving_memory_bytes",
)


def _cost(summaries: list[str | None]) -> dict[str, float]:
    """What the summaries of predictions and weights tell; the speed is that of prediction."""
    cost: dict[str, float] = {}
    for text in summaries:
        summary = _object(text)
        for name in _COSTS:
            if isinstance(summary.get(name), (int, float)) and not (
                name == "tokens_per_second" and "train_seconds" in summary
            ):
                cost[name] = summary[name]
    return cost


def run_detail(cursor: Cursor, run_id: str) -> RunDetail | None:
    """One run with its config, stages, attempts and warnings, or None when there is no such run."""
    rows = _runs(cursor, None, run_id, False)
    if not rows:
        return None
    record = cursor.execute("SELECT experiment_id, config_json FROM runs WHERE run_id = ?", [run_id]).fetchone()
    experiment_id, config = record if record is not None else ("", None)
    return RunDetail(
        rows[0],
        experiment_id,
        _object(config),
        stages(cursor, run_id),
        attempts(cursor, run_id),
        warnings(cursor, run_id),
    )


def stages(cursor: Cursor, run_id: str) -> list[StageRow]:
    """The stages of a run in the order of execution."""
    found = cursor.execute(
        """
        SELECT r.kind, r.name, r.key, r.state, r.cached, coalesce(r.seconds, s.seconds), s.bytes, s.summary_json
        FROM run_stages AS r LEFT JOIN stages AS s ON s.kind = r.kind AND s.key = r.key
        WHERE r.run_id = ? ORDER BY r.position, r.kind, r.name
        """,
        [run_id],
    ).fetchall()
    return [StageRow(*(*row[:-1], _object(row[-1]))) for row in found]


def attempts(cursor: Cursor, run_id: str) -> list[AttemptRow]:
    """Every attempt of a run, the newest first."""
    found = cursor.execute(
        """
        SELECT a.attempt, a.status, a.reason, a.error, a.pid, a.host, a.started_ts, a.finished_ts, p.json,
            coalesce(f.bad_lines, 0)
        FROM attempts AS a JOIN runs AS r ON r.run_id = a.run_id
            LEFT JOIN provenance AS p ON p.run_id = a.run_id AND p.attempt = a.attempt
            LEFT JOIN ingested_files AS f
                ON f.path = r.experiment_id || '/runs/' || a.run_id || '/a' || a.attempt || '/events.jsonl'
        WHERE a.run_id = ? ORDER BY a.attempt DESC
        """,
        [run_id],
    ).fetchall()
    return [AttemptRow(*(*row[:8], _object(row[8]), row[9])) for row in found]


def warnings(cursor: Cursor, run_id: str) -> list[WarningRow]:
    """The warnings of a run in the order in which they were first given, equal ones once."""
    found = cursor.execute(
        """
        SELECT code, message, min(step), min(ts) AS first FROM warnings WHERE run_id = ?
        GROUP BY code, message ORDER BY first NULLS FIRST, code, message
        """,
        [run_id],
    ).fetchall()
    return [WarningRow(*row) for row in found]


def curves(
    cursor: Cursor, run_ids: Sequence[str], keys: Sequence[str] | None = None, points: int = CURVE_POINTS
) -> list[CurvePoint]:
    """The curves of some runs, at most `points` points for each run and key, by run, key and step.

    Where a resumed attempt went over a step again, its value replaces the earlier one. Where points are merged, the
    step is the last of the stretch and the value the mean of its finite values.
    """
    found = cursor.execute(
        """
        WITH latest AS (
            SELECT run_id, key, step, value FROM curves
            WHERE run_id IN (SELECT unnest($runs::VARCHAR[]))
                AND ($keys IS NULL OR list_contains($keys::VARCHAR[], key))
            QUALIFY row_number() OVER (PARTITION BY run_id, key, step ORDER BY attempt DESC) = 1),
        placed AS (
            SELECT *, row_number() OVER (PARTITION BY run_id, key ORDER BY step) - 1 AS place,
                count(*) OVER (PARTITION BY run_id, key) AS n
            FROM latest)
        SELECT run_id, key, max(step), avg(value) FROM placed
        GROUP BY run_id, key, place // greatest(1, CAST(ceil(n / $points) AS BIGINT))
        ORDER BY run_id, key, max(step)
        """,
        {"runs": list(run_ids), "keys": None if keys is None else list(keys), "points": max(1, points)},
    ).fetchall()
    return [CurvePoint(*row) for row in found]


def _object(text: str | None) -> dict[str, Any]:
    """A stored JSON object; empty for none."""
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}
