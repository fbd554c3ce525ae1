"""From the ledger to the one view that every surface shows. Reads, joins and orders; computes no interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import duckdb

from ftlab.decide.compare import paired
from ftlab.decide.costs import read_summaries
from ftlab.decide.economics import with_economics
from ftlab.decide.facts import ArmFacts, Facts, read_facts
from ftlab.decide.fairness import tuning_budgets, unfair
from ftlab.decide.gaps import missing_parts
from ftlab.decide.gates import Rule, loss_limit
from ftlab.decide.judged import held_back, judge_missing, judge_view
from ftlab.decide.order import arranged
from ftlab.decide.origin import read_provenance, read_warnings
from ftlab.decide.pairs import Scores, scores_of
from ftlab.decide.regressions import regressions
from ftlab.decide.rows import arm_view, comparisons, with_selection
from ftlab.decide.verdict import conclude
from ftlab.decide.view import (
    ArmView,
    DecisionView,
    Estimate,
    Majority,
    OpeningView,
    PairedDifference,
    Progress,
)
from ftlab.errors import UsageError
from ftlab.evaluate.benchmarks import group_of
from ftlab.events import Status
from ftlab.plan.opening import TEST, Opening
from ftlab.text import SHARE


def build_view(
    cursor: duckdb.DuckDBPyConnection, experiment_id: str, snapshot: int | None = None, split: str | None = None
) -> DecisionView:
    """All that there is to say about an experiment now, complete or half done.

    Args:
        cursor: over the ledger's tables; a snapshot's or the ledger's own.
        experiment_id: in full.
        snapshot: the number of the snapshot behind the cursor, where it is one.
        split: the rows to judge by. When left out, test once it was opened and measured, else validation.

    Raises:
        UsageError: the ledger does not have this experiment, or it has no such split.
    """
    facts = read_facts(cursor, experiment_id)
    splits = list(dict.fromkeys(["validation", facts.decision_split]))
    if split is not None and split not in splits:
        raise UsageError(_no_split(facts, split))
    split = split or facts.decision_split
    baseline = facts.baseline(split)
    rule = _rule(facts, split)
    summaries = read_summaries(cursor, (*facts.arms, *facts.bases))
    stored = comparisons(cursor, facts, split, baseline)
    views = [arm_view(facts, arm, split, rule, baseline, stored, summaries) for arm in facts.arms_on(split)]
    if split == TEST:
        views = with_selection(cursor, facts, views)
    horizon = facts.decision.get("horizon_requests")
    views = with_economics(arranged(views, facts, split, baseline), facts.prices, horizon)
    progress = _progress(facts)
    examples, majority = _examples(cursor, facts, split)
    finalists = _finalists(views, facts)
    budgets = tuning_budgets(facts, summaries)
    judge = judge_view(facts, split)
    conclusion = conclude(
        views,
        rule,
        _not_inferior(cursor, facts, split, rule.min_gain),
        progress,
        examples,
        _seeds(facts),
        majority if facts.metric == "accuracy" else None,
        len(facts.looks),
    )
    return DecisionView(
        experiment_id=experiment_id,
        name=facts.name,
        question=facts.question,
        model=[model["source"] for model in facts.models],
        split=split,
        splits=splits,
        metric=facts.metric,
        metric_unit=rule.unit,
        metric_direction="lower" if facts.direction(split, facts.metric) == "lower" else "higher",
        min_gain=rule.min_gain,
        max_forgetting=rule.max_forgetting,
        forgetting_limits={task: rule.limit(task) for task in facts.benchmarks},
        min_valid_format=rule.min_valid_format,
        metric_units={name: _unit(facts, split, name) for name in facts.metrics},
        benchmarks=list(facts.benchmarks),
        snapshot=snapshot,
        updated_at=_updated_at(cursor, facts),
        conclusion=held_back(conclusion, facts.metric, judge),
        arms=views,
        regressions=regressions(cursor, facts, split, baseline, finalists) if baseline else [],
        warnings=[*unfair(facts, budgets), *read_warnings(cursor, facts)],
        missing=[*missing_parts(facts, views, split, baseline), *judge_missing(facts, judge)],
        progress=progress,
        arms_tried=len(facts.arms),
        examples=examples,
        majority=majority,
        judge=judge,
        prices=facts.prices,
        horizon_requests=horizon,
        budgets=budgets,
        openings=[_opening_view(opening) for opening in facts.openings],
        test_looks=len(facts.looks),
        provenance=read_provenance(cursor, facts),
    )


def pair_of(
    cursor: duckdb.DuckDBPyConnection, experiment_id: str, arm_id: str, baseline_id: str, split: str, metric: str
) -> PairedDifference | None:
    """Any arm against any other of one experiment, computed now; None while one of them has no score of this metric."""
    facts = read_facts(cursor, experiment_id)
    by_id = {arm.arm_id: arm for arm in facts.arms}
    pair = paired(cursor, facts, by_id[baseline_id], by_id[arm_id], split, metric)
    if pair is None or pair[1].estimate is None:
        return None
    _, result, dropped = pair
    return PairedDifference(
        estimate=Estimate(value=result.estimate, low=result.low, high=result.high, n=result.n, method=result.method),
        p_value=result.p,
        fixed=result.fixed,
        broke=result.broke,
        dropped=dropped,
    )


def _no_split(facts: Facts, split: str) -> str:
    if split != TEST:
        return f"unknown split '{split}' (known: validation, {TEST})"
    if not facts.openings:
        return f"the test rows of {facts.name} are sealed; `ftlab decide {facts.experiment_id}` opens them"
    return f"the test rows of {facts.name} are not all answered; `ftlab decide {facts.experiment_id}` goes on"


def _opening_view(opening: Opening) -> OpeningView:
    return OpeningView(
        number=opening.number,
        at=datetime.fromtimestamp(opening.ts, UTC).isoformat(timespec="seconds"),
        who=opening.who,
        why=opening.why,
        arms=[arm.label for arm in opening.arms],
        looks=opening.looks,
    )


def _rule(facts: Facts, split: str) -> Rule:
    limits = facts.decision["max_forgetting"]
    return Rule(
        metric=facts.metric,
        unit=_unit(facts, split, facts.metric),
        split=split,
        min_gain=facts.decision["min_gain"],
        max_forgetting=loss_limit(limits),
        min_valid_format=facts.decision.get("min_valid_format"),
        benchmarks=facts.benchmarks,
        currency=facts.prices.currency,
        limits={task: loss_limit(limits, task, group_of(task)) for task in facts.benchmarks},
    )


def _unit(facts: Facts, split: str, metric: str) -> str:
    row = facts.row(split, metric)
    return row.unit if row else SHARE


def _finalists(views: Sequence[ArmView], facts: Facts) -> list[ArmFacts]:
    chosen = [
        view.arm_id for view in views if view.is_best_of_method and not view.is_baseline and view.family != "prompt"
    ]
    by_id = {arm.arm_id: arm for arm in facts.arms}
    return [by_id[arm_id] for arm_id in chosen]


def _progress(facts: Facts) -> Progress:
    # The base's own run is work, though no candidate: every surface counts the runs that the plan counts.
    arms = (*facts.bases, *facts.arms)
    runs = [run for arm in arms for run in arm.runs]
    running = [arm.label for arm in arms if any(run.status == Status.RUNNING for run in arm.runs)]
    return Progress(total=len(runs), by_status=dict(Counter(str(run.status) for run in runs)), running=running)


def _seeds(facts: Facts) -> int:
    return max((len(arm.runs) for arm in facts.arms), default=0)


def _examples(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> tuple[int, Majority | None]:
    """How many rows the split has, and its most frequent label (the first by name of equals)."""
    key = next(
        (run.stages["dataset", ""] for arm in facts.arms for run in arm.runs if ("dataset", "") in run.stages), ""
    )
    rows = cursor.execute(
        "SELECT target, count(*) FROM examples WHERE dataset_key = ? AND split = ? GROUP BY 1 ORDER BY 2 DESC, 1",
        [key, split],
    ).fetchall()
    total = sum(count for _, count in rows)
    if not rows or facts.task_type != "classification":
        return total, None
    return total, Majority(label=rows[0][0], share=rows[0][1] / total)


def _not_inferior(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, min_gain: float
) -> Callable[[ArmView, ArmView], bool]:
    """Whether one arm is shown to be worse than another by at most half the minimum gain. Reads the scores once."""
    by_id = {arm.arm_id: arm for arm in facts.arms}
    scores: list[Scores] = []

    def not_inferior(arm: ArmView, best: ArmView) -> bool:
        if not scores:
            scores.append(scores_of(cursor, facts.arms, split, facts.metric))
        pair = paired(cursor, facts, by_id[best.arm_id], by_id[arm.arm_id], split, facts.metric, scores[0])
        return pair is not None and pair[1].low is not None and pair[1].low >= -min_gain / 2

    return not_inferior


def _updated_at(cursor: duckdb.DuckDBPyConnection, facts: Facts) -> str:
    row = cursor.execute(
        "SELECT max(ts) FROM ("
        "SELECT greatest(a.started_ts, a.finished_ts) AS ts FROM attempts a JOIN runs r USING (run_id) "
        "WHERE r.experiment_id = $id "
        "UNION ALL SELECT w.ts FROM warnings w JOIN runs r USING (run_id) WHERE r.experiment_id = $id "
        "UNION ALL SELECT created_ts FROM experiments WHERE experiment_id = $id)",
        {"id": facts.experiment_id},
    ).fetchone()
    newest = row[0] if row and row[0] is not None else None
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds") if newest is not None else ""
