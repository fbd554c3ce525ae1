"""From the ledger to the one view that every surface shows. Reads, joins and orders; computes no interval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import duckdb

from ftlab import text
from ftlab.data.groups import group_names
from ftlab.decide.compare import paired
from ftlab.decide.costs import read_summaries
from ftlab.decide.course import with_courses
from ftlab.decide.drift import changed_answers
from ftlab.decide.economics import with_economics
from ftlab.decide.facts import ArmFacts, Facts, read_facts
from ftlab.decide.fairness import tuning_budgets, unfair
from ftlab.decide.gaps import missing_parts
from ftlab.decide.gates import Rule, loss_limit, measure_limit
from ftlab.decide.judged import held_back, judge_missing, judge_view
from ftlab.decide.limits import with_gates
from ftlab.decide.order import arranged
from ftlab.decide.origin import read_provenance, read_warnings
from ftlab.decide.rated import PREFERENCE, SCORE, ratings_view, read_ratings_of, with_ratings
from ftlab.decide.regressions import regressions
from ftlab.decide.rows import (
    arm_view,
    comparisons,
    not_inferior_pairs,
    with_selection,
    without_common_rows,
    worst_slices,
)
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
from ftlab.evaluate.benchmarks import measures_of
from ftlab.events import Status
from ftlab.plan.opening import TEST, Opening
from ftlab.statistics import power
from ftlab.statistics.level import at_alpha
from ftlab.text import SHARE

FEW_GROUPS = 20
"""Below so many groups of rows an interval over groups is rough (Cameron and Miller 2015, Journal of Human Resources
50:317)."""


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
    with at_alpha(facts.alpha):
        return _view(cursor, facts, split, splits, snapshot)


def _view(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, splits: list[str], snapshot: int | None
) -> DecisionView:
    baseline = facts.baseline(split)
    rule = _rule(facts, split)
    summaries = read_summaries(cursor, (*facts.arms, *facts.bases))
    stored = comparisons(cursor, facts, split, baseline)
    views = [arm_view(facts, arm, split, rule, baseline, stored, summaries) for arm in facts.arms_on(split)]
    views = with_courses(cursor, facts, views, summaries)
    if split == TEST:
        views = with_selection(cursor, facts, views)
    horizon = facts.decision.get("horizon_requests")
    views = with_economics(arranged(views, facts, split, baseline), facts.prices, horizon)
    views = with_gates(views, rule)
    rated = read_ratings_of(cursor, facts, split)
    views = with_ratings(views, facts, split, baseline, rated)
    progress = _progress(facts)
    examples, majority = _examples(cursor, facts, split)
    finalists = _finalists(views, facts)
    budgets = tuning_budgets(facts, summaries)
    clusters = _clusters(cursor, facts, split)
    measures = {measure.name(task): measure for task in facts.benchmarks for measure in measures_of(task)}
    judge = judge_view(facts, split)
    conclusion = conclude(
        views,
        rule,
        _not_inferior(cursor, facts, split),
        progress,
        examples,
        _seeds(facts),
        majority if facts.metric == "accuracy" else None,
        len(facts.looks),
    )
    return DecisionView(
        experiment_id=facts.experiment_id,
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
        forgetting_limits=dict(rule.limits),
        min_valid_format=rule.min_valid_format,
        max_p95_ms=rule.max_p95_ms,
        max_cost_per_1k=rule.max_cost_per_1k,
        confidence=1 - facts.alpha,
        metric_units={name: _unit(facts, split, name) for name in (*facts.metrics, *_rated_metrics(views))},
        benchmarks=[name for name, measure in measures.items() if measure.gated],
        benchmark_groups={name: measure.group for name, measure in measures.items() if measure.gated},
        benchmark_units={name: measure.unit for name, measure in measures.items()} | _measured_units(views),
        snapshot=snapshot,
        updated_at=_updated_at(cursor, facts),
        conclusion=held_back(conclusion, facts.metric, judge),
        arms=views,
        regressions=regressions(cursor, facts, split, baseline, finalists) if baseline else [],
        worst_slices=worst_slices(cursor, facts, split, finalists),
        changed_answers=changed_answers(cursor, facts, finalists),
        warnings=[
            *unfair(facts, budgets),
            *_few_groups(facts, split, examples, clusters),
            *read_warnings(cursor, facts),
        ],
        missing=[
            *missing_parts(facts, views, split, baseline, without_common_rows(cursor, facts, split)),
            *judge_missing(facts, judge),
        ],
        progress=progress,
        arms_tried=len(facts.arms),
        arms_cloned=sum(arm.cloned_from is not None for arm in facts.arms),
        examples=examples,
        smallest_detectable=_smallest_detectable(views),
        cluster_by=facts.cluster_by,
        clusters=clusters,
        folds=facts.folds,
        majority=majority,
        ratings=ratings_view(cursor, facts, split, rated),
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
        estimate=Estimate(
            value=result.estimate,
            low=result.low,
            high=result.high,
            n=result.n,
            method=result.method,
            confidence=1 - facts.alpha,
        ),
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
    given = facts.decision["max_forgetting"]
    asked = [(task, measure) for task in facts.benchmarks for measure in measures_of(task)]
    limits = {
        measure.name(task): limit
        for task, measure in asked
        if (limit := measure_limit(given, task, measure)) is not None
    }
    return Rule(
        metric=facts.metric,
        unit=_unit(facts, split, facts.metric),
        split=split,
        min_gain=facts.decision["min_gain"],
        max_forgetting=loss_limit(given),
        min_valid_format=facts.decision.get("min_valid_format"),
        benchmarks=tuple(limits),
        currency=facts.prices.currency,
        limits=limits,
        max_p95_ms=facts.decision.get("max_p95_ms"),
        max_cost_per_1k=facts.decision.get("max_cost_per_1k"),
    )


def _measured_units(views: Sequence[ArmView]) -> dict[str, str]:
    """The units of benchmarks that tell theirs with their results."""
    return {change.task: change.unit for view in views for change in view.benchmarks}


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
    return max((len(arm.seeds) for arm in facts.arms), default=0)


def _examples(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> tuple[int, Majority | None]:
    """How many rows the split has, and its most frequent label (the first by name of equals)."""
    rows = cursor.execute(
        "SELECT target, count(DISTINCT example_id) FROM examples WHERE dataset_key IN (SELECT unnest(?::VARCHAR[])) "
        "AND split = ? GROUP BY 1 ORDER BY 2 DESC, 1",
        [_datasets(facts), split],
    ).fetchall()
    total = sum(count for _, count in rows)
    if not rows or facts.task_type != "classification":
        return total, None
    return total, Majority(label=rows[0][0], share=rows[0][1] / total)


def _not_inferior(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> Callable[[ArmView, ArmView], bool]:
    """Whether one arm is shown to be worse than another by less than half the minimum gain, as it was stored."""
    shown = not_inferior_pairs(cursor, facts, split)
    return lambda arm, best: (arm.arm_id, best.arm_id) in shown


def _rated_metrics(views: Sequence[ArmView]) -> list[str]:
    return [name for name in (PREFERENCE, SCORE) if any(name in view.metrics for view in views)]


def _smallest_detectable(views: Sequence[ArmView]) -> float | None:
    """By the interval of the first trained arm: what widened it (many arms, groups, seeds) counts too."""
    compared = [view.difference.estimate for view in views if view.difference is not None and view.family != "prompt"]
    for found in compared:
        spread = power.spread_of_interval(found.low, found.high, found.n)
        if spread and found.n:
            return power.smallest_effect(found.n, spread).effect
    return None


def _clusters(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> int | None:
    """How many groups the rows of a split come in."""
    if facts.cluster_by is None:
        return None
    rows = cursor.execute(
        "SELECT DISTINCT example_id, fields_json FROM examples WHERE dataset_key IN (SELECT unnest(?::VARCHAR[])) "
        "AND split = ?",
        [_datasets(facts), split],
    ).fetchall()
    names = group_names([json.loads(fields) for _, fields in rows], [row_id for row_id, _ in rows], facts.cluster_by)
    return len(set(names))


def _few_groups(facts: Facts, split: str, examples: int, clusters: int | None) -> list[str]:
    if clusters is None or clusters >= FEW_GROUPS:
        return []
    return [
        f"the {examples:,} rows of {split} come in {clusters:,} groups by {text.one_line(str(facts.cluster_by))}; with "
        f"fewer than {FEW_GROUPS} groups intervals are wide and rough"
    ]


def _datasets(facts: Facts) -> list[str]:
    return next((arm.datasets for arm in facts.arms if arm.datasets), [])


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
