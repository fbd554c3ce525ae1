"""Openings of the test rows in the ledger: each file is read once, like a plan."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ftlab.errors import StorageError
from ftlab.execute.openings import FOLDER, NAME, read_opening
from ftlab.plan.opening import Opening


@dataclass(frozen=True, slots=True)
class KeptOpening:
    """One opening and its file."""

    name: str
    """The path from the results folder, with `/`."""
    size: int
    opening: Opening


class OpeningReader:
    """Notices new openings in the experiments of one results folder. A folder that has not changed is not listed."""

    def __init__(self, results: Path, ingested: Collection[str]) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        """What is wrong with an opening, by the path of its file, as of the last look."""
        self._ingested = set(ingested)
        self._seen: dict[str, int] = {}

    def pending(self, experiments: list[str]) -> list[KeptOpening]:
        """The openings that the ledger lacks, by experiment and number."""
        found: list[KeptOpening] = []
        for experiment in experiments:
            folder = self.results / experiment / FOLDER
            try:
                changed = os.stat(folder).st_mtime_ns
            except OSError:
                continue
            if self._seen.get(experiment) == changed:
                continue
            new = self._look(experiment, folder)
            found += new
            if not new:
                self._seen[experiment] = changed
        return found

    def advance(self, names: list[str]) -> None:
        """Remember that these openings are in the ledger."""
        self._ingested.update(names)

    def _look(self, experiment: str, folder: Path) -> list[KeptOpening]:
        found = []
        for file in sorted(name for name in os.listdir(folder) if NAME.fullmatch(name)):
            name = f"{experiment}/{FOLDER}/{file}"
            if name in self._ingested:
                continue
            self.problems.pop(name, None)
            try:
                opening = read_opening(folder / file)
                if opening.experiment_id != experiment:
                    raise StorageError(f"it is an opening of {opening.experiment_id}")
                found.append(KeptOpening(name, (folder / file).stat().st_size, opening))
            except (OSError, StorageError) as error:
                self.problems[name] = str(error)
        return found


def insert_opening(connection: duckdb.DuckDBPyConnection, kept: KeptOpening) -> None:
    """One row of `test_openings`. Within the caller's transaction."""
    one = kept.opening
    connection.execute(
        "INSERT OR REPLACE INTO test_openings BY NAME SELECT ? AS experiment_id, ? AS number, ? AS ts, ? AS who, "
        "? AS why, ? AS dataset_key, ? AS content, ? AS looks, ? AS opening_json",
        [
            one.experiment_id, one.number, one.ts, one.who, one.why, one.dataset, one.content, one.looks,
            one.model_dump_json(),
        ],
    )  # fmt: skip
