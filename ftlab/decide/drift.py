"""How default behaviour moved against the base: measures without a better and a worse, and the answers that changed.

A drift is what an arm has minus what the base has, on the same prompts. Many of them are looked at together (every arm
by every measure of a benchmark), so their intervals are widened to hold together: one that excludes zero is news.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np

from ftlab.decide.costs import Summaries
from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.gates import Rule, gate_around, gate_within
from ftlab.decide.measure import INDEPENDENT, Blocks, item_scores, seed_rows
from ftlab.decide.pairs import Pair, on_shared, stretched
from ftlab.decide.view import ChangedAnswer, Drift, Estimate, Gate, PairedDifference
from ftlab.spec.measures import BEHAVIOUR, MEASURES, Measure
from ftlab.statistics.multiple import holm
from ftlab.statistics.paired import PairedResult

PER_ARM = 6
"""Changed answers that are shown of an arm."""
REPEATS_MORE = 0.1
"""A change of the repeated share that is worth a word."""
SAME_WEIGHTS = "exact: the same weights"

Drifting = tuple[ArmFacts, Measure, str]
"""An arm, what is measured, and the key of the base's benchmark."""


def drift_pairs(
    cursor: duckdb.DuckDBPyConnection,
    task: str,
    members: Sequence[Drifting],
    seed: int,
    blocks: Blocks = INDEPENDENT,
) -> list[tuple[Measure, Pair, float | None]]:
    """Each drift with its widened interval and Holm's p value, in the order of `members`; arms on the base's weights
    have none by definition and do not count."""
    found: list[tuple[Measure, Pair, bool]] = []
    for arm, measure, base in members:
        keys = arm.keys("benchmark", task)
        scores = item_scores(cursor, [base, *keys], measure.metric)
        before, after = scores.get(base), seed_rows(arm, "benchmark", task, scores)
        if before is None or after is None:
            continue
        if keys == [base]:
            n = int(np.isfinite(before).sum())
            found.append((measure, (arm, PairedResult(0.0, 0.0, 0.0, 1.0, n, 0, 0, SAME_WEIGHTS), 0), False))
        else:
            found.append((measure, on_shared(arm, before[None, :], after, 1.0, seed, blocks), True))
    moved = [pair[1] for _, pair, moving in found if moving]
    adjusted = iter(holm([result.p for result in moved]))
    return [
        (measure, _widened(pair, len(moved)), next(adjusted)) if moving else (measure, pair, None)
        for measure, pair, moving in found
    ]


def _widened(pair: Pair, family: int) -> Pair:
    arm, result, dropped = pair
    method = f"simultaneous over {family} drifts (Bonferroni); {result.method}"
    return arm, stretched(result, family, method), dropped


def drift_of(
    facts: Facts,
    arm: ArmFacts,
    rule: Rule,
    stored: dict[str, PairedDifference],
    summaries: Summaries,
) -> list[Drift]:
    """The drifts of an arm in the order of the spec. `stored`: differences by the measure's name."""
    found = []
    for task in facts.benchmarks:
        base_key = facts.base_benchmark_key(arm, task)
        for measure in MEASURES.get(task, ()):
            name = measure.name(task)
            difference = stored.get(name)
            if measure.gated or difference is None or base_key is None:
                continue
            base = item_estimate([base_key], measure.metric, summaries)
            after = item_estimate(arm.keys("benchmark", task), measure.metric, summaries)
            if base is None or after is None:
                continue
            limit = rule.limits.get(name)
            found.append(
                Drift(
                    task=name,
                    unit=measure.unit,
                    direction=measure.direction,
                    base=base,
                    arm=after,
                    difference=difference,
                    limit=limit,
                    within_limit=None if limit is None else _gate(measure, difference, limit),
                )
            )
    return found


def _gate(measure: Measure, difference: PairedDifference, limit: float) -> Gate:
    low, high = difference.estimate.low, difference.estimate.high
    if measure.direction == "none":
        return gate_around(low, high, limit)
    return gate_within(None if high is None else -high, None if low is None else -low, limit)


