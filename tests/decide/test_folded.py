"""Arms whose rows were folded, compared: pooled over the folds, with intervals that know of them."""

from __future__ import annotations

import numpy as np
import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.facts import MetricRow, pooled
from ftlab.decide.view import DecisionView

ROWS, FOLDS = 120, 5

ALIKE = [0.7] * FOLDS


def hits(rng: np.random.Generator, rates: list[float]) -> list[bool | None]:
    """One seed's results; a rate for each fold."""
    return [bool(rng.random() < rates[row % FOLDS]) for row in range(ROWS)]


def view_of(arms: list[FakeArm], folds: int | None = FOLDS) -> DecisionView:
    ledger = SmallLedger(arms, folds=folds)
    update_comparisons(ledger.connection)
    return build_view(ledger.connection, EXPERIMENT)


def arms(seeds: int, *rates: float) -> list[FakeArm]:
    rng = np.random.default_rng(seeds)
    prompt = FakeArm("zero", "prompt", [hits(rng, [0.5] * FOLDS)])
    return [prompt, FakeArm("lora", "adapter", [hits(rng, list(rates)) for _ in range(seeds)])]


@pytest.mark.parametrize("seeds", [1, 2])
def test_folds_give_the_estimate_of_their_rows_together(seeds: int) -> None:
    given = arms(seeds, *ALIKE)
    folded, whole = view_of(given), view_of(given, None)
    for one, other in zip(folded.arms, whole.arms, strict=True):
        assert one.metrics["accuracy"].value == pytest.approx(other.metrics["accuracy"].value)
        assert one.metrics["accuracy"].n == other.metrics["accuracy"].n == ROWS
        assert one.seeds == other.seeds
    assert folded.arms[1].difference is not None
    assert whole.arms[1].difference is not None
    one, other = folded.arms[1].difference.estimate, whole.arms[1].difference.estimate
    assert (one.value, one.n) == (pytest.approx(other.value), other.n)
    assert one.low is not None
    assert other.low is not None
    assert one.low <= other.low, "folds only ever add doubt"
    assert (folded.examples, folded.folds, whole.folds) == (ROWS, FOLDS, None)


def test_folds_whose_models_differ_widen_the_interval() -> None:
    given = arms(1, 0.3, 0.5, 0.7, 0.9, 1.0)
    apart, ignored = view_of(given), view_of(given, None)
    widths = []
    for view in (apart, ignored):
        assert view.arms[1].difference is not None
        found = view.arms[1].difference.estimate
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 2 * widths[1]
    spread = apart.arms[1].spread
    assert spread is not None
    assert (spread.over, spread.replicates, spread.larger) == ("folds", FOLDS, "replicates")


def test_a_corpus_metric_is_compared_on_the_answers_of_all_folds() -> None:
    given = arms(2, *ALIKE)
    rows = {}
    for folds in (FOLDS, None):
        ledger = SmallLedger(given, folds=folds)
        update_comparisons(ledger.connection)
        rows[folds] = ledger.connection.execute(
            "SELECT estimate, n, dropped, method FROM comparisons WHERE metric = 'macro_f1' AND kind = 'method'"
        ).fetchone()
    assert rows[FOLDS][:3] == rows[None][:3], "the pooled answers are those of one model's"
    assert rows[FOLDS][3] == f"{rows[None][3]}; {FOLDS} folds pooled, the noise of their models not counted"


def test_a_fold_without_a_result_leaves_its_rows_out_of_both_sides() -> None:
    ledger = SmallLedger(arms(1, *ALIKE), folds=FOLDS)
    ledger.connection.execute("DELETE FROM run_stages WHERE run_id = 'r-lora-0-2' AND kind = 'scores'")
    ledger.connection.execute("DELETE FROM metrics WHERE run_id = 'r-lora-0-2'")
    update_comparisons(ledger.connection)
    lora = build_view(ledger.connection, EXPERIMENT).arms[1]
    assert lora.difference is not None
    assert (lora.difference.estimate.n, lora.difference.dropped) == (ROWS * 4 // 5, ROWS // 5)
    assert lora.reason is not None
    assert lora.reason.startswith("4 of 5 runs have a result")


def test_pooled_figures_weigh_rows_and_join_ends_as_of_independent_parts() -> None:
    parts = [
        MetricRow(0.5, 0.4, 0.6, 100, "share", "higher", "Wilson"),
        MetricRow(0.8, 0.7, 0.9, 300, "share", "higher", "Wilson"),
    ]
    found = pooled(parts)
    assert found.value == pytest.approx(0.725)
    assert found.low == pytest.approx(0.725 - np.hypot(100 * 0.1, 300 * 0.1) / 400)
    assert found.high == pytest.approx(0.725 + np.hypot(100 * 0.1, 300 * 0.1) / 400)
    assert (found.n, found.interval) == (400, "Wilson; pooled over 2 folds")
    assert pooled([parts[0], MetricRow(0.8, None, None, 300, "share", "higher", "")]).low is None
