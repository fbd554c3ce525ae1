"""Queries: what readers see is what the files say, bound and never spliced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.store import queries, side_by_side
from ftlab.store.ledger import Ledger
from ftlab.store.side_by_side import Question
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import ARMS, HOSTILE_TEXTS, make_results


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    results = tmp_path_factory.mktemp("results")
    experiment = make_results(results, hostile=True, examples=30, items=8)
    with Ledger(results) as ledger:
        ledger.catch_up()
        ledger.publish()
    return results, experiment


@pytest.fixture
def cursor(published: tuple[Path, str]) -> Iterator[Any]:
    with open_snapshot(published[0]) as snapshot:
        yield snapshot.cursor()


@pytest.fixture
def experiment(published: tuple[Path, str]) -> str:
    return published[1]


def test_experiments_and_progress(cursor: Any, experiment: str) -> None:
    (row,) = queries.experiments(cursor)
    assert (row.experiment_id, row.runs) == (experiment, len(ARMS))
    assert row.by_status == {"complete": 7, "failed": 1, "running": 1} == queries.progress(cursor, experiment)
    assert row.updated_ts is not None
    assert row.updated_ts > row.created_ts
    assert queries.progress(cursor, "nothing'; DROP TABLE runs; --") == {}


def test_runs_come_in_the_plans_order_with_what_they_have(cursor: Any, experiment: str) -> None:
    rows = queries.runs(cursor, experiment)
    assert [row.method_name for row in rows] == [arm.method_name for arm in ARMS]
    prompt, lora, full, failed = rows[0], rows[5], rows[6], rows[7]
    assert set(prompt.metrics) == {"validation/accuracy", "validation/macro_f1", "validation/valid_format"}
    assert set(prompt.cost) == {"tokens_per_second", "seconds_per_1k", "serving_memory_bytes"}
    assert lora.cost["trainable_parameters"] == 305_152 * 16
    assert lora.cost["tokens_per_second"] > 20_000  # of prediction, not of training
    assert full.cost["train_seconds"] == 95.0
    assert (failed.status, failed.metrics, failed.cost, failed.finished_ts is None) == ("failed", {}, {}, False)
    assert failed.reason is not None
    assert (failed.stages_done, failed.stages_total) == (1, 7)
    assert rows[8].status == "running"


def test_one_run_in_full(cursor: Any, experiment: str) -> None:
    run = queries.runs(cursor, experiment)[5]
    detail = queries.run_detail(cursor, run.run_id)
    assert detail is not None
    assert detail.run == run
    assert detail.experiment_id == experiment
    assert detail.config["method"]["r"] == 16
    assert [stage.kind for stage in detail.stages] == [
        "dataset",
        "weights",
        "predictions",
        "scores",
        *["benchmark"] * 3,
    ]
    assert {stage.state for stage in detail.stages} == {"complete"}
    assert detail.stages[1].summary["train_seconds"] == 92.0
    assert [(attempt.attempt, attempt.status, attempt.pid, attempt.bad_lines) for attempt in detail.attempts] == [
        (1, "complete", 4242, 0)
    ]
    assert detail.attempts[0].provenance["environment"] == {"HF_TOKEN": "[redacted]"}
    assert [warning.code for warning in detail.warnings] == ["truncated"]
    assert queries.run_detail(cursor, "r-none") is None


def test_curves_are_cut_to_the_points_asked_for(cursor: Any, experiment: str) -> None:
    run = queries.runs(cursor, experiment)[5].run_id
    whole = queries.curves(cursor, [run], ["train/loss"])
    assert [point.step for point in whole] == list(range(1, 31))
    cut = queries.curves(cursor, [run], ["train/loss"], points=7)
    assert len(cut) <= 7
    assert cut[-1].step == 30
    values = [point.value for point in whole if point.value is not None]
    assert cut[0].value == pytest.approx(sum(values[:5]) / 5)
    assert len(queries.curves(cursor, [run], points=10)) <= 7 * 10
    assert queries.curves(cursor, []) == []


def question(cursor: Any, experiment: str, arms: tuple[int, ...], **asked: Any) -> Question:
    runs = queries.runs(cursor, experiment)
    wanted = [str(runs[index].arm_id) for index in arms]
    found = side_by_side.columns(cursor, wanted, "validation")
    columns = tuple(found[arm] for arm in wanted)
    assert columns[0].scores is not None
    metric = side_by_side.scored_by(cursor, columns[0].scores, "macro_f1")
    assert metric == "accuracy"  # macro F1 has no score for one example
    dataset = side_by_side.dataset_key(cursor, columns[0].run_id)
    assert dataset is not None
    return Question(dataset, "validation", columns, metric, **asked)


def test_arms_side_by_side_agree_with_their_scores(cursor: Any, experiment: str) -> None:
    asked = question(cursor, experiment, (3, 5))
    counts = side_by_side.count_examples(cursor, asked)
    assert asked.metric is not None
    before, after = (side_by_side.example_scores(cursor, str(c.scores), asked.metric) for c in asked.columns)
    assert counts["all"] == 30
    assert counts["regressed"] == sum(after[example] < before[example] for example in before) > 0
    assert counts["improved"] == sum(after[example] > before[example] for example in before) > 0
    for mode, count in counts.items():
        shown = side_by_side.find_examples(cursor, question(cursor, experiment, (3, 5), mode=mode), 100)
        assert len(shown) == count
    regressed = side_by_side.find_examples(cursor, question(cursor, experiment, (3, 5), mode="regressed"), 100)
    for example in regressed:
        assert example.cells[0] is not None
        assert example.cells[1] is not None
        assert (example.cells[0].score, example.cells[1].score) == (1.0, 0.0)
        assert example.cells[0].output == example.target
    invalid = side_by_side.find_examples(cursor, question(cursor, experiment, (3, 5), mode="invalid"), 100)
    assert all(any(cell is not None and cell.parsed is None for cell in example.cells) for example in invalid)


def test_pages_follow_each_other_without_gap_or_overlap(cursor: Any, experiment: str) -> None:
    asked = question(cursor, experiment, (0, 4, 5, 6))
    pages = [side_by_side.find_examples(cursor, asked, 7, offset) for offset in range(0, 35, 7)]
    assert [example.position for page in pages for example in page] == list(range(30))
    assert all(len(example.cells) == 4 for page in pages for example in page)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS[:5], "'; DROP TABLE predictions; --", "%", "_", "$search"])
def test_what_is_searched_for_is_only_a_text(cursor: Any, experiment: str, text: str) -> None:
    asked = question(cursor, experiment, (3, 5), search=text)
    shown = side_by_side.find_examples(cursor, asked, 100)
    assert len(shown) == side_by_side.count_examples(cursor, asked)["all"]
    for example in shown:
        outputs = [cell.output for cell in example.cells if cell is not None]
        assert any(text.lower() in part.lower() for part in (example.text, example.target, *outputs))
    if text in HOSTILE_TEXTS:
        assert shown
    assert side_by_side.count_examples(cursor, question(cursor, experiment, (3, 5)))["all"] == 30


def test_an_arm_without_outputs_has_no_column_and_the_number_of_columns_is_bounded(
    cursor: Any, experiment: str
) -> None:
    runs = queries.runs(cursor, experiment)
    assert side_by_side.columns(cursor, [str(runs[7].arm_id), "unknown"], "validation") == {}
    with pytest.raises(ValueError, match="1 to 4"):
        side_by_side.find_examples(cursor, question(cursor, experiment, (0, 1, 2, 3, 4)), 1)


def test_benchmark_scores(cursor: Any, experiment: str) -> None:
    run = queries.run_detail(cursor, queries.runs(cursor, experiment)[0].run_id)
    assert run is not None
    for stage in run.stages:
        if stage.kind == "benchmark":
            scores = side_by_side.bench_scores(cursor, stage.key, "acc_norm")
            assert len(scores) == 8
            assert sum(scores.values()) / 8 == pytest.approx(stage.summary["metrics"]["acc_norm"]["value"])
