"""From events to rows of the ledger's tables. What does not fit its type is a bad line: it raises ValueError here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ftlab.events import EventType, Status
from ftlab.execute.stages import is_identifier
from ftlab.store.journal import Line
from ftlab.store.scan import Journal

_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMAS: dict[str, pa.Schema] = {
    "attempts": pa.schema(
        [
            ("run_id", _TEXT),
            ("attempt", _INT),
            ("status", _TEXT),
            ("reason", _TEXT),
            ("error", _TEXT),
            ("pid", _INT),
            ("host", _TEXT),
            ("started_ts", _REAL),
            ("finished_ts", _REAL),
        ]
    ),
    "provenance": pa.schema([("run_id", _TEXT), ("attempt", _INT), ("json", _TEXT)]),
    "stage_events": pa.schema(
        [
            ("run_id", _TEXT),
            ("attempt", _INT),
            ("line_offset", _INT),
            ("kind", _TEXT),
            ("name", _TEXT),
            ("key", _TEXT),
            ("complete", _FLAG),
            ("cached", _FLAG),
            ("seconds", _REAL),
        ]
    ),
    "stages": pa.schema(
        [
            ("kind", _TEXT),
            ("key", _TEXT),
            ("seconds", _REAL),
            ("bytes", _INT),
            ("summary_json", _TEXT),
            ("ts", _REAL),
            ("loaded", _FLAG),
        ]
    ),
    "curves": pa.schema([("run_id", _TEXT), ("attempt", _INT), ("step", _INT), ("key", _TEXT), ("value", _REAL)]),
    "metrics": pa.schema(
        [
            ("run_id", _TEXT),
            ("split", _TEXT),
            ("key", _TEXT),
            ("value", _REAL),
            ("low", _REAL),
            ("high", _REAL),
            ("n", _INT),
            ("unit", _TEXT),
            ("direction", _TEXT),
            ("interval", _TEXT),
            ("attempt", _INT),
            ("line_offset", _INT),
        ]
    ),
    "warnings": pa.schema(
        [
            ("run_id", _TEXT),
            ("attempt", _INT),
            ("code", _TEXT),
            ("message", _TEXT),
            ("step", _INT),
            ("ts", _REAL),
            ("artifact", _TEXT),
        ]
    ),
    "runs": pa.schema(
        [("run_id", _TEXT), ("experiment_id", _TEXT), ("arm_id", _TEXT), ("seed", _INT), ("config_json", _TEXT)]
    ),
    "ingested_files": pa.schema(
        [("path", _TEXT), ("byte_offset", _INT), ("lines", _INT), ("bad_lines", _INT)],
    ),
}


@dataclass(frozen=True, slots=True)
class StageDone:
    """A `stage` event: an artifact stands on disk."""

    run_id: str
    attempt: int
    kind: str
    name: str
    key: str
    cached: bool
    ts: float


@dataclass(slots=True)
class AttemptFacts:
    """What one reading says of an attempt: the first start and the first end in it count."""

    pid: int | None = None
    host: str | None = None
    started_ts: float | None = None
    status: str = Status.RUNNING
    reason: str | None = None
    error: str | None = None
    finished_ts: float | None = None


@dataclass(slots=True)
class Rows:
    """The rows that the journals of one tick give, by table."""

    attempts: dict[tuple[str, int], AttemptFacts] = field(default_factory=dict)
    provenance: dict[tuple[str, int], str] = field(default_factory=dict)
    stage_events: list[tuple[Any, ...]] = field(default_factory=list)
    stages: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    done: list[StageDone] = field(default_factory=list)
    curves: list[tuple[Any, ...]] = field(default_factory=list)
    metrics: dict[tuple[str, str, str], tuple[Any, ...]] = field(default_factory=dict)
    warnings: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, journal: Journal, line: Line) -> bool:
        """Take one event in. False for a bad line: it does not hold what its type must, and nothing of it is kept."""
        try:
            event = line.event
            handler = _HANDLERS.get(event["type"])
            if handler is not None:
                handler(self, journal, line, event)
            self.attempts.setdefault((journal.run_id, journal.attempt), AttemptFacts())
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return False
        return True

    def ended(self, journal: Journal) -> bool:
        """Whether the end of the journal's attempt is among these rows."""
        facts = self.attempts.get((journal.run_id, journal.attempt))
        return facts is not None and facts.finished_ts is not None

    def table(self, name: str) -> pa.Table:
        """The rows of one table, for DuckDB."""
        if name == "attempts":
            rows: Sequence[tuple[Any, ...]] = [
                (*key, f.status, f.reason, f.error, f.pid, f.host, f.started_ts, f.finished_ts)
                for key, f in self.attempts.items()
            ]
        elif name == "provenance":
            rows = [(*key, text) for key, text in self.provenance.items()]
        else:
            kept = getattr(self, name)
            rows = list(kept.values()) if isinstance(kept, dict) else kept
        return arrow(name, rows)


