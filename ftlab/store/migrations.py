"""The ledger's schema, as numbered functions. A released one is never edited: a change is a new function at the end.

Each is proved on stored ledgers of the releases (`tests/golden/`). Beyond the facts that people read, the tables keep
the order of things: `line_offset` is where an event's line starts in its journal, so `(attempt, line_offset)` orders
all events of a run, in whatever order the journals were read. `planned_stages` and `stage_events` are the facts
behind `run_stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import duckdb

from ftlab.errors import StoreVersionError


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Everything in the block, or on any error nothing of it."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        # A commit that failed (a full disk) has rolled back by itself.
        with suppress(duckdb.TransactionException):
            connection.rollback()
        raise


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 1: the first release."""
    connection.execute(
        """
        CREATE TABLE experiments (
            experiment_id VARCHAR PRIMARY KEY, name VARCHAR NOT NULL, question VARCHAR NOT NULL,
            spec_text VARCHAR NOT NULL, spec_hash VARCHAR NOT NULL, plan_json VARCHAR NOT NULL,
            created_ts DOUBLE NOT NULL);
        CREATE TABLE arms (
            arm_id VARCHAR PRIMARY KEY, experiment_id VARCHAR NOT NULL, position INTEGER NOT NULL,
            method_name VARCHAR NOT NULL, family VARCHAR NOT NULL, label VARCHAR NOT NULL,
            model_source VARCHAR NOT NULL, model_revision VARCHAR NOT NULL, method_json VARCHAR NOT NULL,
            varied_json VARCHAR NOT NULL, place VARCHAR NOT NULL, current BOOLEAN NOT NULL);
        CREATE TABLE runs (
            run_id VARCHAR PRIMARY KEY, experiment_id VARCHAR NOT NULL, arm_id VARCHAR, seed BIGINT, position INTEGER,
            status VARCHAR NOT NULL, reason VARCHAR, attempt INTEGER, started_ts DOUBLE, finished_ts DOUBLE,
            config_json VARCHAR, current BOOLEAN NOT NULL);
        CREATE TABLE attempts (
            run_id VARCHAR, attempt INTEGER, status VARCHAR NOT NULL, reason VARCHAR, error VARCHAR, pid BIGINT,
            host VARCHAR, started_ts DOUBLE, finished_ts DOUBLE, PRIMARY KEY (run_id, attempt));
        CREATE TABLE planned_stages (
            run_id VARCHAR, position INTEGER NOT NULL, kind VARCHAR, name VARCHAR, key VARCHAR NOT NULL,
            PRIMARY KEY (run_id, kind, name));
        CREATE TABLE stage_events (
            run_id VARCHAR NOT NULL, attempt INTEGER NOT NULL, line_offset BIGINT NOT NULL, kind VARCHAR NOT NULL,
            name VARCHAR NOT NULL, key VARCHAR NOT NULL, complete BOOLEAN NOT NULL, cached BOOLEAN, seconds DOUBLE);
        CREATE TABLE run_stages (
            run_id VARCHAR, position INTEGER, kind VARCHAR, name VARCHAR, key VARCHAR NOT NULL,
            state VARCHAR NOT NULL, cached BOOLEAN, seconds DOUBLE, attempt INTEGER,
            PRIMARY KEY (run_id, kind, name));
        CREATE TABLE stages (
            kind VARCHAR, key VARCHAR, seconds DOUBLE NOT NULL, bytes BIGINT NOT NULL, summary_json VARCHAR NOT NULL,
            ts DOUBLE NOT NULL, loaded BOOLEAN NOT NULL, PRIMARY KEY (kind, key));
        CREATE TABLE curves (
            run_id VARCHAR NOT NULL, attempt INTEGER NOT NULL, step BIGINT NOT NULL, key VARCHAR NOT NULL,
            value DOUBLE);
        CREATE TABLE metrics (
            run_id VARCHAR, split VARCHAR, key VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT, unit VARCHAR,
            direction VARCHAR, interval VARCHAR, attempt INTEGER NOT NULL, line_offset BIGINT NOT NULL,
            PRIMARY KEY (run_id, split, key));
        CREATE TABLE examples (
            dataset_key VARCHAR NOT NULL, split VARCHAR NOT NULL, position BIGINT NOT NULL,
            example_id VARCHAR NOT NULL, text VARCHAR, fields_json VARCHAR, target VARCHAR);
        CREATE TABLE predictions (
            key VARCHAR NOT NULL, example_id VARCHAR NOT NULL, output VARCHAR, prompt_tokens BIGINT,
            output_tokens BIGINT, seconds DOUBLE, finish VARCHAR, label_logprobs VARCHAR);
        CREATE TABLE scores (
            key VARCHAR NOT NULL, example_id VARCHAR NOT NULL, metric VARCHAR NOT NULL, score DOUBLE, parsed VARCHAR);
        CREATE TABLE bench_items (
            key VARCHAR NOT NULL, task VARCHAR NOT NULL, doc_hash VARCHAR NOT NULL, doc_id BIGINT,
            metric VARCHAR NOT NULL, score DOUBLE);
        CREATE TABLE comparisons (
            experiment_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, metric VARCHAR NOT NULL, split VARCHAR,
            arm_id VARCHAR NOT NULL, baseline_arm_id VARCHAR, task VARCHAR, n BIGINT, dropped BIGINT, estimate DOUBLE,
            low DOUBLE, high DOUBLE, p DOUBLE, p_adjusted DOUBLE, fixed BIGINT, broke BIGINT, method VARCHAR,
            seed BIGINT, inputs VARCHAR);
        CREATE TABLE warnings (
            run_id VARCHAR, attempt INTEGER, code VARCHAR NOT NULL, message VARCHAR NOT NULL, step BIGINT, ts DOUBLE,
            artifact VARCHAR);
        CREATE TABLE provenance (
            run_id VARCHAR, attempt INTEGER, json VARCHAR NOT NULL, PRIMARY KEY (run_id, attempt));
        CREATE TABLE test_openings (
            experiment_id VARCHAR NOT NULL, ts DOUBLE NOT NULL, who VARCHAR, why VARCHAR, arms_json VARCHAR NOT NULL);
        CREATE TABLE ingested_files (
            path VARCHAR PRIMARY KEY, byte_offset BIGINT NOT NULL, lines BIGINT NOT NULL, bad_lines BIGINT NOT NULL);
        """
    )


