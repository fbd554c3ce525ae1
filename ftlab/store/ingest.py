"""One tick of the ingester: what is new in the files enters the ledger with the offsets it was read up to, or nothing.

Rows and offsets are committed together, so an event counts once however often the process dies. Nothing in a row comes
from the time or the order of reading: whatever the journals are read in, the same ledger results. Where several events
speak of one thing, the latest counts, by (attempt, place in the journal) or by time stamp, never by arrival.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ftlab.execute.stages import StageStore
from ftlab.store.apply import insert, insert_offsets, insert_rows, settle
from ftlab.store.artifacts import LOADED_KINDS, Artifact, ArtifactError, read_artifact
from ftlab.store.journal import read_batch
from ftlab.store.judgements import JudgementReader, KeptJudgement, insert_judgement
from ftlab.store.migrations import transaction
from ftlab.store.openings import KeptOpening, OpeningReader, insert_opening
from ftlab.store.plans import KeptPlan, PlanKeeper, insert_plan
from ftlab.store.ratings import RatingReader, RatingsRead, rating_table
from ftlab.store.rows import Rows, StageDone, arrow
from ftlab.store.scan import Growth, Scanner

TICK_BYTES = 16 * 1024 * 1024
"""About how much of the journals one tick takes in: it bounds the memory, and how long a kill can set back."""

Derive = Callable[[duckdb.DuckDBPyConnection], object]
"""Fills the tables that are computed from others, in transactions of its own; called again, it changes nothing."""

UNREADABLE = "unreadable_folder"
MISSING_ARTIFACT = "unreadable_artifact"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one tick took in."""

    lines: int = 0
    bad_lines: int = 0
    plans: int = 0
    openings: int = 0
    judgements: int = 0
    more: bool = False
    """Whether there is more to take in at once."""
    problems: tuple[str, ...] = ()
    """What could not be read, each with its place; it is tried again at the next tick."""

    @property
    def changed(self) -> bool:
        """Whether the ledger changed."""
        return bool(self.lines or self.bad_lines or self.plans or self.openings or self.judgements)


@dataclass(slots=True)
class _Reading:
    """What was read outside the transaction."""

    rows: Rows = field(default_factory=Rows)
    files: list[tuple[str, int, int, int]] = field(default_factory=list)
    """path, new offset, lines, bad lines"""
    finished: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    """The experiment of each run that was read."""
    more: bool = False