def arrow(name: str, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows in the order of the table's schema as an Arrow table."""
    schema = SCHEMAS[name]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table([pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)], schema=schema)


def _attempt_started(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    if (event["run_id"], event["attempt"]) != (journal.run_id, journal.attempt):
        raise ValueError("this journal is in another attempt's folder")
    pid, host, provenance = _integer(event["pid"]), _text(event["host"]), _json(event["provenance"], dict)
    facts = rows.attempts.setdefault((journal.run_id, journal.attempt), AttemptFacts())
    if facts.started_ts is None:
        facts.pid, facts.host, facts.started_ts = pid, host, float(event["ts"])
        rows.provenance.setdefault((journal.run_id, journal.attempt), provenance)


def _attempt_finished(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    status = Status(event["status"])
    if not status.is_final:
        raise ValueError("an attempt ends in a final status")
    reason, error = _text_or_none(event.get("reason")), _text_or_none(event.get("error"))
    facts = rows.attempts.setdefault((journal.run_id, journal.attempt), AttemptFacts())
    if facts.finished_ts is None:
        facts.status, facts.error, facts.finished_ts = status, error, float(event["ts"])
        facts.reason = (reason or "no reason was recorded") if status.needs_reason else None


def _stage_started(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    kind, name, key = _stage_of(event)
    rows.stage_events.append((journal.run_id, journal.attempt, line.offset, kind, name, key, False, None, None))


def _stage(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    kind, name, key = _stage_of(event)
    cached, seconds, size = event["cached"], _number(event["seconds"]), _integer(event["bytes"])
    if not isinstance(cached, bool):
        raise TypeError("cached is a flag")
    summary, ts = _json(event["summary"], dict), float(event["ts"])
    # The same stage is told of by many runs: the latest word counts, whichever is read first.
    known = rows.stages.get((kind, key))
    if known is None or (ts, summary) > (known[5], known[4]):
        rows.stages[kind, key] = (kind, key, seconds, size, summary, ts, False)
    rows.stage_events.append((journal.run_id, journal.attempt, line.offset, kind, name, key, True, cached, seconds))
    rows.done.append(StageDone(journal.run_id, journal.attempt, kind, name, key, cached, ts))


def _curve(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    step = _integer(event["step"])
    rows.curves.extend(
        [(journal.run_id, journal.attempt, step, _text(key), _number_or_none(v)) for key, v in event["values"].items()]
    )


def _metrics(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    split = _text(event["split"])
    found = {(journal.run_id, split, _text(row["key"])): _metric(journal, line, split, row) for row in event["rows"]}
    for key, row in found.items():
        known = rows.metrics.get(key)
        if known is None or row[-2:] > known[-2:]:
            rows.metrics[key] = row


def _metric(journal: Journal, line: Line, split: str, row: dict[str, Any]) -> tuple[Any, ...]:
    numbers = [_number_or_none(row.get(name)) for name in ("value", "low", "high")]
    n = None if row.get("n") is None else _integer(row["n"])
    words = [_text_or_none(row.get(name)) for name in ("unit", "direction", "interval")]
    return (journal.run_id, split, _text(row["key"]), *numbers, n, *words, journal.attempt, line.offset)


def _warning(rows: Rows, journal: Journal, line: Line, event: dict[str, Any]) -> None:
    step = None if event.get("step") is None else _integer(event["step"])
    code, message = _text(event["code"]), _text(event["message"])
    rows.warnings.append((journal.run_id, journal.attempt, code, message, step, float(event["ts"]), None))


_HANDLERS: dict[str, Callable[[Rows, Journal, Line, dict[str, Any]], None]] = {
    EventType.ATTEMPT_STARTED: _attempt_started,
    EventType.ATTEMPT_FINISHED: _attempt_finished,
    EventType.STAGE_STARTED: _stage_started,
    EventType.STAGE: _stage,
    EventType.CURVE: _curve,
    EventType.METRICS: _metrics,
    EventType.WARNING: _warning,
}


def _stage_of(event: dict[str, Any]) -> tuple[str, str, str]:
    kind, name, key = _text(event["kind"]), _text(event["name"]), _text(event["key"])
    if not (is_identifier(kind) and is_identifier(key)):
        raise ValueError("a stage's kind and key are made of a-z, 0-9 and -")
    return kind, name, key


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    # JSON can spell half a character (a lone surrogate), which no database takes.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _integer(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise TypeError("expected a whole number of 64 bits")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("expected a finite number")
    return float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)


def _json(value: Any, kind: type) -> str:
    if not isinstance(value, kind):
        raise TypeError(f"expected a {kind.__name__}")
    return json.dumps(value, sort_keys=True, allow_nan=False)