def replace_test_openings(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 2: openings of the test rows as they are recorded. Version 1 had a table for them and never filled it."""
    connection.execute(
        """
        DROP TABLE test_openings;
        CREATE TABLE test_openings (
            experiment_id VARCHAR, number INTEGER, ts DOUBLE NOT NULL, who VARCHAR NOT NULL, why VARCHAR NOT NULL,
            dataset_key VARCHAR NOT NULL, content VARCHAR NOT NULL, looks INTEGER NOT NULL,
            opening_json VARCHAR NOT NULL, PRIMARY KEY (experiment_id, number));
        """
    )


def create_bench_outputs(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 3: what models answered to the prompts of a benchmark that keeps answers."""
    connection.execute(
        """
        CREATE TABLE bench_outputs (
            key VARCHAR NOT NULL, task VARCHAR NOT NULL, doc_hash VARCHAR NOT NULL, doc_id BIGINT, prompt VARCHAR,
            output VARCHAR, output_tokens BIGINT, finish VARCHAR);
        """
    )


def create_judgements(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 4: what judges said, and the scores of single examples by the key of their stage."""
    connection.execute(
        """
        CREATE TABLE judgements (
            experiment_id VARCHAR, number INTEGER, ts DOUBLE NOT NULL, split VARCHAR NOT NULL,
            record_json VARCHAR NOT NULL, PRIMARY KEY (experiment_id, number));
        CREATE TABLE judge_scores (key VARCHAR NOT NULL, example_id VARCHAR NOT NULL, score DOUBLE NOT NULL);
        """
    )


def create_ratings(connection: duckdb.DuckDBPyConnection) -> None:
    """Version 5: what people think of answers, every line of their files. Of a score, `arm_a` and `key_a` are the
    answer's, and `score` is there in place of `choice`."""
    connection.execute(
        """
        CREATE TABLE ratings (
            path VARCHAR, line_offset BIGINT, experiment_id VARCHAR NOT NULL, kind VARCHAR NOT NULL,
            rater VARCHAR NOT NULL, "time" VARCHAR NOT NULL, split VARCHAR NOT NULL, example_id VARCHAR NOT NULL,
            arm_a VARCHAR NOT NULL, key_a VARCHAR NOT NULL, arm_b VARCHAR, key_b VARCHAR, choice VARCHAR, score DOUBLE,
            PRIMARY KEY (path, line_offset));
        """
    )


MIGRATIONS: tuple[Callable[[duckdb.DuckDBPyConnection], None], ...] = (
    create_tables,
    replace_test_openings,
    create_bench_outputs,
    create_judgements,
    create_ratings,
)
VERSION = len(MIGRATIONS)


def stored_version(connection: duckdb.DuckDBPyConnection) -> int:
    """The schema version of an open ledger: 0 for an empty one."""
    tables = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta' AND database_name = current_database()"
    ).fetchone()
    if not tables or not tables[0]:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return int(row[0]) if row else 0


def check_version(connection: duckdb.DuckDBPyConnection, place: str) -> int:
    """The schema version of the store at `place`. Raises StoreVersionError when it is newer than this ftlab."""
    version = stored_version(connection)
    if version > VERSION:
        raise StoreVersionError(
            f"{place} was written by a newer ftlab (store version {version}, this one reads up to {VERSION}); "
            "update ftlab, or build the store again from its files by `ftlab rebuild`"
        )
    return version


def migrate(connection: duckdb.DuckDBPyConnection, place: str) -> int:
    """Bring an open ledger to the newest schema, each step in a transaction of its own; returns the version it had.

    Raises StoreVersionError when it is newer than this ftlab, and leaves it as it was.
    """
    found = check_version(connection, place)
    for version, step in enumerate(MIGRATIONS[found:], start=found + 1):
        with transaction(connection):
            if version == 1:
                connection.execute("CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)")
            step(connection)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", [str(version)])
    return found
