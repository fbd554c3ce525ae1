"""The `comparisons` table: every paired difference that a page shows, computed once and kept.

Families of rows, each row with a hash of the stage keys it came from (`inputs`):

- an arm against the best prompting arm, one row for each metric. Rows of the decision metric belong together: their
  intervals are simultaneous and their p values are Holm's, so their `inputs` name every arm of the table;
- an arm against the base weights on the items of one benchmark, one row for each measure whose loss closes the gate;
- the same in the course of its training, one row for each point (its `split`): drawn, and never tested;
- the drift of an arm against the base weights: measures that close none, whose intervals hold together;
- the best arm of each trained method on parts of the rows (`ftlab.decide.slices`);
- of the decision metric, what `ftlab.decide.standing` says: the chance to be the best, equivalence, non-inferiority.

p values of decisions are Holm's; those of what is explored (every other metric, every benchmark) are Benjamini and
Hochberg's over all rows of their kind, set when a row of the kind comes or goes.

A row whose `inputs` are unchanged is never computed again, and a bootstrap is seeded by them, so a rebuilt ledger holds
equal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np

from ftlab.decide.drift import SAME_WEIGHTS, Drifting, drift_pairs
from ftlab.decide.facts import ArmFacts, Facts, experiment_ids, finalists_on, read_facts
from ftlab.decide.measure import Blocks, item_measures, item_scores, seed_rows
from ftlab.decide.pairs import (
    Pair,
    Scores,
    blocks_of,
    compute_pair,
    on_shared,
    scores_of,
    simultaneous,
    stage_of,
    standings,
)
from ftlab.decide.slices import Slice, masks, read_rows, slices
from ftlab.decide.standing import Stood
from ftlab.plan.identity import digest
from ftlab.spec.judge import JUDGE
from ftlab.spec.measures import Measure
from ftlab.statistics.level import ALPHA, at_alpha
from ftlab.statistics.multiple import benjamini_hochberg, holm
from ftlab.statistics.paired import PairedResult

COMPARISONS_VERSION = 3
"""Part of every `inputs`: raise it when the same scores give another row."""

_DECIMALS = 12
"""Rows are rounded here, so that the order of a sum in a threaded matrix product never makes two ledgers differ."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row. `task` is the benchmark of a `benchmark`, `course` or `drift` row, else empty, as is `split` there, but
    for the point of a `course` row."""

    experiment_id: str
    kind: str
    metric: str
    split: str
    arm_id: str
    baseline_arm_id: str
    task: str
    n: int
    dropped: int
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    fixed: int
    broke: int
    method: str
    seed: int
    inputs: str

    @property
    def slot(self) -> Slot:
        """What the row is about, and what it was computed from."""
        return (self.kind, self.metric, self.split, self.arm_id, self.task, self.inputs)


Slot = tuple[str, str, str, str, str, str]
"""kind, metric, split, arm, task, inputs."""


def update_comparisons(connection: duckdb.DuckDBPyConnection) -> int:
    """Bring `comparisons` up to date with the stages in the ledger, in one transaction. Returns how many rows changed.

    Cheap when nothing changed: it reads keys, never scores.
    """
    changed = 0
    for experiment_id in experiment_ids(connection):
        facts = read_facts(connection, experiment_id)
        held = _held(connection, experiment_id)
        kept: set[Slot] = set()
        fresh: list[Comparison] = []
        with at_alpha(facts.alpha):
            for slots, compute in _work(connection, facts):
                if slots <= held:
                    inputs = {slot[-1] for slot in slots}
                    kept |= {slot for slot in held if slot[-1] in inputs}
                else:
                    fresh += compute()
        stale = held - kept
        if stale or fresh:
            _replace(connection, facts, stale, fresh)
            changed += len(stale | {row.slot for row in fresh})
    return changed


def paired(
    cursor: duckdb.DuckDBPyConnection,
    facts: Facts,
    baseline: ArmFacts,
    arm: ArmFacts,
    split: str,
    metric: str,
    scores: Scores | None = None,
) -> Pair | None:
    """`arm` against `baseline` on one metric, with an ordinary interval. None while either lacks scores."""
    seed = _seed(_pair_inputs(facts, "method", metric, split, arm, baseline))
    with at_alpha(facts.alpha):
        return compute_pair(cursor, facts, baseline, arm, split, metric, seed, scores)


def _work(
    connection: duckdb.DuckDBPyConnection, facts: Facts
) -> Iterable[tuple[set[Slot], Callable[[], list[Comparison]]]]:
    """Rows that must be there, in groups that are computed together, each with the function that computes the group."""
    for split in facts.splits:
        baseline = facts.baseline(split)
        if baseline is None:
            continue
        others = [arm for arm in facts.arms_on(split) if arm is not baseline and arm.keys("scores", split)]
        for metric in facts.metrics:
            if metric == facts.metric:
                yield _family(connection, facts, split, baseline, others)
            else:
                yield from (_single(connection, facts, split, metric, baseline, arm) for arm in others)
        if facts.metric != JUDGE:
            yield from (_sliced(connection, facts, split, baseline, arm) for arm in finalists_on(facts, split))
    measures: dict[str, tuple[Measure, ...]] = {}
    for task in facts.benchmarks:
        drifting: list[Drifting] = []
        for arm in facts.arms:
            base = facts.base_benchmark_key(arm, task)
            if base and arm.keys("benchmark", task):
                if base not in measures:
                    measures[base] = item_measures(connection, task, base)
                for measure in measures[base]:
                    if measure.gated:
                        yield _benchmark(connection, facts, task, measure, arm, base)
                        yield from _course(connection, facts, task, measure, arm, base)
                    else:
                        drifting.append((arm, measure, base))
        if drifting:
            yield _drift(connection, facts, task, drifting)


def _family(
    connection: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts, others: Sequence[ArmFacts]
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    """The decision metric of all arms: intervals that hold together and Holm's p values."""
    metric = facts.metric
    kind = stage_of(metric)
    members = sorted(_keys_by_seed(arm, kind, split) for arm in others)
    gain = facts.decision["min_gain"]
    before = _keys_by_seed(baseline, kind, split)
    inputs = digest([*_version(facts), "family", metric, split, members, before, gain])
    slots = {("method", metric, split, arm.arm_id, "", inputs) for arm in others}

    def compute() -> list[Comparison]:
        # Columns in the order of their keys: the draws, and so the ends, do not depend on the order of the arms.
        ordered = sorted(others, key=lambda arm: (_keys_by_seed(arm, kind, split), arm.arm_id))
        scores = scores_of(connection, [baseline, *ordered], split, metric)
        seed = _seed(inputs)
        found = (compute_pair(connection, facts, baseline, arm, split, metric, seed, scores) for arm in ordered)
        blocks = blocks_of(connection, facts, baseline, split, metric, scores)
        known = [pair for pair in found if pair is not None]
        pairs = simultaneous(facts, split, baseline, known, seed, scores, blocks)
        adjusted = holm([result.p for _, result, _ in pairs])
        rows = [
            replace(_row(facts, "method", metric, split, "", baseline, pair, inputs), p_adjusted=value)
            for pair, value in zip(pairs, adjusted, strict=True)
        ]
        stood = standings(facts, split, baseline, pairs, seed, scores, blocks)
        return [*rows, *(_standing(facts, split, one, inputs) for one in stood)]

    return slots, compute


