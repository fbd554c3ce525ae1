"""The comparisons table: right numbers, computed once, equal however the ledger grew."""

from __future__ import annotations

import time

import numpy as np
import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger, outcomes

from ftlab.decide import compare, pairs
from ftlab.decide.compare import SAME_WEIGHTS, update_comparisons
from ftlab.decide.facts import read_facts

N = 120
TASK = "builtin:piqa"


def _arms() -> list[FakeArm]:
    base = [1.0] * 60 + [0.0] * 40
    return [
        FakeArm("zero", "prompt", [outcomes(N, 30)], {TASK: base}),
        FakeArm("few", "prompt", [outcomes(N, 48)], {TASK: base}),
        FakeArm("lora", "adapter", [outcomes(N, 60, shift=6)], {TASK: [1.0] * 57 + [0.0] * 43}),
        FakeArm("full", "full", [outcomes(N, 66, shift=3)], {TASK: [0.0] * 10 + [1.0] * 60 + [0.0] * 30}),
    ]


def _row(ledger: SmallLedger, kind: str, metric: str, arm: str) -> dict:
    result = ledger.connection.execute(
        "SELECT * FROM comparisons WHERE kind = ? AND metric = ? AND arm_id = ?", [kind, metric, f"a-{arm}"]
    )
    names = [column[0] for column in result.description]
    (row,) = result.fetchall()
    return dict(zip(names, row, strict=True))


def test_every_arm_is_compared_with_the_best_prompt_on_every_metric():
    ledger = SmallLedger(_arms(), benchmarks=[TASK])
    # Three arms times three metrics, four arms on one benchmark; of the decision metric four chances to be the best,
    # three tests of equivalence, and the one trained arm beside the better one; four slices (two labels, two lengths)
    # and their count of each of two finalists.
    assert update_comparisons(ledger.connection) == 3 * 3 + 4 + 4 + 3 + 1 + 2 * 5
    rows = ledger.connection.execute(
        "SELECT DISTINCT baseline_arm_id FROM comparisons WHERE kind = 'method'"
    ).fetchall()
    assert rows == [("a-few",)]
    lora = _row(ledger, "method", "accuracy", "lora")
    few, tuned = np.array(outcomes(N, 48)), np.array(outcomes(N, 60, shift=6))
    assert lora["estimate"] == pytest.approx(tuned.mean() - few.mean())
    assert (lora["fixed"], lora["broke"]) == (int((tuned & ~few).sum()), int((few & ~tuned).sum()))
    assert (lora["n"], lora["dropped"]) == (N, 0)
    assert lora["low"] < lora["estimate"] < lora["high"]
    assert lora["method"].startswith("simultaneous over 3 arms (max-T")


def test_benchmarks_are_compared_with_the_base_item_by_item():
    ledger = SmallLedger(_arms(), benchmarks=[TASK])
    update_comparisons(ledger.connection)
    full = _row(ledger, "benchmark", "acc", "full")
    # Ten items were lost and ten won: a change of zero that is not "nothing happened".
    assert (full["estimate"], full["fixed"], full["broke"]) == (0.0, 10, 10)
    assert full["low"] < -0.05
    prompt = _row(ledger, "benchmark", "acc", "zero")
    assert (prompt["estimate"], prompt["low"], prompt["high"], prompt["method"]) == (0.0, 0.0, 0.0, SAME_WEIGHTS)


def test_p_values_of_the_decision_metric_are_holms():
    ledger = SmallLedger(_arms())
    update_comparisons(ledger.connection)
    found = ledger.connection.execute(
        "SELECT p, p_adjusted FROM comparisons WHERE kind = 'method' AND metric = 'accuracy' ORDER BY p"
    ).fetchall()
    running = 0.0
    for rank, (p, adjusted) in enumerate(found):
        running = max(running, min(1.0, p * (len(found) - rank)))
        assert adjusted == pytest.approx(running)


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch):
    ledger = SmallLedger(_arms(), benchmarks=[TASK])
    update_comparisons(ledger.connection)
    before = ledger.rows()

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(compare, "compute_pair", never)
    monkeypatch.setattr(compare, "on_shared", never)
    assert update_comparisons(ledger.connection) == 0
    assert ledger.rows() == before


def test_a_new_arm_leaves_the_other_rows_of_other_metrics_alone():
    arms = _arms()
    ledger = SmallLedger(arms[:3])
    update_comparisons(ledger.connection)
    untouched = _row(ledger, "method", "macro_f1", "lora")
    joint = _row(ledger, "method", "accuracy", "lora")
    ledger.add(arms[3], 3)
    # The new arm's two rows of other metrics and five of slices, and those of the decision metric: 3 + 4 + 3 + 1 in
    # place of 2 + 3 + 2.
    assert update_comparisons(ledger.connection) == 2 + 5 + 11 + 7
    again = _row(ledger, "method", "macro_f1", "lora")
    assert again | {"p_adjusted": None} == untouched | {"p_adjusted": None}, "only the correction knows of the new arm"
    assert _row(ledger, "method", "accuracy", "lora")["inputs"] != joint["inputs"]


