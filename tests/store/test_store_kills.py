"""Promise 1 for the store: writers and ingester killed at random instants, every whole line is one row, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from journal_folder import attempt, plan_of, put_plan

from ftlab.store.journal import EventWriter, read_batch
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild
from ftlab.testing.invented_plan import ARMS

DRIVER = Path(__file__).parent / "kill_driver.py"
KILLS = 40


@pytest.mark.parametrize("seed", [1])
def test_lines_are_rows_are_distinct_however_often_anything_is_killed(tmp_path: Path, seed: int) -> None:
    plan = plan_of(ARMS[:3])
    put_plan(tmp_path, plan)
    for run in range(3):
        attempt(tmp_path, plan, run).close()
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), str(seed), str(KILLS), "0.2"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    said = json.loads(done.stdout)
    assert said["failed_reads"] == 0
    journals = sorted(tmp_path.glob("*/runs/*/a1/events.jsonl"))
    whole: dict[str, int] = {}
    bad = 0
    for journal, sure in zip(journals, said["sure"], strict=True):
        EventWriter(journal).close()  # any torn tail stays torn: nothing is written
        steps: list[int] = []
        offset = 0
        while (batch := read_batch(journal, offset)).offset != offset:
            offset = batch.offset
            bad += batch.bad_lines
            steps += [line.event["step"] for line in batch.lines if line.event["type"] == "curve"]
        assert len(set(steps)) == len(steps) >= sure
        assert sure > 0
        whole[journal.parts[-3]] = len(steps)
    with Ledger(tmp_path) as ledger:
        assert ledger.messages == []
        ledger.catch_up()
        rows = ledger.connection.execute(
            "SELECT run_id, count(*), count(DISTINCT step) FROM curves GROUP BY run_id"
        ).fetchall()
        assert {run: (count, distinct) for run, count, distinct in rows} == {
            run: (count, count) for run, count in whole.items()
        }
        told = ledger.connection.execute(
            "SELECT sum(lines), sum(bad_lines) FROM ingested_files WHERE path LIKE '%.jsonl'"
        ).fetchall()
        assert told == [(sum(whole.values()) + 3 + bad, bad)]
        live = dump_tables(ledger.connection)
    rebuild(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert dump_tables(ledger.connection) == live
