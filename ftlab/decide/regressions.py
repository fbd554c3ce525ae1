"""Cases that got worse: the arm scores lower than the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.view import Regression
from ftlab.evaluate.metrics.base import EXAMPLE

PER_ARM = 5


def regressions(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts, arms: Sequence[ArmFacts]
) -> list[Regression]:
    """At most `PER_ARM` cases of each arm: first those that most of these arms got worse, then those that lost most,
    then in the order of rows.

    Worse is by the decision metric's score of the example, or by accuracy where it has none. The outputs are those of
    each arm's first seed.
    """
    metric = _metric(cursor, facts, split, baseline)
    if metric is None:
        return []
    sign = -1.0 if facts.direction(split, facts.metric) == "lower" and metric != "accuracy" else 1.0
    found: dict[str, list[Regression]] = {}
    wrong_in: dict[str, int] = {}
    for arm in arms:
        found[arm.arm_id] = cases = _cases(cursor, split, metric, sign, baseline, arm)
        for case in cases:
            wrong_in[case.example_id] = wrong_in.get(case.example_id, 0) + 1
    return [
        case
        for arm in arms
        for case in sorted(found[arm.arm_id], key=lambda case: -wrong_in[case.example_id])[:PER_ARM]
    ]


def _metric(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts) -> str | None:
    keys = baseline.keys("scores", split)[:1]
    rows = cursor.execute(
        "SELECT DISTINCT metric FROM scores WHERE score IS NOT NULL AND key IN (SELECT unnest(?::VARCHAR[]))", [keys]
    ).fetchall()
    scored = {row[0] for row in rows}
    return next((name for name in (facts.metric, facts.metric + EXAMPLE, "accuracy") if name in scored), None)


def _cases(
    cursor: duckdb.DuckDBPyConnection, split: str, metric: str, sign: float, baseline: ArmFacts, arm: ArmFacts
) -> list[Regression]:
    before, after = _first(baseline, split), _first(arm, split)
    if before is None or after is None:
        return []
    rows = cursor.execute(
        "SELECT e.example_id, e.text, e.target, bp.output, ap.output "
        "FROM examples e "
        "JOIN scores b ON b.example_id = e.example_id AND b.key = $before_scores AND b.metric = $metric "
        "JOIN scores a ON a.example_id = e.example_id AND a.key = $after_scores AND a.metric = $metric "
        "JOIN predictions bp ON bp.example_id = e.example_id AND bp.key = $before_predictions "
        "JOIN predictions ap ON ap.example_id = e.example_id AND ap.key = $after_predictions "
        "WHERE e.dataset_key = $dataset AND e.split = $split "
        "AND $sign * (a.score - b.score) < 0 ORDER BY $sign * (a.score - b.score), e.position",
        {
            "before_scores": before[0],
            "after_scores": after[0],
            "before_predictions": before[1],
            "after_predictions": after[1],
            "dataset": before[2],
            "split": split,
            "metric": metric,
            "sign": sign,
        },
    ).fetchall()
    return [
        Regression(
            arm_id=arm.arm_id,
            example_id=example_id,
            text=text or "",
            target=target or "",
            baseline_output=was or "",
            arm_output=now or "",
        )
        for example_id, text, target, was, now in rows
    ]


def _first(arm: ArmFacts, split: str) -> tuple[str, str, str] | None:
    """The keys of scores, predictions and dataset of the first seed that has them."""
    for run in arm.runs:
        scores, predictions = run.key("scores", split), run.key("predictions", split)
        dataset = run.stages.get(("dataset", ""))
        if scores and predictions and dataset:
            return scores, predictions, dataset
    return None