class Ingester:
    """Takes the files of one results folder into an open ledger."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, results: Path, derive: Derive | None) -> None:
        self._connection = connection
        self._results = results
        self._derive = derive
        self._stages = StageStore(results)
        known = connection.execute("SELECT path, byte_offset FROM ingested_files").fetchall()
        self._scanner = Scanner(results, {path: offset for path, offset in known if path.endswith(".jsonl")})
        documents = [path for path, _ in known if not path.endswith(".jsonl")]
        self._plans = PlanKeeper(results, documents)
        self._openings = OpeningReader(results, documents)
        self._judgements = JudgementReader(results, documents)
        self._ratings = RatingReader(results, dict(known))
        self._loaded = set(connection.execute("SELECT kind, key FROM stages WHERE loaded").fetchall())
        self._marked = set(
            connection.execute("SELECT run_id, message FROM warnings WHERE code = ?", [UNREADABLE]).fetchall()
        )
        self._problems: dict[str, str] = {}
        self._underived = True
        """Whether facts arrived since the last derivation, as they may have before the last process was killed."""

    def tick(self, thorough: bool = False) -> Ingested:
        """Take in what is new, in one transaction. `thorough` also looks at journals whose end was read before."""
        experiments = self._scanner.experiments()
        plans = self._plans.pending(experiments)
        openings = self._openings.pending(experiments)
        judgements = self._judgements.pending(experiments)
        grown = self._scanner.grown(thorough)
        ratings = self._ratings.read(experiments)
        self._problems = self._plans.problems | self._openings.problems | self._judgements.problems
        self._problems |= self._scanner.problems | self._ratings.problems
        reading = self._read(grown, self._owners(plans, grown))
        marks = {
            (run, f"the folder of this run cannot be read: {why}") for (_, run), why in self._scanner.unreadable.items()
        }
        if plans or openings or judgements or reading.files or ratings.files or marks != self._marked:
            try:
                loaded = self._commit(plans, openings, judgements, reading, ratings, marks)
            except BaseException:
                self._plans.forget()
                raise
            self._plans.advance([kept.name for kept in plans])
            self._openings.advance([kept.name for kept in openings])
            self._judgements.advance([kept.name for kept in judgements])
            self._ratings.advance(ratings.files)
            for path, offset, _, _ in reading.files:
                self._scanner.advance(path, offset, path in reading.finished)
            self._loaded |= loaded
            self._marked = marks
            self._underived |= bool(plans or openings or judgements or reading.rows.done or reading.finished)
        # After the commit: a defect in what is derived must not keep facts out. It is tried again until it succeeds.
        if self._underived and not reading.more:
            if self._derive is not None:
                with self._connection.cursor() as cursor:
                    self._derive(cursor)
            self._underived = False
        return Ingested(
            lines=sum(lines for _, _, lines, _ in (*reading.files, *ratings.files)),
            bad_lines=sum(bad for _, _, _, bad in (*reading.files, *ratings.files)),
            plans=len(plans),
            openings=len(openings),
            judgements=len(judgements),
            more=reading.more or ratings.more,
            problems=tuple(f"{place}: {why}" for place, why in sorted(self._problems.items())),
        )

    def _owners(self, plans: list[KeptPlan], grown: list[Growth]) -> dict[str, str]:
        """The experiment that each run belongs to, as far as plans and ledger know."""
        owners: dict[str, str] = {}
        if grown:
            self._connection.register(
                "arriving", pa.table({"run_id": list({growth.journal.run_id for growth in grown})})
            )
            known = "SELECT run_id, experiment_id FROM runs JOIN arriving USING (run_id)"
            owners.update(self._connection.execute(known).fetchall())
            self._connection.unregister("arriving")
        owners.update((run.run_id, kept.plan.experiment_id) for kept in plans for run in kept.plan.runs)
        return owners

    def _read(self, grown: list[Growth], owners: dict[str, str]) -> _Reading:
        reading = _Reading()
        taken = 0
        for growth in grown:
            journal = growth.journal
            if taken >= TICK_BYTES:
                reading.more = True
                break
            if growth.size < growth.offset:
                self._problems[journal.name] = (
                    f"it shrank from {growth.offset} to {growth.size} bytes; run `ftlab rebuild`"
                )
                continue
            if owners.setdefault(journal.run_id, journal.experiment_id) != journal.experiment_id:
                self._problems[journal.name] = _foreign(journal.run_id, owners[journal.run_id])
                continue
            try:
                batch = read_batch(self._results / journal.name, growth.offset, TICK_BYTES - taken)
            except OSError as error:
                self._scanner.unreadable[journal.experiment_id, journal.run_id] = error.strerror or type(error).__name__
                continue
            if batch.offset == growth.offset:
                continue
            bad = batch.bad_lines
            for line in batch.lines:
                bad += not reading.rows.add(journal, line)
            taken += batch.offset - growth.offset
            reading.more |= batch.offset < growth.size and taken >= TICK_BYTES
            reading.owners[journal.run_id] = journal.experiment_id
            reading.files.append((journal.name, batch.offset, len(batch.lines) + batch.bad_lines, bad))
            if reading.rows.ended(journal):
                reading.finished.add(journal.name)
        return reading

    def _commit(
        self,
        plans: list[KeptPlan],
        openings: list[KeptOpening],
        judgements: list[KeptJudgement],
        reading: _Reading,
        ratings: RatingsRead,
        marks: set[tuple[str, str]],
    ) -> set[tuple[str, str]]:
        """Everything in one transaction; returns the stages whose rows were loaded."""
        connection = self._connection
        artifacts = self._load(reading.rows)
        with transaction(connection):
            touched: set[str] = set()
            for kept in plans:
                touched.update(insert_plan(connection, kept))
            for opening in openings:
                insert_opening(connection, opening)
            for judgement in judgements:
                insert_judgement(connection, judgement)
            insert(connection, "INSERT INTO ratings BY NAME SELECT * FROM arriving", rating_table(ratings.rows))
            touched |= self._ensure_runs({run: experiment for (experiment, run) in self._scanner.unreadable})
            touched |= self._ensure_runs(reading.owners)
            insert_rows(connection, reading.rows)
            for artifact in artifacts:
                artifact.insert(connection)
                connection.execute(
                    "UPDATE stages SET loaded = true WHERE kind = ? AND key = ?", [artifact.kind, artifact.key]
                )
                connection.execute("DELETE FROM warnings WHERE artifact = ?", [f"{artifact.kind}/{artifact.key}"])
            self._mark(marks)
            documents = [
                *((kept.name, kept.size) for kept in plans),
                *((one.name, one.size) for one in openings),
                *((one.name, one.size) for one in judgements),
            ]
            insert_offsets(
                connection, [*reading.files, *ratings.files, *((name, size, 1, 0) for name, size in documents)]
            )
            settle(connection, touched | {run for run, _ in reading.rows.attempts})
        return {(artifact.kind, artifact.key) for artifact in artifacts}

    def _load(self, rows: Rows) -> list[Artifact]:
        """The artifacts that the ledger lacks or that were computed anew. One that cannot be read becomes a warning."""
        wanted: dict[tuple[str, str], list[StageDone]] = {}
        for done in rows.done:
            if done.kind in LOADED_KINDS:
                wanted.setdefault((done.kind, done.key), []).append(done)
        artifacts: list[Artifact] = []
        for (kind, key), events in wanted.items():
            if (kind, key) in self._loaded and all(event.cached for event in events):
                continue
            try:
                artifacts.append(read_artifact(self._stages, kind, key, events[0].name))
            except ArtifactError as error:
                rows.warnings.extend(
                    (event.run_id, event.attempt, MISSING_ARTIFACT, str(error), None, event.ts, f"{kind}/{key}")
                    for event in events
                )
        return artifacts

    def _ensure_runs(self, owners: dict[str, str]) -> set[str]:
        """A row for every run with a folder, also where no plan has it: what its first readable config says of it."""
        if not owners:
            return set()
        self._connection.register("arriving", pa.table({"run_id": sorted(owners)}))
        known = self._connection.execute("SELECT run_id FROM runs JOIN arriving USING (run_id)").fetchall()
        self._connection.unregister("arriving")
        missing = sorted(owners.keys() - {run for (run,) in known})
        rows = []
        for run in missing:
            config = _config(self._results / owners[run] / "runs" / run)
            text = json.dumps(config) if config else None
            rows.append((run, owners[run], config.get("arm_id"), config.get("seed"), text))
        insert(
            self._connection,
            "INSERT INTO runs BY NAME SELECT *, 'waiting' AS status, false AS current FROM arriving",
            arrow("runs", rows),
        )
        return set(missing)

    def _mark(self, marks: set[tuple[str, str]]) -> None:
        if marks != self._marked:
            self._connection.execute("DELETE FROM warnings WHERE code = ?", [UNREADABLE])
            rows = [(run, None, UNREADABLE, message, None, None, None) for run, message in sorted(marks)]
            insert(self._connection, "INSERT INTO warnings BY NAME SELECT * FROM arriving", arrow("warnings", rows))


def _foreign(run: str, experiment: str) -> str:
    return f"run {run} belongs to {experiment}; a copied folder is no experiment of its own"


def _config(run: Path) -> dict[str, Any]:
    """The config of the first attempt that has a readable one."""
    attempts = sorted((path for path in run.glob("a*") if path.name[1:].isdigit()), key=lambda path: int(path.name[1:]))
    for attempt in attempts:
        try:
            config = json.loads((attempt / "config.json").read_bytes())
            if isinstance(config, dict) and isinstance(config["arm_id"], str) and type(config["seed"]) is int:
                return config
        except (OSError, ValueError, KeyError):
            continue
    return {}
