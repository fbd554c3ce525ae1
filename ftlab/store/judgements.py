"""What a judge said in the ledger: each record is read once, with the scores that it names."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ftlab.errors import StorageError
from ftlab.execute.judgements import FOLDER, KIND, NAME, SCORES_FILE, JudgeRecord, read_judgement
from ftlab.execute.stages import StageStore


@dataclass(frozen=True, slots=True)
class KeptJudgement:
    """One record, its file, and the scores of each stage that it names."""

    name: str
    """The path from the results folder, with `/`."""
    size: int
    record: JudgeRecord
    scores: dict[str, pa.Table]


class JudgementReader:
    """Notices new records of the judge in the experiments of one results folder."""

    def __init__(self, results: Path, ingested: Collection[str]) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        """What is wrong with a record, by the path of its file, as of the last look."""
        self._stages = StageStore(results)
        self._ingested = set(ingested)

    def pending(self, experiments: list[str]) -> list[KeptJudgement]:
        """The records that the ledger lacks, by experiment and number."""
        self.problems = {}
        found: list[KeptJudgement] = []
        for experiment in experiments:
            try:
                files = sorted(name for name in os.listdir(self.results / experiment / FOLDER) if NAME.fullmatch(name))
            except OSError:
                continue
            for file in files:
                name = f"{experiment}/{FOLDER}/{file}"
                if name not in self._ingested:
                    found += self._read(experiment, name)
        return found

    def advance(self, names: list[str]) -> None:
        """Remember that these records are in the ledger."""
        self._ingested.update(names)

    def _read(self, experiment: str, name: str) -> list[KeptJudgement]:
        path = self.results / name
        try:
            record = read_judgement(path)
            if record.experiment_id != experiment:
                raise StorageError(f"it is a record of {record.experiment_id}")
            scores = {run.stage: self._scores(run.stage) for run in record.runs}
            return [KeptJudgement(name, path.stat().st_size, record, scores)]
        except (OSError, StorageError) as error:
            self.problems[name] = str(error)
            return []

    def _scores(self, key: str) -> pa.Table:
        missing = f"the scores in stages/{KIND}/{key} are missing or damaged; run `ftlab judge` again"
        try:
            stage = self._stages.complete(KIND, key)
            if stage is None:
                raise StorageError(missing)
            table = pq.read_table(stage.path / SCORES_FILE, columns=["example_id", "score"])
            return table.cast(pa.schema([("example_id", pa.string()), ("score", pa.float64())]))
        except (ValueError, KeyError, pa.ArrowException) as error:
            raise StorageError(missing) from error


def insert_judgement(connection: duckdb.DuckDBPyConnection, kept: KeptJudgement) -> None:
    """One row of `judgements`, and the scores of its pairs. Within the caller's transaction."""
    one = kept.record
    connection.execute(
        "INSERT OR REPLACE INTO judgements BY NAME SELECT ? AS experiment_id, ? AS number, ? AS ts, ? AS split, "
        "? AS record_json",
        [one.experiment_id, one.number, one.ts, one.split, one.model_dump_json()],
    )
    for key, table in kept.scores.items():
        connection.execute("DELETE FROM judge_scores WHERE key = ?", [key])
        connection.register("arriving", table)
        connection.execute("INSERT INTO judge_scores BY NAME SELECT ? AS key, example_id, score FROM arriving", [key])
        connection.unregister("arriving")
