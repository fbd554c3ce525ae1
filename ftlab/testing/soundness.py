"""What must hold of a results folder when its sweeps are over, however often their processes were killed.

`unsound` looks at the folder alone, not at how it came about: journals, ledger, stages and leases are held against each
other. It is for tests and measurements that kill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftlab.decide.compare import update_comparisons
from ftlab.events import EventType, Status
from ftlab.execute.attempts import hold_lease, list_attempts, read_end, run_folder
from ftlab.execute.coordinator import unfinished_runs
from ftlab.execute.experiments import experiment_folders, read_plan
from ftlab.store.journal import read_batch
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild
from ftlab.testing.fake_pipeline import read_work


def unsound(results: Path) -> list[str]:
    """All that is wrong, a sentence each; empty when every promise was kept.

    The ledger is held against the journals as the last session left it, and then built again from the files: the caller
    sees to it that nobody works in the folder.
    """
    journals = {path.relative_to(results).as_posix(): path for path in results.glob("*/runs/*/a*/events.jsonl")}
    events = {name: _lines(path) for name, path in journals.items()}
    with Ledger(results, update_comparisons) as ledger:
        live = dump_tables(ledger.connection)
        counted = list(_counts(ledger, events))
    rebuild(results, update_comparisons)
    with Ledger(results, update_comparisons) as ledger:
        again = dump_tables(ledger.connection)
    return [
        *_not_once(results),
        *counted,
        *_computed_twice(events),
        *_begun_when_complete(results),
        *_zombies(results, live),
        *(f"table {table} differs after a rebuild" for table in live if live[table] != again.get(table)),
    ]


def _not_once(results: Path) -> Iterator[str]:
    """Every planned run has one complete attempt, its last, and no attempt without an end."""
    for folder in experiment_folders(results):
        plan = read_plan(folder)
        yield from (f"run {run.run_id} is not done" for run in unfinished_runs(plan, results))
        for run in plan.runs:
            attempts = [
                attempt
                for attempt in list_attempts(run_folder(results, run))
                if (attempt / "events.jsonl").exists()  # one that was killed while its folder was made is none
            ]
            ends = [end.status if (end := read_end(attempt)) is not None else None for attempt in attempts]
            if ends.count(Status.COMPLETE) != 1 or ends[-1] is not Status.COMPLETE or None in ends:
                yield f"run {run.run_id} ended as {[str(end) for end in ends]}"


def _lines(journal: Path) -> tuple[list[dict[str, Any]], int]:
    """The events of a journal, and how many of its whole lines are none."""
    events: list[dict[str, Any]] = []
    offset = bad = 0
    while (batch := read_batch(journal, offset)).offset != offset:
        events += [line.event for line in batch.lines]
        offset, bad = batch.offset, bad + batch.bad_lines
    return events, bad


def _counts(ledger: Ledger, journals: dict[str, tuple[list[dict[str, Any]], int]]) -> Iterator[str]:
    """Each line of a journal was taken in, once, and each event that is a row is one row."""
    found = ledger.connection.execute(
        "SELECT path, lines, bad_lines FROM ingested_files WHERE path LIKE '%.jsonl'"
    ).fetchall()
    taken = {path: (lines, bad) for path, lines, bad in found if "/runs/" in path}
    for name, (events, bad) in journals.items():
        if taken.get(name, (0, 0)) != (len(events) + bad, bad):
            yield f"{name} has {len(events) + bad} lines, {bad} of them bad; the ledger took in {taken.get(name)}"
    kinds = Counter(event["type"] for events, _ in journals.values() for event in events)
    points = sum(
        len(event["values"]) for events, _ in journals.values() for event in events if event["type"] == EventType.CURVE
    )
    expected = {
        "curves": points,
        "stage_events": kinds[EventType.STAGE] + kinds[EventType.STAGE_STARTED],
        "attempts": sum(bool(events) for events, _ in journals.values()),
    }
    for table, number in expected.items():
        row = ledger.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        if row != (number,):
            yield f"the journals tell of {number} {table}, the ledger holds {row}"


def _computed_twice(journals: dict[str, tuple[list[dict[str, Any]], int]]) -> Iterator[str]:
    """Whoever computes a stage tells so in its journal; a second one means that a finished stage was lost."""
    computed = Counter(
        (event["kind"], event["key"])
        for events, _ in journals.values()
        for event in events
        if event["type"] == EventType.STAGE and not event["cached"]
    )
    yield from (f"{kind} {key} was computed {times} times" for (kind, key), times in computed.items() if times > 1)


def _begun_when_complete(results: Path) -> Iterator[str]:
    """Fakes log when they begin: never a stage that stood complete by then."""
    finished = {path.parent.name: path.stat().st_mtime for path in results.glob("stages/*/*/COMPLETE.json")}
    for line in read_work(results):
        if line["what"] == "begin" and line["ts"] > finished.get(line["key"], line["ts"]):
            yield f"{line['kind']} {line['key']} was begun again after it was complete"


def _zombies(results: Path, tables: dict[str, list[tuple[Any, ...]]]) -> Iterator[str]:
    for attempt in results.glob("*/runs/*/a*"):
        with hold_lease(attempt) as free:
            if not free:
                yield f"somebody still works on {attempt.relative_to(results)}"
    for table in ("runs", "attempts"):
        open_rows = [row for row in tables[table] if {Status.RUNNING, Status.WAITING} & {str(cell) for cell in row}]
        yield from (f"{table} has {row[:2]} as if it were still to come" for row in open_rows)
