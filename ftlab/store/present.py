"""What the files say beyond the newest snapshot, once nobody works in the folder any more.

A sweep publishes all that it does. One that was killed, or whose disk was full, could not say so: its last snapshot
has runs that run for ever. Readers correct these by the rule of `ftlab status`. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ftlab.events import Status
from ftlab.execute.experiments import experiment_folders
from ftlab.execute.hold import holder
from ftlab.execute.stages import is_identifier
from ftlab.execute.standing import newest_attempt
from ftlab.text import one_line, plural

Cursor = duckdb.DuckDBPyConnection

NOT_TAKEN_IN = "it is complete, but its results are not in the ledger yet; `ftlab resume` takes them in"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run really ended that the snapshot has as unfinished."""

    run_id: str
    attempt: int
    status: str
    reason: str | None


def ended_runs(cursor: Cursor, results: Path) -> tuple[Ended, ...]:
    """The runs whose end the snapshot behind `cursor` does not know; none while a sweep works, which publishes it."""
    if holder(results) is not None:
        return ()
    found = cursor.execute(
        "SELECT experiment_id, run_id, status, attempt FROM ledger.runs WHERE current AND status <> 'complete' "
        "ORDER BY run_id"
    ).fetchall()
    ended = []
    for experiment_id, run_id, status, attempt in found:
        if not (is_identifier(experiment_id) and is_identifier(run_id)):
            continue
        now = newest_attempt(results / experiment_id / "runs" / run_id)
        if now.number is not None and now.status.is_final and (now.status, now.number) != (status, attempt):
            reason = NOT_TAKEN_IN if now.status is Status.COMPLETE else now.reason
            ended.append(Ended(run_id, now.number, now.status.value, reason))
    return tuple(ended)


def correct(cursor: Cursor, ended: Sequence[Ended]) -> Cursor:
    """Lay the corrections over the tables that `cursor` reads, for this cursor alone; returns it."""
    if not ended:
        return cursor
    cursor.execute("CREATE TEMP TABLE ended (run_id VARCHAR, attempt INTEGER, status VARCHAR, reason VARCHAR)")
    for row in ended:
        cursor.execute("INSERT INTO ended VALUES (?, ?, ?, ?)", [row.run_id, row.attempt, row.status, row.reason])
    # Names of temporary views go before those of the snapshot.
    cursor.execute(
        """
        CREATE TEMP VIEW runs AS SELECT r.* REPLACE (coalesce(e.status, r.status) AS status,
            CASE WHEN e.run_id IS NULL THEN r.reason ELSE e.reason END AS reason,
            coalesce(e.attempt, r.attempt) AS attempt)
        FROM ledger.runs AS r LEFT JOIN ended AS e USING (run_id);
        CREATE TEMP VIEW attempts AS SELECT a.* REPLACE (
            CASE WHEN e.run_id IS NOT NULL AND a.finished_ts IS NULL THEN e.status ELSE a.status END AS status,
            CASE WHEN e.run_id IS NOT NULL AND a.finished_ts IS NULL THEN e.reason ELSE a.reason END AS reason)
        FROM ledger.attempts AS a LEFT JOIN ended AS e USING (run_id, attempt);
        CREATE TEMP VIEW run_stages AS SELECT s.* REPLACE (
            CASE WHEN e.run_id IS NOT NULL AND s.state = 'running' THEN 'planned' ELSE s.state END AS state)
        FROM ledger.run_stages AS s LEFT JOIN ended AS e USING (run_id)
        """
    )
    return cursor


def unpublished(results: Path) -> tuple[str, str] | None:
    """Why there is no snapshot although the folder holds experiments, in a sentence, and the command that helps.

    None where no experiment was planned.
    """
    folders = experiment_folders(results)
    if not folders:
        return None
    names = ", ".join(one_line(folder.name, 60) for folder in folders[:5])
    if (who := holder(results)) is not None:
        process = f"process {who.pid}" if who.pid is not None else "a process"
        return f"{process} on {who.host} has just begun to work in {results} and has shown nothing yet", "ftlab status"
    attempts = sum(1 for _ in results.glob("*/runs/*/a*/events.jsonl"))
    what = f"{plural(len(folders), 'experiment')} ({names}) with {plural(attempts, 'journal')}"
    return f"{results} holds {what}, but nothing has been published from them", "ftlab rebuild"
