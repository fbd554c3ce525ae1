"""How rows enter the ledger's tables, and how the state of runs follows from them. Within the caller's transaction.

Which of several events counts never depends on the order in which they arrive: the latest by (attempt, place in the
journal), or by time stamp, or the first of its kind in its journal.
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pyarrow as pa

from ftlab.store.rows import SCHEMAS, Rows


def insert(connection: duckdb.DuckDBPyConnection, statement: str, rows: pa.Table) -> None:
    """Run an INSERT that takes `rows` from the table `arriving`; nothing when there are none."""
    if rows.num_rows:
        connection.register("arriving", rows)
        connection.execute(statement)
        connection.unregister("arriving")


def insert_rows(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Insert what the journals of one tick gave, by the rules of each table for what it holds already."""
    for name in ("stage_events", "curves", "warnings"):
        insert(connection, f"INSERT INTO {name} BY NAME SELECT * FROM arriving", rows.table(name))
    for name, rule in _UPSERTS.items():
        insert(connection, f"INSERT INTO {name} BY NAME SELECT * FROM arriving ON CONFLICT {rule}", rows.table(name))


_UPSERTS = {
    # The first start and the first end of an attempt count.
    "attempts": """DO UPDATE SET
        pid = CASE WHEN attempts.started_ts IS NULL THEN excluded.pid ELSE attempts.pid END,
        host = CASE WHEN attempts.started_ts IS NULL THEN excluded.host ELSE attempts.host END,
        started_ts = coalesce(attempts.started_ts, excluded.started_ts),
        status = CASE WHEN attempts.finished_ts IS NULL THEN excluded.status ELSE attempts.status END,
        reason = CASE WHEN attempts.finished_ts IS NULL THEN excluded.reason ELSE attempts.reason END,
        error = CASE WHEN attempts.finished_ts IS NULL THEN excluded.error ELSE attempts.error END,
        finished_ts = coalesce(attempts.finished_ts, excluded.finished_ts)""",
    "provenance": "DO NOTHING",
    "stages": """DO UPDATE SET seconds = excluded.seconds, bytes = excluded.bytes, summary_json = excluded.summary_json,
        ts = excluded.ts WHERE (excluded.ts, excluded.summary_json) > (stages.ts, stages.summary_json)""",
    "metrics": """DO UPDATE SET value = excluded.value, low = excluded.low, high = excluded.high, n = excluded.n,
        unit = excluded.unit, direction = excluded.direction, interval = excluded.interval, attempt = excluded.attempt,
        line_offset = excluded.line_offset
        WHERE (excluded.attempt, excluded.line_offset) > (metrics.attempt, metrics.line_offset)""",
}


def insert_offsets(connection: duckdb.DuckDBPyConnection, files: list[tuple[str, int, int, int]]) -> None:
    """Remember how far each file was read: path, offset, and the lines and bad lines that this reading adds."""
    insert(
        connection,
        """
        INSERT INTO ingested_files BY NAME SELECT * FROM arriving ON CONFLICT DO UPDATE SET
            byte_offset = excluded.byte_offset, lines = ingested_files.lines + excluded.lines,
            bad_lines = ingested_files.bad_lines + excluded.bad_lines
        """,
        pa.table(
            [list(column) for column in zip(*files, strict=True)] if files else [[]] * 4,
            schema=SCHEMAS["ingested_files"],
        ),
    )


def settle(connection: duckdb.DuckDBPyConnection, touched: Iterable[str]) -> None:
    """Work out where the touched runs and their stages stand now. The newest attempt decides."""
    runs = pa.table({"run_id": pa.array(sorted(touched), pa.string())})
    if not runs.num_rows:
        return
    connection.register("touched", runs)
    connection.execute(
        """
        UPDATE runs SET status = newest.status, reason = newest.reason, attempt = newest.attempt,
            started_ts = newest.started_ts, finished_ts = newest.finished_ts
        FROM (SELECT * FROM attempts JOIN touched USING (run_id)
              QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY attempt DESC) = 1) AS newest
        WHERE runs.run_id = newest.run_id
        """
    )
    connection.execute("DELETE FROM run_stages WHERE run_id IN (SELECT run_id FROM touched)")
    # Events of another key than the planned one come from before a change of plan. What is complete stays complete.
    connection.execute(
        """
        INSERT INTO run_stages BY NAME
        WITH planned AS (SELECT planned_stages.* FROM planned_stages JOIN touched USING (run_id)),
        latest AS (
            SELECT e.* FROM stage_events AS e JOIN touched USING (run_id)
            LEFT JOIN planned AS p USING (run_id, kind, name)
            WHERE p.key IS NULL OR p.key = e.key
            QUALIFY row_number() OVER (
                PARTITION BY run_id, kind, name ORDER BY e.complete DESC, e.attempt DESC, e.line_offset DESC) = 1)
        SELECT run_id, p.position, kind, name, coalesce(p.key, l.key) AS key, l.cached, l.seconds, l.attempt,
            CASE WHEN l.complete THEN 'complete' WHEN a.status = 'running' THEN 'running' ELSE 'planned' END AS state
        FROM planned AS p FULL JOIN latest AS l USING (run_id, kind, name)
        LEFT JOIN attempts AS a ON a.run_id = l.run_id AND a.attempt = l.attempt
        """
    )
    connection.unregister("touched")