def test_rows_do_not_depend_on_how_the_ledger_grew():
    arms = _arms()
    grown = SmallLedger(arms[:1], benchmarks=[TASK])
    for position, arm in enumerate(arms[1:], start=1):
        update_comparisons(grown.connection)
        grown.add(arm, position)
    update_comparisons(grown.connection)
    at_once = SmallLedger(arms, benchmarks=[TASK])
    update_comparisons(at_once.connection)
    assert grown.rows() == at_once.rows()


def test_rows_of_arms_that_left_the_plan_go():
    ledger = SmallLedger(_arms())
    update_comparisons(ledger.connection)
    ledger.connection.execute("UPDATE arms SET current = false WHERE arm_id = 'a-full'")
    update_comparisons(ledger.connection)
    left = ledger.connection.execute("SELECT DISTINCT arm_id FROM comparisons ORDER BY 1").fetchall()
    assert left == [("a-few",), ("a-lora",), ("a-zero",)]


def test_examples_that_only_one_was_scored_on_are_dropped_and_counted():
    holes: list[bool | None] = [None if row < 7 else value for row, value in enumerate(outcomes(N, 60))]
    ledger = SmallLedger([FakeArm("few", "prompt", [outcomes(N, 48)]), FakeArm("lora", "adapter", [holes])])
    update_comparisons(ledger.connection)
    row = _row(ledger, "method", "accuracy", "lora")
    assert (row["n"], row["dropped"]) == (N - 7, 7)
    assert row["estimate"] == pytest.approx((sum(outcomes(N, 60)[7:]) - sum(outcomes(N, 48)[7:])) / (N - 7))
    assert _row(ledger, "method", "macro_f1", "lora")["dropped"] == 7


def test_several_seeds_are_averaged_before_they_are_compared():
    seeds = [outcomes(N, 60), outcomes(N, 72)]
    ledger = SmallLedger([FakeArm("few", "prompt", [outcomes(N, 48)] * 2), FakeArm("lora", "adapter", seeds)])
    update_comparisons(ledger.connection)
    row = _row(ledger, "method", "accuracy", "lora")
    assert row["n"] == N
    assert row["estimate"] == pytest.approx((66 - 48) / N)
    assert "Student's t over 2 and 2 seeds" in row["method"]
    assert "2 seeds" in _row(ledger, "method", "macro_f1", "lora")["method"]


def test_seeds_that_scatter_widen_the_interval_and_equal_ones_do_not():
    few = FakeArm("few", "prompt", [outcomes(N, 48)])

    def interval(*rights: int) -> tuple[float, float]:
        ledger = SmallLedger([few, FakeArm("lora", "adapter", [outcomes(N, right) for right in rights])])
        update_comparisons(ledger.connection)
        row = _row(ledger, "method", "accuracy", "lora")
        assert row["estimate"] == pytest.approx((66 - 48) / N)
        return row["low"], row["high"]

    one, equal, scattered = interval(66), interval(66, 66, 66), interval(46, 66, 86)
    assert equal == pytest.approx(one, abs=0.01)
    assert scattered[0] < one[0] - 0.1
    assert scattered[1] > one[1] + 0.1


def test_a_corpus_metric_as_the_decision_is_widened_for_all_arms():
    ledger = SmallLedger(_arms(), metric="macro_f1")
    ledger.connection.execute("UPDATE metrics SET value = value + 0.1 WHERE key = 'macro_f1' AND run_id = 'r-few-0'")
    update_comparisons(ledger.connection)
    facts = read_facts(ledger.connection, EXPERIMENT)
    by_id = {arm.arm_id: arm for arm in facts.arms}
    row = _row(ledger, "method", "macro_f1", "lora")
    _, alone, _ = pairs.compute_pair(
        ledger.connection, facts, by_id["a-few"], by_id["a-lora"], "validation", "macro_f1", row["seed"]
    )
    assert row["estimate"] == pytest.approx(alone.estimate)
    assert row["low"] < alone.low
    assert row["high"] > alone.high
    assert "Bonferroni" in row["method"]


def test_forty_arms_cost_little_when_nothing_changed():
    arms = [FakeArm("few", "prompt", [outcomes(N, 48)])]
    arms += [FakeArm(f"lora{index}", "adapter", [outcomes(N, 50 + index % 9, shift=index)]) for index in range(40)]
    ledger = SmallLedger(arms)
    update_comparisons(ledger.connection)
    started = time.perf_counter()
    assert update_comparisons(ledger.connection) == 0
    assert time.perf_counter() - started < 0.5