def _sliced(
    connection: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts, arm: ArmFacts
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    """The decision metric on parts of the rows. A row of kind `slices` says how many were looked at."""
    metric = facts.metric
    inputs = _pair_inputs(facts, "slices", metric, split, arm, baseline)

    def compute() -> list[Comparison]:
        scores = scores_of(connection, [baseline, arm], split, metric)
        before, after = (seed_rows(side, "scores", split, scores) for side in (baseline, arm))
        found: list[Slice] = []
        if before is not None and after is not None:
            rows = read_rows(connection, list(scores), metric, arm.datasets, split)
            if len(rows) == before.shape[1]:
                blocks = blocks_of(connection, facts, baseline, split, metric, scores)
                sign = -1.0 if facts.direction(split, metric) == "lower" else 1.0
                parts = masks(rows, facts.task_type == "classification")
                found = slices(arm, before, after, sign, _seed(inputs), parts, blocks)
        looked = PairedResult(None, None, None, None, len(found), 0, 0, "how many slices were looked at")
        marker = _row(facts, "slices", metric, split, "", baseline, (arm, looked, 0), inputs)
        return [
            marker,
            *(
                replace(
                    _row(facts, "slice", metric, split, one.name, baseline, (arm, one.result, 0), inputs),
                    p_adjusted=one.p_adjusted,
                )
                for one in found
            ),
        ]

    return {("slices", metric, split, arm.arm_id, "", inputs)}, compute


def _single(
    connection: duckdb.DuckDBPyConnection, facts: Facts, split: str, metric: str, baseline: ArmFacts, arm: ArmFacts
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    inputs = _pair_inputs(facts, "method", metric, split, arm, baseline)

    def compute() -> list[Comparison]:
        pair = compute_pair(connection, facts, baseline, arm, split, metric, _seed(inputs))
        return [_row(facts, "method", metric, split, "", baseline, pair, inputs)] if pair else []

    return {("method", metric, split, arm.arm_id, "", inputs)}, compute


def _course(
    connection: duckdb.DuckDBPyConnection, facts: Facts, task: str, measure: Measure, arm: ArmFacts, base: str
) -> Iterable[tuple[set[Slot], Callable[[], list[Comparison]]]]:
    """The arm against the base at every point of its training that is measured."""
    for (asked, point), stage in facts.course.items():
        if asked == task and arm.keys("benchmark", stage):
            yield _benchmark(connection, facts, task, measure, arm, base, stage, point)


def _benchmark(
    connection: duckdb.DuckDBPyConnection,
    facts: Facts,
    task: str,
    measure: Measure,
    arm: ArmFacts,
    base: str,
    stage: str = "",
    point: str = "",
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    """One measure of one benchmark; of `stage`, at `point` of the training, where they are given."""
    kind, stage = ("course" if point else "benchmark"), stage or task
    keys, metric = arm.keys("benchmark", stage), measure.metric
    lower = measure.direction == "lower"
    mine = _keys_by_seed(arm, "benchmark", stage)
    inputs = digest([*_version(facts), "benchmark", task, metric, mine, base, *(["lower"] if lower else [])])

    def compute() -> list[Comparison]:
        scores = item_scores(connection, [base, *keys], metric)
        after = seed_rows(arm, "benchmark", stage, scores)
        before = scores.get(base)
        if before is None or after is None:
            return []
        if keys == [base]:
            n = int(np.isfinite(before).sum())
            pair: Pair = (arm, PairedResult(0.0, 0.0, 0.0, 1.0, n, 0, 0, SAME_WEIGHTS), 0)
        else:
            sign, models = -1.0 if lower else 1.0, Blocks(models=facts.folds)
            pair = on_shared(arm, before[None, :], after, sign, _seed(inputs), models)
        return [_row(facts, kind, metric, point, task, arm, pair, inputs)]

    return {(kind, metric, point, arm.arm_id, task, inputs)}, compute


def _drift(
    connection: duckdb.DuckDBPyConnection, facts: Facts, task: str, members: Sequence[Drifting]
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    """All arms and measures of one benchmark: intervals that hold together and Holm's p values."""
    content = sorted(
        (measure.metric, _keys_by_seed(arm, "benchmark", task), base, arm.arm_id) for arm, measure, base in members
    )
    inputs = digest([*_version(facts), "drift", task, content])
    slots = {("drift", measure.metric, "", arm.arm_id, task, inputs) for arm, measure, _ in members}

    def compute() -> list[Comparison]:
        return [
            replace(_row(facts, "drift", measure.metric, "", task, pair[0], pair, inputs), p_adjusted=adjusted)
            for measure, pair, adjusted in drift_pairs(
                connection, task, members, _seed(inputs), Blocks(models=facts.folds)
            )
        ]

    return slots, compute


def _keys_by_seed(arm: ArmFacts, kind: str, name: str) -> list[tuple[int, str]]:
    """Of every run; a fold's key holds its fold."""
    return sorted((run.seed, key) for run in arm.runs if (key := run.key(kind, name)))


def _pair_inputs(facts: Facts, kind: str, metric: str, split: str, arm: ArmFacts, baseline: ArmFacts) -> str:
    sides = [_keys_by_seed(side, stage_of(metric), split) for side in (arm, baseline)]
    return digest([*_version(facts), kind, metric, split, *sides])


def _version(facts: Facts) -> list[Any]:
    """The version of the rows, and their level, groups and folds where the spec sets them."""
    parts: list[Any] = [COMPARISONS_VERSION]
    if facts.alpha != ALPHA:
        parts.append(facts.alpha)
    if facts.cluster_by is not None:
        parts.append(["cluster_by", facts.cluster_by])
    if facts.folds is not None:
        parts.append(["folds", facts.folds])
    return parts


def _seed(inputs: str) -> int:
    return int(inputs[:8], 16)


def _row(
    facts: Facts, kind: str, metric: str, split: str, task: str, baseline: ArmFacts, pair: Pair, inputs: str
) -> Comparison:
    arm, result, dropped = pair
    return Comparison(
        experiment_id=facts.experiment_id,
        kind=kind,
        metric=metric,
        split=split,
        arm_id=arm.arm_id,
        baseline_arm_id=baseline.arm_id,
        task=task,
        n=result.n,
        dropped=dropped,
        estimate=_rounded(result.estimate),
        low=_rounded(result.low),
        high=_rounded(result.high),
        p=result.p,
        p_adjusted=None,
        fixed=result.fixed,
        broke=result.broke,
        method=result.method,
        seed=_seed(inputs),
        inputs=inputs,
    )


def _standing(facts: Facts, split: str, stood: Stood, inputs: str) -> Comparison:
    return Comparison(
        experiment_id=facts.experiment_id,
        kind=stood.kind,
        metric=facts.metric,
        split=split,
        arm_id=stood.arm.arm_id,
        baseline_arm_id=stood.against.arm_id,
        task="",
        n=stood.n,
        dropped=0,
        estimate=_rounded(stood.estimate),
        low=_rounded(stood.low),
        high=_rounded(stood.high),
        p=stood.p,
        p_adjusted=None,
        fixed=0,
        broke=0,
        method=stood.method,
        seed=_seed(inputs),
        inputs=inputs,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _held(connection: duckdb.DuckDBPyConnection, experiment_id: str) -> set[Slot]:
    rows = connection.execute(
        "SELECT kind, metric, split, arm_id, task, inputs FROM comparisons WHERE experiment_id = ?", [experiment_id]
    ).fetchall()
    return {(kind, metric, split or "", arm, task or "", inputs) for kind, metric, split, arm, task, inputs in rows}


def _adjust_explored(connection: duckdb.DuckDBPyConnection, facts: Facts) -> None:
    """Benjamini and Hochberg's p values of all rows that are explored: of other metrics by split, and of benchmarks."""
    import pyarrow as pa

    rows = connection.execute(
        "SELECT rowid, kind, split, p, p_adjusted FROM comparisons "
        "WHERE experiment_id = ? AND (kind = 'benchmark' OR (kind = 'method' AND metric <> ?))",
        [facts.experiment_id, facts.metric],
    ).fetchall()
    explored: dict[tuple[str, str | None], list[Any]] = {}
    for row in rows:
        explored.setdefault((row[1], row[2]), []).append(row)
    moved = [
        {"id": row[0], "value": value}
        for members in explored.values()
        for row, value in zip(members, benjamini_hochberg([row[3] for row in members]), strict=True)
        if value != row[4]
    ]
    if moved:
        connection.register("moved", pa.Table.from_pylist(moved))
        connection.execute(
            "UPDATE comparisons SET p_adjusted = moved.value FROM moved WHERE comparisons.rowid = moved.id"
        )
        connection.unregister("moved")


def _replace(
    connection: duckdb.DuckDBPyConnection, facts: Facts, stale: set[Slot], fresh: Sequence[Comparison]
) -> None:
    """Rows that go and rows that come, and what they change about the corrections: all of it or nothing."""
    import pyarrow as pa

    connection.begin()
    try:
        for kind, metric, split, arm, task, inputs in stale:
            connection.execute(
                "DELETE FROM comparisons WHERE experiment_id = ? AND kind = ? AND metric = ? "
                "AND coalesce(split, '') = ? AND arm_id = ? AND coalesce(task, '') = ? AND inputs = ?",
                [facts.experiment_id, kind, metric, split, arm, task, inputs],
            )
        if fresh:
            connection.register("fresh_comparisons", pa.Table.from_pylist([asdict(row) for row in fresh]))
            connection.execute("INSERT INTO comparisons BY NAME SELECT * FROM fresh_comparisons")
            connection.unregister("fresh_comparisons")
        _adjust_explored(connection, facts)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
