"""Ledgers of released versions open in this one. A file in `tests/golden/` is never replaced: each release adds its
own.

Each holds `make_results(examples=12, items=6, curve_points=8)` with its comparisons, copied into blocks of 16 KiB; from
version 2 on with one opening of the test rows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ftlab.decide.build import build_view
from ftlab.store import queries
from ftlab.store.ledger import LEDGER_FILE, Ledger
from ftlab.store.migrations import VERSION, stored_version
from ftlab.store.snapshot import open_snapshot

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("ledger-v*.duckdb"))


def test_every_version_of_the_schema_has_a_golden_ledger() -> None:
    assert [path.name for path in GOLDEN] == [f"ledger-v{version}.duckdb" for version in range(1, VERSION + 1)]


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
