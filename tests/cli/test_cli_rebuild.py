"""`ftlab rebuild`: says what it read, and refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.cli.main import main
from ftlab.execute.hold import hold_results
from ftlab.store.snapshot import current_number, open_snapshot
from ftlab.testing.journals import ARMS, make_results


def test_rebuild_makes_ledger_comparisons_and_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_results(tmp_path, arms=ARMS[:2], examples=8, items=4, hostile=True)
    journal = next(tmp_path.glob("*/runs/*/a1/events.jsonl"))
    with journal.open("ab") as file:
        file.write(b"\x1b[31mgarbage\n")
    assert main(["rebuild", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 experiment, 2 runs" in out
    assert "1 bad line left out; snapshot 1" in out
    with open_snapshot(tmp_path) as snapshot:
        assert snapshot.cursor().execute("SELECT count(*) > 0 FROM comparisons").fetchall() == [(True,)]
    assert main(["rebuild", "--results", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["snapshot"] == 2 == current_number(tmp_path)


def test_rebuild_is_refused_without_results_or_while_a_sweep_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rebuild", "--results", str(tmp_path)]) == 2
    assert "no results in" in capsys.readouterr().err
    make_results(tmp_path, arms=ARMS[:1], examples=6, items=2)
    with hold_results(tmp_path):
        assert main(["rebuild", "--results", str(tmp_path)]) == 2
    assert "in use by another `ftlab run`" in capsys.readouterr().err
