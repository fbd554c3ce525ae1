"""Who is likely the best, who is as good as whom, groups of rows, and corrections: stored once, read by the view."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger, outcomes

from ftlab.decide import compare
from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.statistics.multiple import benjamini_hochberg

N = 400
TASK = "builtin:piqa"


def ledger_of(*arms: FakeArm, **decision: Any) -> SmallLedger:
    ledger = SmallLedger([FakeArm("few", "prompt", [outcomes(N, 200)]), *arms], **decision)
    update_comparisons(ledger.connection)
    return ledger


def rows(ledger: SmallLedger, kind: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    found = ledger.connection.execute(
        "SELECT arm_id, baseline_arm_id, estimate, low, high, p, method FROM comparisons WHERE kind = ?", [kind]
    ).fetchall()
    return {(row[0][2:], row[1][2:]): row[2:] for row in found}


def test_the_chances_to_be_best_add_up_and_follow_the_scores() -> None:
    ledger = ledger_of(
        FakeArm("good", "adapter", [outcomes(N, 260, shift=20)]), FakeArm("bad", "adapter", [outcomes(N, 120)])
    )
    chances = {arm: row[0] for (arm, _), row in rows(ledger, "best").items()}
    assert set(chances) == {"few", "good", "bad"}
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances["good"] > 0.95
    assert chances["bad"] < 0.01
    view = build_view(ledger.connection, EXPERIMENT)
    assert {arm.label: arm.probability_best for arm in view.arms} == pytest.approx(chances)


def test_an_arm_within_the_minimum_gain_is_equivalent_and_the_sentence_says_so() -> None:
    ledger = ledger_of(FakeArm("twin", "adapter", [outcomes(N, 202)]), min_gain=0.05)
    (row,) = rows(ledger, "equivalent").values()
    assert -0.05 < row[1] < row[2] < 0.05
    assert row[3] < 0.001
    view = build_view(ledger.connection, EXPERIMENT)
    assert [arm.equivalent for arm in view.arms] == [None, True]
    assert view.conclusion.kind == "keep_prompting"
    assert "shown to be no more than 5 points better or worse" in view.conclusion.sentence
    assert "no difference" not in view.conclusion.sentence
    far = ledger_of(FakeArm("other", "adapter", [outcomes(N, 200, shift=150)]), min_gain=0.05)
    assert [arm.equivalent for arm in build_view(far.connection, EXPERIMENT).arms] == [None, False]


def test_of_the_winners_one_that_is_shown_not_inferior_and_cheaper_is_taken() -> None:
    best = FakeArm("best", "full", [outcomes(N, 300)], seconds_per_1k=30.0)
    cheap = FakeArm("cheap", "adapter", [outcomes(N, 298)], seconds_per_1k=10.0)
    ledger = ledger_of(best, cheap, min_gain=0.06)
    assert set(rows(ledger, "not_inferior")) == {("cheap", "best")}
    assert build_view(ledger.connection, EXPERIMENT).conclusion.arm_id == "a-cheap"
    doubtful = FakeArm("cheap", "adapter", [outcomes(N, 285)], seconds_per_1k=10.0)
    assert build_view(ledger_of(best, doubtful, min_gain=0.06).connection, EXPERIMENT).conclusion.arm_id == "a-best"


def test_nothing_is_tested_against_a_margin_of_zero() -> None:
    ledger = ledger_of(FakeArm("a", "full", [outcomes(N, 300)]), FakeArm("b", "full", [outcomes(N, 298)]), min_gain=0.0)
    assert not rows(ledger, "equivalent")
    assert not rows(ledger, "not_inferior")
    assert rows(ledger, "best")


def test_another_minimum_gain_tests_again_and_the_same_one_does_not() -> None:
    ledger = ledger_of(FakeArm("a", "full", [outcomes(N, 210)]), min_gain=0.05)
    assert update_comparisons(ledger.connection) == 0
    plan = json.loads(ledger.connection.execute("SELECT plan_json FROM experiments").fetchone()[0])  # type: ignore[index]
    plan["decision"]["min_gain"] = 0.2
    ledger.connection.execute("UPDATE experiments SET plan_json = ?", [json.dumps(plan)])
    assert update_comparisons(ledger.connection) > 0
    assert len(rows(ledger, "equivalent")) == 1


def test_several_seeds_are_judged_by_the_wider_interval() -> None:
    seeds = [outcomes(N, right) for right in (190, 202, 214)]
    ledger = ledger_of(FakeArm("lora", "adapter", seeds), min_gain=0.05)
    (row,) = rows(ledger, "equivalent").values()
    assert row[3] is None
    assert row[4].startswith("by the interval: ")
    assert "3 seeds" in row[4]


def test_what_is_explored_is_corrected_over_all_that_was_looked_at() -> None:
    base = [1.0] * 60 + [0.0] * 40
    arms = [
        FakeArm(f"lora{index}", "adapter", [outcomes(N, 210 + index)], {TASK: [0.0] * index + base[index:]})
        for index in range(4)
    ]
    ledger = SmallLedger(
        [FakeArm("few", "prompt", [outcomes(N, 200)], {TASK: base}), *arms], benchmarks=[TASK], chance=0.5
    )
    update_comparisons(ledger.connection)
    found = ledger.connection.execute(
        "SELECT p, p_adjusted FROM comparisons WHERE kind = 'benchmark' ORDER BY ALL"
    ).fetchall()
    assert [row[1] for row in found] == pytest.approx(benjamini_hochberg([row[0] for row in found]))
    view = build_view(ledger.connection, EXPERIMENT)
    assert {change.difference.correction for arm in view.arms for change in arm.benchmarks} == {"Benjamini-Hochberg"}
    assert {arm.difference.correction for arm in view.arms if arm.difference} == {"Holm"}


def grouped(n_groups: int, each: int) -> SmallLedger:
    """An arm that gets whole groups right or wrong: far fewer independent facts than rows."""
    n = n_groups * each
    before = [row // each % 2 == 0 for row in range(n)]
    after = [row // each % 2 == 0 or row // each % 3 == 0 for row in range(n)]
    ledger = SmallLedger([FakeArm("few", "prompt", [before]), FakeArm("lora", "adapter", [after])])
    for row in range(n):
        ledger.connection.execute(
            "UPDATE examples SET fields_json = ? WHERE example_id = ?",
            [json.dumps({"doc": row // each}), f"e{row:04d}"],
        )
    return ledger


def cluster(ledger: SmallLedger) -> None:
    plan = json.loads(ledger.connection.execute("SELECT plan_json FROM experiments").fetchone()[0])  # type: ignore[index]
    plan["runs"][0]["data"]["spec"]["cluster_by"] = "doc"
    ledger.connection.execute("UPDATE experiments SET plan_json = ?", [json.dumps(plan)])


def test_rows_that_come_in_groups_widen_the_interval() -> None:
    ledger = grouped(12, 10)
    update_comparisons(ledger.connection)
    plain = build_view(ledger.connection, EXPERIMENT).arms[1].difference
    cluster(ledger)
    assert update_comparisons(ledger.connection) > 0
    view = build_view(ledger.connection, EXPERIMENT)
    wide = view.arms[1].difference
    assert plain is not None
    assert wide is not None
    assert plain.estimate.low is not None
    assert plain.estimate.high is not None
    assert wide.estimate.low is not None
    assert wide.estimate.high is not None
    assert wide.estimate.value == plain.estimate.value
    assert wide.estimate.high - wide.estimate.low > 1.5 * (plain.estimate.high - plain.estimate.low)
    assert "12 groups" in wide.estimate.method
    assert (view.cluster_by, view.clusters) == ("doc", 12)
    assert any("come in 12 groups by doc; with fewer than 20 groups" in warning for warning in view.warnings)


def test_one_group_alone_decides_nothing() -> None:
    ledger = grouped(1, 60)
    cluster(ledger)
    update_comparisons(ledger.connection)
    view = build_view(ledger.connection, EXPERIMENT)
    assert view.arms[1].difference is None or view.arms[1].difference.estimate.low is None
    assert view.conclusion.kind in ("undecided", "keep_prompting", "incomplete")
    assert view.conclusion.kind != "use"


def test_two_arms_without_a_common_example_are_said_to_have_none() -> None:
    half: list[bool | None] = [True] * 30 + [None] * 30
    other: list[bool | None] = [None] * 30 + [True] * 30
    ledger = SmallLedger([FakeArm("few", "prompt", [half]), FakeArm("lora", "adapter", [other])])
    update_comparisons(ledger.connection)
    view = build_view(ledger.connection, EXPERIMENT)
    assert view.conclusion.kind == "incomplete"
    (gap,) = [part for part in view.missing if part.what.startswith("differences")]
    assert gap.what == "differences to the best prompt of lora"
    assert gap.why == "no example is scored for both, so there is nothing to compare"


def test_five_rows_decide_nothing_and_say_how_many_would() -> None:
    ledger = SmallLedger([FakeArm("few", "prompt", [outcomes(5, 2)]), FakeArm("lora", "adapter", [outcomes(5, 4)])])
    update_comparisons(ledger.connection)
    view = build_view(ledger.connection, EXPERIMENT)
    assert view.conclusion.kind == "undecided"
    assert "would settle it; there are 5" in view.conclusion.sentence
    assert view.smallest_detectable is not None
    assert view.smallest_detectable > 0.5
    assert view.worst_slices == []


def test_a_metric_that_never_varies_decides_nothing() -> None:
    ledger = SmallLedger([FakeArm("few", "prompt", [[True] * 40]), FakeArm("lora", "adapter", [[True] * 40])])
    update_comparisons(ledger.connection)
    view = build_view(ledger.connection, EXPERIMENT)
    assert view.conclusion.kind in ("undecided", "keep_prompting")
    assert view.arms[1].difference is not None
    assert view.arms[1].difference.estimate.value == 0.0


def test_rows_and_their_corrections_come_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed between the two must not leave rows that nobody corrects any more."""
    base = [1.0] * 60 + [0.0] * 40
    arms = [
        FakeArm(f"lora{index}", "adapter", [outcomes(N, 210)], {TASK: [0.0] * (5 + index) + base[5 + index :]})
        for index in range(3)
    ]
    ledger = SmallLedger([FakeArm("few", "prompt", [outcomes(N, 200)], {TASK: base}), *arms], benchmarks=[TASK])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compare, "_adjust_explored", killed)
        with pytest.raises(KeyboardInterrupt):
            update_comparisons(ledger.connection)
    assert ledger.rows() == []
    update_comparisons(ledger.connection)
    found = ledger.connection.execute("SELECT p, p_adjusted FROM comparisons WHERE kind = 'benchmark'").fetchall()
    assert all(adjusted is not None and adjusted >= p for p, adjusted in found)
