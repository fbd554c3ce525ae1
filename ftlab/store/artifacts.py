"""Loading the artifacts of stages into the ledger: rows of parquet files, checked before DuckDB sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ftlab.execute.stages import StageStore

_TEXT, _INT, _REAL = pa.string(), pa.int64(), pa.float64()


@dataclass(frozen=True, slots=True)
class _Source:
    """One file of an artifact and the table that its rows go to."""

    file: str
    table: str
    columns: tuple[tuple[str, pa.DataType], ...]
    required: tuple[str, ...]
    split: str | None = None
    optional: bool = False
    """Whether an artifact may lack the file; it then has no such rows."""


_EXAMPLES = (("example_id", _TEXT), ("position", _INT), ("text", _TEXT), ("fields", _TEXT), ("target", _TEXT))
_SOURCES: dict[str, tuple[_Source, ...]] = {
    "dataset": tuple(
        _Source(f"{split}.parquet", "examples", _EXAMPLES, ("example_id", "position"), split)
        for split in ("train", "validation", "test")
    ),
    "predictions": (
        _Source(
            "predictions.parquet",
            "predictions",
            (
                ("example_id", _TEXT),
                ("output", _TEXT),
                ("prompt_tokens", _INT),
                ("output_tokens", _INT),
                ("seconds", _REAL),
                ("finish", _TEXT),
                ("label_logprobs", _TEXT),
            ),
            ("example_id",),
        ),
    ),
    "scores": (
        _Source(
            "scores.parquet",
            "scores",
            (("example_id", _TEXT), ("metric", _TEXT), ("score", _REAL), ("parsed", _TEXT)),
            ("example_id", "metric"),
        ),
    ),
    "benchmark": (
        _Source(
            "items.parquet",
            "bench_items",
            (("doc_hash", _TEXT), ("doc_id", _INT), ("metric", _TEXT), ("score", _REAL)),
            ("doc_hash", "metric"),
        ),
        _Source(
            "outputs.parquet",
            "bench_outputs",
            (
                ("doc_hash", _TEXT),
                ("doc_id", _INT),
                ("prompt", _TEXT),
                ("output", _TEXT),
                ("output_tokens", _INT),
                ("finish", _TEXT),
            ),
            ("doc_hash",),
            optional=True,
        ),
    ),
}

LOADED_KINDS = frozenset(_SOURCES)
"""The kinds of stages whose rows the ledger holds."""


class ArtifactError(Exception):
    """An artifact that cannot be loaded; the message says why, and is the same whenever that is asked."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """The checked rows of one stage, ready to be inserted."""

    kind: str
    key: str
    name: str
    tables: tuple[pa.Table, ...]

    def insert(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put the rows in place of whatever the ledger held of this stage."""
        column = "dataset_key" if self.kind == "dataset" else "key"
        for table in {source.table for source in _SOURCES[self.kind]}:
            connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [self.key])
        for source, rows in zip(_SOURCES[self.kind], self.tables, strict=True):
            connection.register("arriving", rows)
            connection.execute(_insertion(source), self._values(source))
            connection.unregister("arriving")

    def _values(self, source: _Source) -> list[str]:
        if source.split is not None:
            return [self.key, source.split]
        return [self.key, self.name] if source.table.startswith("bench_") else [self.key]


def _insertion(source: _Source) -> str:
    """Every part of this text is a constant of this module."""
    of_task = "? AS key, ? AS task"
    fixed = {"examples": "? AS dataset_key, ? AS split", "bench_items": of_task, "bench_outputs": of_task}.get(
        source.table, "? AS key"
    )
    # A number that is not finite has no place in the ledger: missing is NULL.
    columns = ", ".join(
        f"CASE WHEN isfinite({name}) THEN {name} END AS {name}"
        if kind == _REAL
        else f"{name} AS {'fields_json' if name == 'fields' else name}"
        for name, kind in source.columns
    )
    return f"INSERT INTO {source.table} BY NAME SELECT {fixed}, {columns} FROM arriving"


def read_artifact(stages: StageStore, kind: str, key: str, name: str) -> Artifact:
    """The rows of a stage on disk. Raises ArtifactError when it is not complete there or its files do not fit."""
    record = stages.complete(kind, key)
    if record is None:
        raise ArtifactError(f"the {kind} stage {key} is not complete on disk, so its rows are missing here")
    return Artifact(kind, key, name, tuple(_read(record.path, source) for source in _SOURCES[kind]))


def _read(folder: Path, source: _Source) -> pa.Table:
    names = [name for name, _ in source.columns]
    if source.optional and not (folder / source.file).exists():
        return pa.schema(source.columns).empty_table()
    try:
        # Read from one open file: a path would be parsed for partitions, and is nobody's business here.
        with (folder / source.file).open("rb") as file:
            table = pq.ParquetFile(file).read(columns=names)
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise ArtifactError(f"{source.file} of stage {folder.name} lacks the column {missing[0]}")
        table = table.select(names).cast(pa.schema(source.columns))
        table.validate(full=True)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ArtifactError(f"{source.file} of stage {folder.name} cannot be read ({type(error).__name__})") from error
    for name in source.required:
        if table.column(name).null_count:
            raise ArtifactError(f"{source.file} of stage {folder.name} has rows without {name}")
    return table
