"""Figures by label out of a snapshot: they agree with what the scorer wrote beside its scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.execute.stages import StageStore
from ftlab.store import queries
from ftlab.store.classes import NOTHING, ClassReport, ClassRow, Share, class_reports
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import rebuild
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import make_results


@pytest.fixture(scope="module", params=[False, True], ids=["ordinary", "hostile"])
def published(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, str]:
    results = tmp_path_factory.mktemp("results")
    experiment = make_results(results, hostile=request.param, examples=40, benchmarks=())
    with Ledger(results) as ledger:
        ledger.catch_up()
        ledger.publish()
    return results, experiment


def read(results: Path, experiment: str) -> dict[str, list[ClassReport]]:
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        return {run.run_id: class_reports(cursor, run.run_id) for run in queries.runs(cursor, experiment)}


def test_they_are_what_the_scorer_counted(published: tuple[Path, str]) -> None:
    results, experiment = published
    found = read(results, experiment)
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        details = {
            run.run_id: json.loads((stage.path / "details.json").read_bytes())
            for run in queries.runs(cursor, experiment)
            for row in queries.stages(cursor, run.run_id)
            if row.kind == "scores" and (stage := StageStore(results).complete("scores", row.key))
        }
    assert len(details) == 7
    assert [reports for run_id, reports in found.items() if run_id not in details] == [[], []]
    for run_id, detail in details.items():
        (report,) = found[run_id]
        assert report.split == "validation"
        labels, counts = detail["confusion"]["labels"], detail["confusion"]["counts"]
        order = sorted(range(len(labels)), key=labels.__getitem__)
        assert report.labels == sorted(labels)
        assert report.confusion == [[counts[row][column] for column in [*order, -1]] for row in order]
        for row in report.rows:
            figures = detail["per_class"][row.label]
            assert row.support == figures["support"]
            assert (row.recall.value, row.precision.value) == (figures["recall"], figures["precision"])
            for share in (row.recall, row.precision):
                assert share.value is None or share.low <= share.value <= share.high
    assert any(row[-1] for reports in found.values() for report in reports for row in report.confusion)


def test_a_rebuild_gives_the_same(published: tuple[Path, str]) -> None:
    results, experiment = published
    before = read(results, experiment)
    rebuild(results)
    assert read(results, experiment) == before


def test_without_the_rows_of_the_scores_there_are_figures_and_no_confusion(published: tuple[Path, str]) -> None:
    results, _ = published
    with Ledger(results) as ledger:
        (run_id,) = ledger.connection.execute("SELECT run_id FROM metrics LIMIT 1").fetchone()
        ledger.connection.execute("BEGIN; DELETE FROM scores")
        (report,) = class_reports(ledger.connection, run_id)
        ledger.connection.execute("ROLLBACK")
    assert report.rows
    assert report.confusion == []
    assert report.mistake(0) is None


def test_the_most_frequent_mistake_is_the_largest_count_beside_the_diagonal() -> None:
    rows = [ClassRow(label, 9, Share(0.5, 0.1, 0.9, 9), NOTHING) for label in ("a", "b")]
    report = ClassReport("test", rows, [[5, 1, 3], [0, 9, 0]])
    assert report.mistake(0) == (None, 3)
    assert report.mistake(1) is None
    assert ClassReport("test", rows, [[5, 3, 1], [0, 9, 0]]).mistake(0) == ("b", 3)
