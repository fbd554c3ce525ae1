"""Where the numbers come from, and what went less than well on the way: provenance and warnings."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from ftlab import text
from ftlab.decide.facts import Facts


def read_provenance(cursor: duckdb.DuckDBPyConnection, facts: Facts) -> dict[str, Any]:
    """The newest attempt's provenance, with the content hashes of data, model and spec.

    `differs` names what was not the same in every attempt whose result counts: an own warning, see `read_warnings`.
    """
    found = _provenances(cursor, facts)
    newest = dict(found[-1]) if found else {}
    return {
        **newest,
        "spec_hash": facts.spec_hash,
        "data": {"source": _source(facts), "content": facts.data.get("content")},
        "models": [
            {"source": model["source"], "revision": model["revision"], "dtype": model["dtype"]}
            for model in facts.models
        ],
        "differs": sorted(_differing(found)),
    }


def read_warnings(cursor: duckdb.DuckDBPyConnection, facts: Facts) -> list[str]:
    """Every warning of the current runs once, with the arms it came from, and one of our own about mixed versions."""
    labels = {run.run_id: text.one_line(arm.label) for arm in facts.arms for run in arm.runs}
    rows = cursor.execute(
        "SELECT w.message, w.run_id FROM warnings w JOIN runs r USING (run_id) "
        "WHERE r.experiment_id = ? AND r.current AND (w.attempt IS NULL OR w.attempt = r.attempt) "
        "ORDER BY w.ts, w.run_id, w.message",
        [facts.experiment_id],
    ).fetchall()
    by_message: dict[str, list[str]] = {}
    for message, run_id in rows:
        names = by_message.setdefault(text.one_line(message, 400), [])
        if (name := labels.get(run_id)) and name not in names:
            names.append(name)
    every = len(facts.arms)
    warnings = [
        f"{message} ({', '.join(names)})" if names and len(names) < every else message
        for message, names in by_message.items()
    ]
    if differing := sorted(_differing(_provenances(cursor, facts))):
        warnings.append(f"Not all runs were made under the same conditions; these differ: {', '.join(differing)}.")
    return warnings


def _provenances(cursor: duckdb.DuckDBPyConnection, facts: Facts) -> list[dict[str, Any]]:
    """Of the newest attempt of every current run, the newest last."""
    rows = cursor.execute(
        "SELECT p.json FROM provenance p JOIN runs r ON r.run_id = p.run_id AND r.attempt = p.attempt "
        "WHERE r.experiment_id = ? AND r.current ORDER BY r.started_ts, r.run_id",
        [facts.experiment_id],
    ).fetchall()
    return [json.loads(row[0]) for row in rows]


def _differing(found: list[dict[str, Any]]) -> set[str]:
    """What could change a result and is not the same in all: packages one by one, then device, commit and the like."""
    differing: set[str] = set()
    for name in ("packages", "versions"):
        tables: list[dict[str, Any]] = [one[name] for one in found if isinstance(one.get(name), dict)]
        for package in {key for table in tables for key in table}:
            if len({str(table.get(package)) for table in tables}) > 1:
                differing.add(text.one_line(str(package)))
    for name in ("python", "device", "commit", "dirty", "threads"):
        if len({json.dumps(one[name], sort_keys=True) for one in found if name in one}) > 1:
            differing.add(name)
    return differing


def _source(facts: Facts) -> str | None:
    spec = facts.data.get("spec") or {}
    return spec.get("source") or ", ".join(filter(None, (spec.get("files") or {}).values())) or None
