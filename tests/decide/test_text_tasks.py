"""Decisions on tasks without labels: corpus metrics are compared over all answers, regressions by graded scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger, outcomes

from ftlab.decide.build import build_view
from ftlab.decide.facts import Facts, read_facts
from ftlab.decide.pairs import compute_pair
from ftlab.decide.regressions import regressions
from ftlab.evaluate.metrics.base import Answer
from ftlab.evaluate.metrics.likelihood import Perplexity
from ftlab.evaluate.metrics.overlap import Chrf
from ftlab.spec.metrics import metric_entry

N = 40


@pytest.fixture
def ledger() -> SmallLedger:
    made = SmallLedger(
        [FakeArm("base", "prompt", [outcomes(N, 10)]), FakeArm("lora", "adapter", [outcomes(N, 30, shift=5)])]
    )
    for key, scores in (("p-r-base-0", "s-r-base-0"), ("p-r-lora-0", "s-r-lora-0")):
        rows = (
            f"SELECT '{scores}', p.example_id, {{metric}}, {{score}}, p.output FROM predictions p JOIN examples e "
            f"USING (example_id) WHERE p.key = '{key}'"
        )
        for metric, score in (
            ("'chrf'", "NULL"),
            ("'chrf/example'", "CASE WHEN p.output = e.target THEN 1.0 ELSE 0.1 + e.position / 1000.0 END"),
            ("'perplexity'", "NULL"),
            ("'perplexity/example'", "CASE WHEN p.output = e.target THEN 0.5 ELSE 2.0 END"),
            ("'mine'", "NULL"),
        ):
            made.connection.execute("INSERT INTO scores " + rows.format(metric=metric, score=score))
    return made


def facts_of(ledger: SmallLedger, metric: str, direction: str = "higher") -> Facts:
    entries = {entry.key: entry for entry in map(metric_entry, ("chrf", "perplexity", "scores:mine"))}
    ledger.connection.execute(
        "INSERT INTO metrics SELECT run_id, split, ?, 0.5, 0.4, 0.6, n, 'share', ?, 'x', attempt, line_offset "
        "FROM metrics WHERE key = 'accuracy'",
        [metric, direction],
    )
    facts = replace(read_facts(ledger.connection, EXPERIMENT), metric_entries=entries, task_type="generation")
    return replace(facts, decision={**facts.decision, "metric": metric})


def answers_of(ledger: SmallLedger, arm: str) -> list[Answer]:
    rows = ledger.connection.execute(
        "SELECT p.example_id, p.output, e.target FROM predictions p JOIN examples e USING (example_id) "
        "WHERE p.key = ? ORDER BY 1",
        [f"p-r-{arm}-0"],
    ).fetchall()
    return [
        Answer(name, output, None, target, target_nats=0.5 if output == target else 2.0)
        for name, output, target in rows
    ]


def test_a_corpus_metric_is_compared_by_its_outputs_and_not_by_means_of_scores(ledger: SmallLedger) -> None:
    facts = facts_of(ledger, "chrf")
    pair = compute_pair(ledger.connection, facts, *facts.arms, "validation", "chrf", 0)
    expected = Chrf().compare(answers_of(ledger, "base"), answers_of(ledger, "lora"), [], 0)
    assert pair is not None
    assert pair[1] == expected
    assert (expected.fixed, expected.broke) == (25, 5)


def test_perplexity_is_compared_by_stored_nats_and_lower_is_better(ledger: SmallLedger) -> None:
    facts = facts_of(ledger, "perplexity", "lower")
    pair = compute_pair(ledger.connection, facts, *facts.arms, "validation", "perplexity", 0)
    assert pair is not None
    assert pair[1] == Perplexity().compare(answers_of(ledger, "base"), answers_of(ledger, "lora"), [], 0)
    assert pair[1].estimate is not None
    assert pair[1].estimate > 0


def test_a_function_without_a_single_score_has_no_difference_and_is_not_imported(ledger: SmallLedger) -> None:
    facts = facts_of(ledger, "mine")
    assert compute_pair(ledger.connection, facts, *facts.arms, "validation", "mine", 0) is None


@pytest.mark.parametrize(("metric", "direction"), [("chrf", "higher"), ("perplexity", "lower")])
def test_what_got_worse_by_a_graded_score_is_shown_the_worst_first(
    ledger: SmallLedger, metric: str, direction: str
) -> None:
    facts = facts_of(ledger, metric, direction)
    base, lora = facts.arms
    found = regressions(ledger.connection, facts, "validation", base, [lora])
    # The base is right on rows 0 to 9, the adapter on 5 to 34; the chrF of what is wrong grows with the row.
    assert [case.example_id for case in found] == [f"e{row:04d}" for row in range(5)]
    assert all(case.baseline_output == case.target != case.arm_output for case in found)


def test_the_most_frequent_answer_says_nothing_where_there_are_no_labels(ledger: SmallLedger) -> None:
    assert build_view(ledger.connection, EXPERIMENT).majority is not None
    plan = 'json_merge_patch(plan_json, \'{"task": {"type": "generation"}}\')'
    ledger.connection.execute(f"UPDATE experiments SET plan_json = {plan}")
    view = build_view(ledger.connection, EXPERIMENT)
    assert view.majority is None
    assert view.examples == N
