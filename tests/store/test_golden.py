"""Ledgers of released versions open in this one. A file in `tests/golden/` is never replaced: each release adds its
own.

Each holds `make_results(examples=12, items=6, curve_points=8)` with its comparisons, copied into blocks of 16 KiB; from
version 2 on with one opening of the test rows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from ftlab.decide.build import build_view
from ftlab.errors import UsageError
from ftlab.store import queries
from ftlab.store.ledger import LEDGER_FILE, Ledger
from ftlab.store.migrations import VERSION, stored_version
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.golden import write_golden

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("ledger-v*.duckdb"))


def test_every_version_of_the_schema_has_a_golden_ledger() -> None:
    assert [path.name for path in GOLDEN] == [f"ledger-v{version}.duckdb" for version in range(1, VERSION + 1)]


def test_the_command_makes_the_one_of_this_version_and_replaces_none(tmp_path: Path) -> None:
    made = write_golden(tmp_path)
    assert made.name == GOLDEN[-1].name
    with pytest.raises(UsageError, match="never replaced"):
        write_golden(tmp_path)
    columns = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    runs = "SELECT status, count(*) FROM runs GROUP BY ALL ORDER BY ALL"
    told = []
    for golden in (made, GOLDEN[-1]):
        with duckdb.connect(str(golden), read_only=True) as connection:
            told.append([connection.execute(sql).fetchall() for sql in (columns, runs)])
    assert told[0] == told[1]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_a_stored_ledger_opens_and_answers(golden: Path, tmp_path: Path) -> None:
    shutil.copy(golden, tmp_path / LEDGER_FILE)
    with Ledger(tmp_path) as ledger:
        assert ledger.messages == []
        assert stored_version(ledger.connection) == VERSION
        ledger.publish()
    with open_snapshot(tmp_path) as snapshot:
        cursor = snapshot.cursor()
        (experiment,) = queries.experiments(cursor)
        assert experiment.by_status == {"complete": 7, "failed": 1, "running": 1}
        rows = queries.runs(cursor, experiment.experiment_id)
        assert [row.label for row in rows][:2] == ["zero_shot", "labels_listed"]
        assert all(0 < row.metrics["validation/accuracy"] < 1 for row in rows if row.status == "complete")
        looks = cursor.execute("SELECT number, looks FROM test_openings").fetchall()
        assert looks == ([] if golden.stem == "ledger-v1" else [(1, 1)])
        assert queries.curves(cursor, [rows[5].run_id], ["train/loss"])


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_a_snapshot_that_an_older_version_published_is_read_as_it_is(golden: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    shutil.copy(golden, folder / "1.duckdb")
    (folder / "CURRENT").write_text("1")
    before = (folder / "1.duckdb").read_bytes()
    with open_snapshot(tmp_path) as snapshot:
        cursor = snapshot.cursor()
        (experiment,) = queries.experiments(cursor)
        view = build_view(cursor, experiment.experiment_id, snapshot.number)
        assert view.conclusion.sentence
        assert len(view.openings) == (0 if golden.stem == "ledger-v1" else 1)
    assert (folder / "1.duckdb").read_bytes() == before
