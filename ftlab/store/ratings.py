"""Ratings in the ledger: taken in from their files like journals, and laid over a snapshot that has not got them yet.

People rate when no sweep works, and then nobody publishes. So a reader adds the lines that stand in the files behind
what its snapshot holds: every surface shows a rating as soon as it is on disk, and nobody but its rater writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from ftlab.execute.stages import is_identifier
from ftlab.store.rating_file import FOLDER, PairRating, RatingBatch, RatingLine, rating_files, read_ratings

Cursor = duckdb.DuckDBPyConnection

SCHEMA = pa.schema(
    [("path", pa.string()), ("line_offset", pa.int64())]
    + [(name, pa.string()) for name in ("experiment_id", "kind", "rater", "time", "split", "example_id")]
    + [(name, pa.string()) for name in ("arm_a", "key_a", "arm_b", "key_b", "choice")]
    + [("score", pa.float64())]
)


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One rating that counts: the last one of its rater on these outputs."""

    rater: str
    time: str
    split: str
    example_id: str
    kind: Literal["pair", "score"]
    arm_a: str
    key_a: str
    arm_b: str | None
    key_b: str | None
    choice: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Newer:
    """A ratings file with bytes that the snapshot has not taken in: what to read, and a key for what is cached."""

    path: str
    offset: int
    size: int