def item_estimate(keys: Sequence[str], metric: str, summaries: Summaries) -> Estimate | None:
    """What an arm's benchmark came to: means over its seeds of the values and of the ends."""
    found = [summaries.get(("benchmark", key), {}).get("metrics", {}).get(metric) for key in keys]
    rows = [row for row in found if row and row.get("value") is not None]
    if not rows:
        return None
    method = str(rows[0].get("interval") or "Wilson")
    return Estimate(
        value=sum(row["value"] for row in rows) / len(rows),
        low=_mean([row.get("low") for row in rows]),
        high=_mean([row.get("high") for row in rows]),
        n=rows[0].get("n"),
        method=method if len(rows) == 1 else f"{method}; averaged over {len(rows)} seeds",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if values and len(known) == len(values) else None


def changed_answers(cursor: duckdb.DuckDBPyConnection, facts: Facts, arms: Sequence[ArmFacts]) -> list[ChangedAnswer]:
    """At most `PER_ARM` general prompts of each arm (its first seed) whose answer is another than the base's.

    First those whose properties changed most, then those whose length did, then in the order of the prompts.
    """
    if BEHAVIOUR not in facts.benchmarks or not _has_answers(cursor):
        return []
    return [case for arm in arms for case in _changed(cursor, facts, arm)]


def _has_answers(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Whether the ledger has the table: a snapshot that an older version published has not."""
    row = cursor.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'bench_outputs'").fetchone()
    return bool(row and row[0])


def _changed(cursor: duckdb.DuckDBPyConnection, facts: Facts, arm: ArmFacts) -> list[ChangedAnswer]:
    base, keys = facts.base_benchmark_key(arm, BEHAVIOUR), arm.keys("benchmark", BEHAVIOUR)
    if base is None or not keys or keys[0] == base:
        return []
    rows = cursor.execute(
        "SELECT a.doc_hash, b.prompt, b.output, a.output FROM bench_outputs b JOIN bench_outputs a USING (doc_hash) "
        "WHERE b.key = ? AND a.key = ? AND a.output IS DISTINCT FROM b.output ORDER BY b.doc_id",
        [base, keys[0]],
    ).fetchall()
    before, after = (_scores(cursor, key) for key in (base, keys[0]))
    cases = []
    for doc, prompt, was, now in rows:
        flips, length = _changes(before.get(doc, {}), after.get(doc, {}))
        words = [*flips, *([_longer(length)] if length else [])]
        case = ChangedAnswer(
            arm_id=arm.arm_id, prompt=prompt or "", before=was or "", after=now or "", changes=words or ["other words"]
        )
        cases.append((-len(flips), -abs(length), case))
    return [case for _, _, case in sorted(cases, key=lambda each: each[:2])[:PER_ARM]]


def _scores(cursor: duckdb.DuckDBPyConnection, key: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for doc, metric, score in cursor.execute(
        "SELECT doc_hash, metric, score FROM bench_items WHERE key = ? AND score IS NOT NULL", [key]
    ).fetchall():
        found.setdefault(doc, {})[metric] = score
    return found


_FLIPS = {
    "format": ("no longer in the asked form", "now in the asked form"),
    "instructions": ("no longer follows the instruction", "now follows the instruction"),
    "refusal": ("no longer refuses", "now refuses"),
}


def _changes(before: dict[str, float], after: dict[str, float]) -> tuple[list[str], int]:
    """What changed about an answer in words, and by how many tokens it grew."""
    flips = [
        words[after[metric] > before[metric]]
        for metric, words in _FLIPS.items()
        if metric in before and metric in after and before[metric] != after[metric]
    ]
    repeated = after.get("repetition", 0.0) - before.get("repetition", 0.0)
    if abs(repeated) >= REPEATS_MORE:
        flips.append("repeats itself more" if repeated > 0 else "repeats itself less")
    return flips, round(after.get("length", 0.0) - before.get("length", 0.0))


def _longer(tokens: int) -> str:
    noun = "token" if abs(tokens) == 1 else "tokens"
    return f"{abs(tokens)} {noun} {'longer' if tokens > 0 else 'shorter'}"
