"""The `comparisons` table: every paired difference that a page shows, computed once and kept.

Three families of rows, each row with a hash of the stage keys it came from (`inputs`):

- an arm against the best prompting arm, one row for each metric. Rows of the decision metric belong together: their
  intervals are simultaneous and their p values are Holm's, so their `inputs` name every arm of the table;
- an arm against the base weights on the items of one benchmark.

A row whose `inputs` are unchanged is never computed again, and a bootstrap is seeded by them, so a rebuilt ledger holds
equal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import duckdb
import numpy as np

from ftlab.decide.facts import ArmFacts, Facts, experiment_ids, read_facts
from ftlab.decide.measure import item_metric, item_scores, seed_rows
from ftlab.decide.pairs import Pair, Scores, compute_pair, on_shared, scores_of, simultaneous, stage_of
from ftlab.plan.identity import digest
from ftlab.statistics.multiple import holm
from ftlab.statistics.paired import PairedResult

COMPARISONS_VERSION = 2
"""Part of every `inputs`: raise it when the same scores give another row."""

SAME_WEIGHTS = "exact: the same weights"
_DECIMALS = 12
"""Rows are rounded here, so that the order of a sum in a threaded matrix product never makes two ledgers differ."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row. `task` is the benchmark of a `benchmark` row, else empty, as is `split` there."""

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
        for slots, compute in _work(connection, facts):
            if slots <= held:
                kept |= slots
            else:
                fresh += compute()
        stale = held - kept
        if stale or fresh:
            _replace(connection, experiment_id, stale, fresh)
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
    seed = _seed(_pair_inputs("method", metric, split, arm, baseline))
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
    primary: dict[str, str | None] = {}
    for task in facts.benchmarks:
        for arm in facts.arms:
            base = facts.base_benchmark_key(arm, task)
            if base and arm.keys("benchmark", task):
                if base not in primary:
                    primary[base] = item_metric(connection, base)
                if metric_name := primary[base]:
                    yield _benchmark(connection, facts, task, metric_name, arm, base)


def _family(
    connection: duckdb.DuckDBPyConnection, facts: Facts, split: str, baseline: ArmFacts, others: Sequence[ArmFacts]
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    """The decision metric of all arms: intervals that hold together and Holm's p values."""
    metric = facts.metric
    kind = stage_of(metric)
    members = sorted(_keys_by_seed(arm, kind, split) for arm in others)
    inputs = digest([COMPARISONS_VERSION, "family", metric, split, members, _keys_by_seed(baseline, kind, split)])
    slots = {("method", metric, split, arm.arm_id, "", inputs) for arm in others}

    def compute() -> list[Comparison]:
        # Columns in the order of their keys: the draws, and so the ends, do not depend on the order of the arms.
        ordered = sorted(others, key=lambda arm: (_keys_by_seed(arm, kind, split), arm.arm_id))
        scores = scores_of(connection, [baseline, *ordered], split, metric)
        seed = _seed(inputs)
        found = (compute_pair(connection, facts, baseline, arm, split, metric, seed, scores) for arm in ordered)
        pairs = simultaneous(facts, split, baseline, [pair for pair in found if pair is not None], seed, scores)
        adjusted = holm([result.p for _, result, _ in pairs])
        return [
            replace(_row(facts, "method", metric, split, "", baseline, pair, inputs), p_adjusted=value)
            for pair, value in zip(pairs, adjusted, strict=True)
        ]

    return slots, compute


def _single(
    connection: duckdb.DuckDBPyConnection, facts: Facts, split: str, metric: str, baseline: ArmFacts, arm: ArmFacts
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    inputs = _pair_inputs("method", metric, split, arm, baseline)

    def compute() -> list[Comparison]:
        pair = compute_pair(connection, facts, baseline, arm, split, metric, _seed(inputs))
        return [_row(facts, "method", metric, split, "", baseline, pair, inputs)] if pair else []

    return {("method", metric, split, arm.arm_id, "", inputs)}, compute


def _benchmark(
    connection: duckdb.DuckDBPyConnection, facts: Facts, task: str, metric: str, arm: ArmFacts, base: str
) -> tuple[set[Slot], Callable[[], list[Comparison]]]:
    keys = arm.keys("benchmark", task)
    inputs = digest([COMPARISONS_VERSION, "benchmark", task, metric, _keys_by_seed(arm, "benchmark", task), base])

    def compute() -> list[Comparison]:
        scores = item_scores(connection, [base, *keys], metric)
        after = seed_rows(arm, "benchmark", task, scores)
        before = scores.get(base)
        if before is None or after is None:
            return []
        if keys == [base]:
            n = int(np.isfinite(before).sum())
            pair: Pair = (arm, PairedResult(0.0, 0.0, 0.0, 1.0, n, 0, 0, SAME_WEIGHTS), 0)
        else:
            pair = on_shared(arm, before[None, :], after, 1.0, _seed(inputs))
        return [_row(facts, "benchmark", metric, "", task, arm, pair, inputs)]

    return {("benchmark", metric, "", arm.arm_id, task, inputs)}, compute


def _keys_by_seed(arm: ArmFacts, kind: str, name: str) -> list[tuple[int, str]]:
    return sorted((run.seed, key) for run in arm.runs if (key := run.key(kind, name)))


def _pair_inputs(kind: str, metric: str, split: str, arm: ArmFacts, baseline: ArmFacts) -> str:
    sides = [_keys_by_seed(side, stage_of(metric), split) for side in (arm, baseline)]
    return digest([COMPARISONS_VERSION, kind, metric, split, *sides])


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS)


def _held(connection: duckdb.DuckDBPyConnection, experiment_id: str) -> set[Slot]:
    rows = connection.execute(
        "SELECT kind, metric, split, arm_id, task, inputs FROM comparisons WHERE experiment_id = ?", [experiment_id]
    ).fetchall()
    return {(kind, metric, split or "", arm, task or "", inputs) for kind, metric, split, arm, task, inputs in rows}


def _replace(
    connection: duckdb.DuckDBPyConnection, experiment_id: str, stale: set[Slot], fresh: Sequence[Comparison]
) -> None:
    import pyarrow as pa

    connection.begin()
    try:
        for kind, metric, split, arm, task, inputs in stale:
            connection.execute(
                "DELETE FROM comparisons WHERE experiment_id = ? AND kind = ? AND metric = ? "
                "AND coalesce(split, '') = ? AND arm_id = ? AND coalesce(task, '') = ? AND inputs = ?",
                [experiment_id, kind, metric, split, arm, task, inputs],
            )
        if fresh:
            connection.register("fresh_comparisons", pa.Table.from_pylist([asdict(row) for row in fresh]))
            connection.execute("INSERT INTO comparisons BY NAME SELECT * FROM fresh_comparisons")
            connection.unregister("fresh_comparisons")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
