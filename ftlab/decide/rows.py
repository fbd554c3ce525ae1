"""The rows of the decision table: one arm as the ledger knows it, with its differences, benchmarks, gates and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import duckdb

from ftlab import text
from ftlab.decide.costs import Summaries, cost_of
from ftlab.decide.drift import drift_of, item_estimate
from ftlab.decide.facts import ArmFacts, Facts, RunFacts
from ftlab.decide.gates import Rule, gate_all, gate_within
from ftlab.decide.labels import label_figures
from ftlab.decide.spread import spread_of
from ftlab.decide.view import ArmView, BenchmarkChange, Drift, Estimate, Gate, PairedDifference, WorstSlice
from ftlab.evaluate.benchmarks import measures_of
from ftlab.events import Status
from ftlab.spec.measures import measure_name

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

EXPLORED: Literal["Benjamini-Hochberg"] = "Benjamini-Hochberg"

Stored = Mapping[tuple[str, str, str], tuple[PairedDifference, str]]
"""Comparisons by (kind, metric or name of the measure, arm), each with the metric."""


def comparisons(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts | None) -> Stored:
    """Every stored difference to `baseline` on a split, and to the base on every benchmark."""
    rows = cursor.execute(
        "SELECT kind, metric, arm_id, task, n, dropped, estimate, low, high, p, p_adjusted, fixed, broke, method "
        "FROM comparisons WHERE experiment_id = ? AND estimate IS NOT NULL "
        "AND (kind IN ('benchmark', 'drift') "
        "OR (kind IN ('method', 'best', 'equivalent') AND split = ? AND baseline_arm_id = ?))",
        [facts.experiment_id, split, baseline.arm_id if baseline else ""],
    ).fetchall()
    stored = {}
    for kind, metric, arm_id, task, n, dropped, value, low, high, p, adjusted, fixed, broke, method in rows:
        difference = PairedDifference(
            estimate=Estimate(value=value, low=low, high=high, n=n, method=method, confidence=1 - facts.alpha),
            p_value=p,
            fixed=fixed,
            broke=broke,
            dropped=dropped,
            p_adjusted=adjusted,
            correction="" if adjusted is None else "Holm" if kind == "method" and metric == facts.metric else EXPLORED,
            # Of the task's metrics only the one that decides is corrected for the whole table.
            simultaneous=(kind == "drift" or (kind == "method" and metric == facts.metric)) and low is not None,
        )
        stored[kind, measure_name(task, metric) if task else metric, arm_id] = (difference, metric)
    return stored


def arm_view(
    facts: Facts,
    arm: ArmFacts,
    split: str,
    rule: Rule,
    baseline: ArmFacts | None,
    stored: Stored,
    summaries: Summaries,
) -> ArmView:
    """One row; what it only has beside the others (best of its method, on a front) is filled in by `decide.order`."""
    metrics = {name: found for name in facts.metrics if (found := _estimate(arm, split, name))}
    benchmarks = _benchmarks(facts, arm, rule, stored, summaries)
    drifts = {
        name: found[0] for (kind, name, arm_id), found in stored.items() if kind == "drift" and arm_id == arm.arm_id
    }
    drift = drift_of(facts, arm, rule, drifts, summaries)
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
        seeds=arm.seeds,
        is_baseline=arm is baseline,
        is_best_of_method=False,
        metrics=metrics,
        probability_best=_stored_value(stored, "best", facts.metric, arm),
        equivalent=_equivalent(stored, facts, arm),
        spread=spread_of(arm, split, facts.metric, metrics.get(facts.metric)),
        difference=compared[0] if compared and arm is not baseline else None,
        benchmarks=benchmarks,
        drift=drift,
        cost=cost_of(arm, split, summaries),
        config=dict(arm.method),
        varied=dict(arm.varied),
        cloned_from=arm.cloned_from,
        on_front=False,
        model=arm.model_source,
        forgetting_gate=_forgetting_gate(rule, benchmarks, drift),
        format_gate=_format_gate(rule, metrics),
        labels=label_figures(arm, split, _estimate),
    )


def _stored_value(stored: Stored, kind: str, metric: str, arm: ArmFacts) -> float | None:
    found = stored.get((kind, metric, arm.arm_id))
    return found[0].estimate.value if found else None


def _equivalent(stored: Stored, facts: Facts, arm: ArmFacts) -> bool | None:
    """By the ends of the test's interval: TOST's 1 - 2 alpha one, or the wider ordinary one."""
    found = stored.get(("equivalent", facts.metric, arm.arm_id))
    if found is None or found[0].estimate.low is None or found[0].estimate.high is None:
        return None
    gain = facts.decision["min_gain"]
    return -gain < found[0].estimate.low and found[0].estimate.high < gain


def worst_slices(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, arms: Sequence[ArmFacts]
) -> list[WorstSlice]:
    """Of each of these arms the slice with the lowest difference, where some was looked at."""
    rows = cursor.execute(
        "SELECT arm_id, task, n, dropped, estimate, low, high, p, p_adjusted, fixed, broke, method, "
        "count(*) OVER (PARTITION BY arm_id) FROM comparisons WHERE experiment_id = ? AND kind = 'slice' "
        "AND metric = ? AND split = ? QUALIFY row_number() OVER (PARTITION BY arm_id ORDER BY estimate, task) = 1",
        [facts.experiment_id, facts.metric, split],
    ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    worst = []
    for arm in arms:
        if arm.arm_id not in found:
            continue
        name, n, dropped, value, low, high, p, adjusted, fixed, broke, method, looked_at = found[arm.arm_id]
        difference = PairedDifference(
            estimate=Estimate(value=value, low=low, high=high, n=n, method=method, confidence=1 - facts.alpha),
            p_value=p,
            fixed=fixed,
            broke=broke,
            dropped=dropped,
            p_adjusted=adjusted,
            correction="" if adjusted is None else EXPLORED,
        )
        worst.append(WorstSlice(arm_id=arm.arm_id, name=name, difference=difference, looked_at=looked_at))
    return worst


def without_common_rows(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> frozenset[str]:
    """The arms that were to be compared with the best prompt and share no scored example with it."""
    rows = cursor.execute(
        "SELECT arm_id FROM comparisons WHERE experiment_id = ? AND kind = 'method' AND metric = ? AND split = ? "
        "AND n = 0",
        [facts.experiment_id, facts.metric, split],
    ).fetchall()
    return frozenset(row[0] for row in rows)


def not_inferior_pairs(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> frozenset[tuple[str, str]]:
    """(arm, better arm) of every arm that is shown to be worse by less than half the minimum gain."""
    margin = facts.decision["min_gain"] / 2
    rows = cursor.execute(
        "SELECT arm_id, baseline_arm_id FROM comparisons WHERE experiment_id = ? AND kind = 'not_inferior' "
        "AND metric = ? AND split = ? AND low >= ?",
        [facts.experiment_id, facts.metric, split, -margin],
    ).fetchall()
    return frozenset((arm, better) for arm, better in rows)


def with_selection(cursor: duckdb.DuckDBPyConnection, facts: Facts, views: list[ArmView]) -> list[ArmView]:
    """The arms of a view of test with what chose them: their role, and their figures on validation."""
    by_id = {arm.arm_id: arm for arm in facts.arms}
    roles = facts.opened()
    chosen_on = comparisons(cursor, facts, "validation", facts.baseline("validation"))
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
    """A metric over the arm's replicates: means of the values and of the ends.

    They answer the same examples, so what the choice of examples leaves open does not shrink with more of them.
    """
    rows = arm.metric_rows(split, metric)
    if not rows:
        return None
    suffix = f"; averaged over {len(rows)} {arm.replicates_are(split)}" if len(rows) > 1 else ""
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
    for task, measure in [(each, measure) for each in facts.benchmarks for measure in measures_of(each)]:
        name = measure.name(task)
        compared = stored.get(("benchmark", name, arm.arm_id))
        base_key = facts.base_benchmark_key(arm, task)
        if compared is None or base_key is None:
            continue
        difference, metric = compared
        base = item_estimate([base_key], metric, summaries)
        after = item_estimate(arm.keys("benchmark", task), metric, summaries)
        if base is None or after is None:
            continue
        limit = rule.limit(name)
        summary = summaries.get(("benchmark", base_key), {})
        chance = summary.get("chance") if measure.chance is None else measure.chance
        figures = summary["metrics"][metric]
        changes.append(
            BenchmarkChange(
                task=name,
                metric=metric,
                base=base,
                arm=after,
                difference=difference,
                within_limit=gate_within(difference.estimate.low, difference.estimate.high, limit),
                limit=limit,
                group=measure.group,
                chance=chance,
                informative=None if chance is None or base.low is None else base.low > chance,
                unit=figures.get("unit", text.SHARE),
                direction=figures.get("direction", "higher"),
            )
        )
    return changes


def _forgetting_gate(rule: Rule, changes: Sequence[BenchmarkChange], drift: Sequence[Drift]) -> Gate | None:
    if not rule.benchmarks:
        return None
    gates = {change.task: change.within_limit for change in changes}
    gates |= {moved.task: moved.within_limit for moved in drift if moved.within_limit is not None}
    return gate_all([gates.get(name, "not shown") for name in rule.benchmarks])


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
    kind = "seeds" if len(arm.seeds) == len(arm.runs) else "runs"
    return f"{measured} of {len(arm.runs)} {kind} have a result; {words}" if 0 < measured < len(arm.runs) else words


def _doing(run: RunFacts | None) -> str:
    if run is None or not run.stages:
        return "running"
    return f"running, {len(run.done)} of {len(run.stages)} stages done"