@dataclass(slots=True)
class RatingsRead:
    """What one tick of the ingester read of ratings."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    files: list[tuple[str, int, int, int]] = field(default_factory=list)
    """path, new offset, lines, bad lines"""
    more: bool = False


class RatingReader:
    """Notices new lines in the ratings files of one results folder."""

    def __init__(self, results: Path, offsets: Mapping[str, int]) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        """What is wrong with a file or folder, by its path, as of the last look."""
        self._offsets = {path: offset for path, offset in offsets.items() if f"/{FOLDER}/" in path}

    def read(self, experiments: Sequence[str]) -> RatingsRead:
        """The whole lines that the ledger lacks, in a fixed order."""
        found = RatingsRead()
        self.problems = {}
        for experiment in experiments:
            place = f"{experiment}/{FOLDER}"
            try:
                for place, size in rating_files(self.results, experiment):
                    offset = self._offsets.get(place, 0)
                    if size < offset:
                        self.problems[place] = f"it shrank from {offset} to {size} bytes; run `ftlab rebuild`"
                    elif size > offset:
                        self._take(found, experiment, place, offset, size)
            except OSError as error:
                self.problems[place] = error.strerror or type(error).__name__
        return found

    def advance(self, files: Iterable[tuple[str, int, int, int]]) -> None:
        """Remember how far the files are in the ledger."""
        self._offsets.update((path, offset) for path, offset, _, _ in files)

    def _take(self, found: RatingsRead, experiment: str, path: str, offset: int, size: int) -> None:
        batch = read_ratings(self.results / path, offset)
        if batch.torn:
            self.problems[path] = "its last line is not whole; the next rating in it mends that"
        if batch.offset == offset:
            return
        found.rows += _rows(experiment, path, batch.lines)
        found.files.append((path, batch.offset, len(batch.lines) + batch.bad_lines, batch.bad_lines))
        found.more |= batch.offset < size and not batch.torn


def _rows(experiment_id: str, path: str, lines: Iterable[RatingLine]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for offset, rating in lines:
        who = (path, offset, experiment_id, rating.kind, rating.rater, rating.time, rating.split, rating.example_id)
        if isinstance(rating, PairRating):
            rows.append((*who, rating.arm_a, rating.key_a, rating.arm_b, rating.key_b, rating.choice, None))
        else:
            rows.append((*who, rating.arm, rating.key, None, None, None, float(rating.score)))
    return rows


def rating_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows of the table `ratings` as Arrow."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * len(SCHEMA)
    return pa.table(columns, schema=SCHEMA)


def ingested(cursor: Cursor) -> dict[str, dict[str, int]]:
    """For each experiment in the ledger: how far each of its ratings files was taken in."""
    known: dict[str, dict[str, int]] = {
        row[0]: {} for row in cursor.execute("SELECT experiment_id FROM ledger.experiments").fetchall()
    }
    rows = cursor.execute(
        "SELECT path, byte_offset FROM ledger.ingested_files WHERE contains(path, ?)", [f"/{FOLDER}/"]
    ).fetchall()
    for path, offset in rows:
        known.get(path.partition("/")[0], {})[path] = offset
    return known


def newer_ratings(results: Path, known: Mapping[str, Mapping[str, int]]) -> tuple[Newer, ...]:
    """The ratings files that hold more than a snapshot, whose offsets are `known`. One folder listing an experiment."""
    found = []
    for experiment, offsets in sorted(known.items()):
        if not is_identifier(experiment):
            continue
        try:
            files = rating_files(results, experiment)
        except OSError:
            continue
        for path, size in files:
            if size > (offset := offsets.get(path, 0)):
                found.append(Newer(path, offset, size))
    return tuple(found)


def lay_ratings(cursor: Cursor, results: Path, newer: Sequence[Newer]) -> Cursor:
    """Lay the lines of these files over the tables that `cursor` reads, for this cursor alone; returns it."""
    if not newer:
        return cursor
    rows: list[tuple[Any, ...]] = []
    files: list[tuple[str, int, int, int]] = []
    for one in newer:
        batches = _batches(str(results), one)
        for batch in batches:
            rows += _rows(one.path.partition("/")[0], one.path, batch.lines)
        bad = sum(batch.bad_lines + batch.torn for batch in batches)
        files.append((one.path, one.size, sum(len(batch.lines) for batch in batches) + bad, bad))
    columns = [list(column) for column in zip(*files, strict=True)]
    cursor.register("newer_ratings", rating_table(rows))
    cursor.register(
        "newer_files", pa.table(dict(zip(("path", "byte_offset", "lines", "bad_lines"), columns, strict=True)))
    )
    # Names of temporary views go before those of the snapshot.
    cursor.execute(
        """
        CREATE TEMP VIEW ratings AS SELECT * FROM ledger.ratings UNION ALL BY NAME SELECT * FROM newer_ratings;
        CREATE TEMP VIEW ingested_files AS SELECT path, max(byte_offset) AS byte_offset, sum(lines)::BIGINT AS lines,
            sum(bad_lines)::BIGINT AS bad_lines
        FROM (SELECT * FROM ledger.ingested_files UNION ALL BY NAME SELECT * FROM newer_files) GROUP BY path
        """
    )
    return cursor


@lru_cache(maxsize=64)
def _batches(results: str, one: Newer) -> tuple[RatingBatch, ...]:
    """What stands between two offsets of a file, which never changes."""
    found: list[RatingBatch] = []
    offset = one.offset
    try:
        while offset < one.size:
            found.append(read_ratings(Path(results) / one.path, offset, one.size))
            if found[-1].offset == offset:
                break
            offset = found[-1].offset
    except OSError:
        pass
    return tuple(found)


def latest_ratings(cursor: Cursor, experiment_id: str) -> list[RatingRow]:
    """The ratings of an experiment that count, by rater, split and example.

    A later line of the same rater on the same outputs replaces an earlier one, in whatever order the pair was named.
    """
    found = cursor.execute(
        """
        SELECT rater, "time", split, example_id, kind, arm_a, key_a, arm_b, key_b, choice, score FROM ratings
        WHERE experiment_id = ?
        QUALIFY row_number() OVER (
            PARTITION BY rater, split, example_id, kind, least(key_a, key_b), greatest(key_a, key_b)
            ORDER BY path DESC, line_offset DESC) = 1
        ORDER BY rater, split, example_id, kind, key_a, key_b
        """,
        [experiment_id],
    ).fetchall()
    return [RatingRow(*row) for row in found]


def bad_rating_lines(cursor: Cursor, experiment_id: str) -> int:
    """How many lines of the experiment's ratings files are no ratings."""
    row = cursor.execute(
        "SELECT coalesce(sum(bad_lines), 0) FROM ingested_files WHERE starts_with(path, ?)",
        [f"{experiment_id}/{FOLDER}/"],
    ).fetchone()
    return int(row[0]) if row else 0


def rateable(cursor: Cursor, dataset: str, split: str, keys: Sequence[str]) -> tuple[list[str], int]:
    """The examples whose outputs under one or two predictions somebody can rate, in the order of the split.

    Of a pair, those with different outputs: nobody can prefer one of two equal answers. Second, how many have equal
    ones.
    """
    first, last = keys[0], keys[-1]
    rows = cursor.execute(
        """
        SELECT e.example_id, p.output IS NOT DISTINCT FROM q.output FROM examples AS e
        JOIN predictions AS p ON p.key = $first AND p.example_id = e.example_id
        JOIN predictions AS q ON q.key = $last AND q.example_id = e.example_id
        WHERE e.dataset_key = $dataset AND e.split = $split ORDER BY e.position
        """,
        {"first": first, "last": last, "dataset": dataset, "split": split},
    ).fetchall()
    if len(set(keys)) == 1:
        return [example for example, _ in rows], 0
    return [example for example, same in rows if not same], sum(same for _, same in rows)
