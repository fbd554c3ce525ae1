"""From the ledger to the one view that every surface shows. Reads, joins and orders; computes no interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import duckdb

from ftlab import text
from ftlab.decide.compare import paired
from ftlab.decide.costs import Summaries, cost_of, read_summaries
from ftlab.decide.economics import with_economics
from ftlab.decide.facts import ArmFacts, Facts, RunFacts, read_facts
from ftlab.decide.fairness import tuning_budgets, unfair
from ftlab.decide.gaps import missing_parts
from ftlab.decide.gates import Rule, gate_all, gate_within, loss_limit
from ftlab.decide.labels import label_figures
from ftlab.decide.order import arranged
from ftlab.decide.origin import read_provenance, read_warnings
from ftlab.decide.pairs import Scores, scores_of
from ftlab.decide.regressions import regressions
from ftlab.decide.verdict import conclude
from ftlab.decide.view import (
    ArmView,
    BenchmarkChange,
    DecisionView,
    Estimate,
    Gate,
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

_ORDER = (
    Status.FAILED,
    Status.OOM,
    Status.KILLED,
    Status.CANCELLED,
    Status.WAITING,
    Status.RUNNING,
    Status.PRUNED,
    Status.COMPLETE,
)
"""The least finished first."""

Stored = Mapping[tuple[str, str, str], tuple[PairedDifference, str]]
"""Comparisons by (kind, metric or task, arm), each with the metric."""


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
    stored = _comparisons(cursor, facts, split, baseline)
    views = [_arm_view(facts, arm, split, rule, baseline, stored, summaries) for arm in facts.arms_on(split)]
    if split == TEST:
        views = _with_selection(cursor, facts, views)
    horizon = facts.decision.get("horizon_requests")
    views = with_economics(arranged(views, facts, split, baseline), facts.prices, horizon)
    progress = _progress(facts)
    examples, majority = _examples(cursor, facts, split)
    finalists = _finalists(views, facts)
    budgets = tuning_budgets(facts, summaries)
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
        conclusion=conclude(
            views,
            rule,
            _not_inferior(cursor, facts, split, rule.min_gain),
            progress,
            examples,
            _seeds(facts),
            majority if facts.metric == "accuracy" else None,
            len(facts.looks),
        ),
        arms=views,
        regressions=regressions(cursor, facts, split, baseline, finalists) if baseline else [],
        warnings=[*unfair(facts, budgets), *read_warnings(cursor, facts)],
        missing=missing_parts(facts, views, split, baseline),
        progress=progress,
        arms_tried=len(facts.arms),
        examples=examples,
        majority=majority,
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


def _comparisons(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts | None) -> Stored:
    rows = cursor.execute(
        "SELECT kind, metric, arm_id, task, n, dropped, estimate, low, high, p, p_adjusted, fixed, broke, method "
        "FROM comparisons WHERE experiment_id = ? AND estimate IS NOT NULL "
        "AND (kind = 'benchmark' OR (split = ? AND baseline_arm_id = ?))",
        [facts.experiment_id, split, baseline.arm_id if baseline else ""],
    ).fetchall()
    stored = {}
    for kind, metric, arm_id, task, n, dropped, value, low, high, p, adjusted, fixed, broke, method in rows:
        difference = PairedDifference(
            estimate=Estimate(value=value, low=low, high=high, n=n, method=method),
            p_value=p,
            fixed=fixed,
            broke=broke,
            dropped=dropped,
            p_adjusted=adjusted,
            # The decision metric's rows, and no others, are corrected for the whole table.
            simultaneous=kind == "method" and metric == facts.metric and low is not None,
        )
        stored[kind, task if kind == "benchmark" else metric, arm_id] = (difference, metric)
    return stored


def _arm_view(
    facts: Facts,
    arm: ArmFacts,
    split: str,
    rule: Rule,
    baseline: ArmFacts | None,
    stored: Stored,
    summaries: Summaries,
) -> ArmView:
    metrics = {name: found for name in facts.metrics if (found := _estimate(arm, split, name))}
    benchmarks = _benchmarks(facts, arm, rule, stored, summaries)
    compared = stored.get(("method", facts.metric, arm.arm_id))
    status = _status(arm)
    return ArmView(
        arm_id=arm.arm_id,
        run_ids=[run.run_id for run in arm.runs],
        method_name=arm.method_name,
        family=arm.family,
        label=arm.label,
        status=status,
        reason=_reason(arm, status, split, facts.metric),
        seeds=[run.seed for run in arm.runs],
        is_baseline=arm is baseline,
        is_best_of_method=False,
        metrics=metrics,
        difference=compared[0] if compared and arm is not baseline else None,
        benchmarks=benchmarks,
        cost=cost_of(arm, split, summaries),
        config=dict(arm.method),
        varied=dict(arm.varied),
        on_front=False,
        model=arm.model_source,
        forgetting_gate=_forgetting_gate(facts, benchmarks),
        format_gate=_format_gate(rule, metrics),
        labels=label_figures(arm, split, _estimate),
    )


def _with_selection(cursor: duckdb.DuckDBPyConnection, facts: Facts, views: list[ArmView]) -> list[ArmView]:
    """The arms of a view of test with what chose them: their role, and their figures on validation."""
    by_id = {arm.arm_id: arm for arm in facts.arms}
    roles = facts.opened()
    chosen_on = _comparisons(cursor, facts, "validation", facts.baseline("validation"))
    return [
        view.model_copy(
            update={
                "role": roles.get(view.arm_id),
                "validation": _estimate(by_id[view.arm_id], "validation", facts.metric),
                "validation_difference": chosen_on.get(("method", facts.metric, view.arm_id), (None, ""))[0],
            }
        )
        for view in views
    ]


def _estimate(arm: ArmFacts, split: str, metric: str) -> Estimate | None:
    """A metric over the arm's seeds: means of the values and of the ends.

    Seeds answer the same examples, so what the choice of examples leaves open does not shrink with more seeds.
    """
    rows = [row for run in arm.runs if (row := run.metrics.get((split, metric))) and row.value is not None]
    if not rows:
        return None
    suffix = f"; averaged over {len(rows)} seeds" if len(rows) > 1 else ""
    return Estimate(
        value=sum(row.value for row in rows if row.value is not None) / len(rows),
        low=_mean([row.low for row in rows]),
        high=_mean([row.high for row in rows]),
        n=rows[0].n,
        method=f"{rows[0].interval or ''}{suffix}",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def _benchmarks(facts: Facts, arm: ArmFacts, rule: Rule, stored: Stored, summaries: Summaries) -> list[BenchmarkChange]:
    changes = []
    for task in facts.benchmarks:
        compared = stored.get(("benchmark", task, arm.arm_id))
        base_key = facts.base_benchmark_key(arm, task)
        if compared is None or base_key is None:
            continue
        difference, metric = compared
        base = _benchmark_estimate([base_key], metric, summaries)
        after = _benchmark_estimate(arm.keys("benchmark", task), metric, summaries)
        if base is None or after is None:
            continue
        limit = rule.limit(task)
        chance = summaries.get(("benchmark", base_key), {}).get("chance")
        changes.append(
            BenchmarkChange(
                task=task,
                metric=metric,
                base=base,
                arm=after,
                difference=difference,
                within_limit=gate_within(difference.estimate.low, difference.estimate.high, limit),
                limit=limit,
                group=group_of(task),
                chance=chance,
                informative=None if chance is None or base.low is None else base.low > chance,
            )
        )
    return changes


def _benchmark_estimate(keys: Iterable[str], metric: str, summaries: Summaries) -> Estimate | None:
    found = [summaries.get(("benchmark", key), {}).get("metrics", {}).get(metric) for key in keys]
    rows = [row for row in found if row and row.get("value") is not None]
    if not rows:
        return None
    return Estimate(
        value=sum(row["value"] for row in rows) / len(rows),
        low=_mean([row.get("low") for row in rows]),
        high=_mean([row.get("high") for row in rows]),
        n=rows[0].get("n"),
        method="Wilson" if len(rows) == 1 else f"Wilson; averaged over {len(rows)} seeds",
    )


def _forgetting_gate(facts: Facts, changes: Sequence[BenchmarkChange]) -> Gate | None:
    if not facts.benchmarks:
        return None
    absent: list[Gate] = ["not shown"] if len(changes) < len(facts.benchmarks) else []
    return gate_all([*absent, *(change.within_limit for change in changes)])


def _format_gate(rule: Rule, metrics: Mapping[str, Estimate]) -> Gate | None:
    if rule.min_valid_format is None:
        return None
    found = metrics.get("valid_format")
    return gate_within(found.low, found.high, -rule.min_valid_format) if found else "not shown"


def _status(arm: ArmFacts) -> Status:
    found = {Status(run.status) for run in arm.runs}
    return next((status for status in _ORDER if status in found), Status.WAITING)


def _reason(arm: ArmFacts, status: Status, split: str, metric: str) -> str | None:
    """Why the arm's result is absent or rests on fewer seeds than planned."""
    run = next((run for run in arm.runs if run.status == status), None)
    said = text.one_line(run.reason, 300) if run and run.reason else None
    measured = sum((split, metric) in run.metrics for run in arm.runs)
    if measured == len(arm.runs) and status is Status.COMPLETE:
        return None
    if status in (Status.WAITING, Status.RUNNING) and not measured:
        return "waiting to run" if status is Status.WAITING else _doing(run)
    words = said or str(status.value)
    return f"{measured} of {len(arm.runs)} seeds have a result; {words}" if 0 < measured < len(arm.runs) else words


def _doing(run: RunFacts | None) -> str:
    if run is None or not run.stages:
        return "running"
    return f"running, {len(run.done)} of {len(run.stages)} stages done"


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
