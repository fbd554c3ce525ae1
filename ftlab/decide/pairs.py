"""One arm against another on the same examples, whatever the metric and however many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np

from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.judged import judge_scores
from ftlab.decide.measure import (
    Clusters,
    Floats,
    answers,
    example_clusters,
    example_scores,
    judged_clusters,
    labels,
    seed_rows,
)
from ftlab.decide.standing import Stood, best_rows, equivalence_rows, non_inferiority_rows
from ftlab.evaluate.metrics.make import corpus_metric
from ftlab.execute.judgements import KIND
from ftlab.spec.judge import JUDGE
from ftlab.spec.metrics import metric_entry
from ftlab.statistics.clusters import clustered_difference
from ftlab.statistics.paired import PairedResult, paired_difference
from ftlab.statistics.replicates import SeedNoise, replicated_difference, seed_noise, with_seed_noise
from ftlab.statistics.simultaneous import mean_differences, widening

Pair = tuple[ArmFacts, PairedResult, int]
"""An arm, its result, and how many examples were dropped because only one side has a score."""


Scores = dict[str, Floats]
"""Scores of the same examples by scores key."""


def scores_of(cursor: duckdb.DuckDBPyConnection, arms: Sequence[ArmFacts], split: str, metric: str) -> Scores:
    """The scores of all these arms in one read; empty for a metric that has none for single examples."""
    keys = [key for arm in arms for key in arm.keys(stage_of(metric), split)]
    return judge_scores(cursor, keys) if metric == JUDGE else example_scores(cursor, keys, metric)


def stage_of(metric: str) -> str:
    """The kind of the stage that a metric's scores of single examples come from."""
    return KIND if metric == JUDGE else "scores"


def clusters_of(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, arm: ArmFacts, split: str, metric: str, scores: Scores
) -> Clusters | None:
    """The group of every example that `scores` are of, aligned with them; None where the spec names no groups."""
    if facts.cluster_by is None or not scores:
        return None
    if metric == JUDGE:
        return judged_clusters(cursor, list(scores), arm.dataset, split, facts.cluster_by)
    return example_clusters(cursor, list(scores), metric, arm.dataset, split, facts.cluster_by)


def compute_pair(
    cursor: duckdb.DuckDBPyConnection,
    facts: Facts,
    baseline: ArmFacts,
    arm: ArmFacts,
    split: str,
    metric: str,
    seed: int,
    scores: Scores | None = None,
) -> Pair | None:
    """`arm` against `baseline` on one metric, positive when better, with an ordinary interval. None without scores.

    `scores` are what `scores_of` read for these arms, when the caller has them already.
    """
    scores = scores_of(cursor, [baseline, arm], split, metric) if scores is None else scores
    before = seed_rows(baseline, stage_of(metric), split, scores)
    after = seed_rows(arm, stage_of(metric), split, scores)
    if before is not None and after is not None:
        clusters = clusters_of(cursor, facts, baseline, split, metric, scores)
        return on_shared(arm, before, after, _sign(facts, split, metric), seed, clusters)
    if metric == JUDGE:
        return None
    return _corpus(cursor, facts, baseline, arm, split, metric, seed)


def on_shared(
    arm: ArmFacts, before: Floats, after: Floats, sign: float, seed: int, clusters: Clusters | None = None
) -> Pair:
    """The paired difference on the examples that both sides have scores for, `(seeds, examples)` each.

    With several seeds the interval holds both levels of chance, the examples and the seeds. `clusters` `(examples,)`
    are the groups that examples come in, where the spec names them.
    """
    scored_before, scored_after = np.isfinite(before).all(axis=0), np.isfinite(after).all(axis=0)
    both = scored_before & scored_after
    one, other = sign * before[:, both], sign * after[:, both]
    if clusters is not None:
        result = _clustered(one, other, clusters[both].tolist(), seed)
    elif len(one) == len(other) == 1:
        result = paired_difference(one[0].tolist(), other[0].tolist(), seed)
    else:
        result = replicated_difference(one, other, seed, baseline_has_seeds=len(one) > 1).difference
    return arm, result, int((scored_before ^ scored_after).sum())


def _clustered(one: Floats, other: Floats, clusters: list[int], seed: int) -> PairedResult:
    """Means over the seeds, over whole groups of examples, with the noise of the seeds added as a second level."""
    result, _ = clustered_difference(one.mean(axis=0).tolist(), other.mean(axis=0).tolist(), clusters, seed)
    noises = _noises(one, other)
    if not noises:
        return result
    low, high = with_seed_noise(result, noises)
    seeds = " and ".join(str(noise.seeds) for noise in noises)
    return replace(result, low=low, high=high, method=f"{result.method}; Student's t over {seeds} seeds, by MOVER")


def _corpus(
    cursor: duckdb.DuckDBPyConnection,
    facts: Facts,
    baseline: ArmFacts,
    arm: ArmFacts,
    split: str,
    metric: str,
    seed: int,
) -> Pair | None:
    """A metric that exists over many examples only: the metric's own comparison, once for each seed that both have."""
    measure = corpus_metric(facts.metric_entries.get(metric) or metric_entry(metric))
    if measure is None:
        return None
    nats = getattr(measure, "needs_target", False)
    results: list[PairedResult] = []
    dropped = 0
    for dataset, before_key, after_key in _seed_pairs(baseline, arm, split):
        before = answers(cursor, before_key, dataset, split, metric, nats)
        after = answers(cursor, after_key, dataset, split, metric, nats)
        shared = [example for example in before if example in after]
        if not shared:
            continue
        dropped = max(dropped, len(before) + len(after) - 2 * len(shared))
        known = list(facts.labels) or labels(cursor, dataset)
        results.append(measure.compare([before[x] for x in shared], [after[x] for x in shared], known, seed))
    if not results:
        return None
    result = _mean_result(results)
    if facts.cluster_by is not None:
        result = replace(result, method=f"{result.method}; groups by {facts.cluster_by} not counted")
    return arm, result, dropped


def _seed_pairs(baseline: ArmFacts, arm: ArmFacts, split: str) -> list[tuple[str, str, str]]:
    """(dataset key, the baseline's scores key, the arm's) for each seed; each distinct pair once."""
    by_seed = {run.seed: key for run in baseline.runs if (key := run.key("scores", split))}
    pairs = [
        (run.stages["dataset", ""], by_seed.get(run.seed, next(iter(by_seed.values()))), key)
        for run in arm.runs
        if by_seed and (key := run.key("scores", split)) and ("dataset", "") in run.stages
    ]
    return list(dict.fromkeys(pairs))


def _mean_result(results: Sequence[PairedResult]) -> PairedResult:
    """Several seeds as one result: means of the estimates and of the ends, and the largest p value.

    Seeds share their examples, so averaging them does not narrow what the choice of examples leaves open.
    """
    first = results[0]
    if len(results) == 1:
        return first

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    return replace(
        first,
        estimate=mean([result.estimate for result in results]),
        low=mean([result.low for result in results]),
        high=mean([result.high for result in results]),
        p=max((result.p for result in results if result.p is not None), default=None),
        method=f"{first.method}; estimate and ends averaged over {len(results)} seeds",
    )


def standings(
    facts: Facts,
    split: str,
    baseline: ArmFacts,
    pairs: list[Pair],
    seed: int,
    scores: Scores,
    clusters: Clusters | None = None,
) -> list[Stood]:
    """Who is likely the best and who is shown to be as good as whom, by the decision metric; empty for a metric without
    scores of single examples."""
    kind = stage_of(facts.metric)
    before = seed_rows(baseline, kind, split, scores)
    pairs = [pair for pair in pairs if pair[1].n > 0]
    if before is None or not pairs:
        return []
    sign = _sign(facts, split, facts.metric)
    base = sign * before
    arms = [(arm, sign * _rows_of(arm, kind, split, scores)) for arm, _, _ in pairs]
    differences = np.stack([after.mean(axis=0) - base.mean(axis=0) for _, after in arms], axis=1)
    gain = float(facts.decision["min_gain"])

    def ends(one: Floats, other: Floats) -> PairedResult:
        return on_shared(baseline, one, other, 1.0, seed, clusters)[1]

    known = None if clusters is None and all(len(rows) == 1 for rows in (base, *(rows for _, rows in arms))) else ends
    return [
        *best_rows(baseline, [arm for arm, _ in arms], differences, seed, clusters),
        *equivalence_rows(baseline, base, arms, gain, known),
        *non_inferiority_rows(arms, gain / 2, known),
    ]


def simultaneous(
    facts: Facts,
    split: str,
    baseline: ArmFacts,
    pairs: list[Pair],
    seed: int,
    scores: Scores,
    clusters: Clusters | None = None,
) -> list[Pair]:
    """The same results with intervals that hold together over all arms. `clusters` as of `on_shared`."""
    if apart := [pair for pair in pairs if pair[1].n == 0]:
        # Without a common example there is nothing to hold together; the rest stand as they would without it.
        rest = [pair for pair in pairs if pair[1].n > 0]
        return [*simultaneous(facts, split, baseline, rest, seed, scores, clusters), *apart]
    if not pairs:
        return []
    kind_of_stage = stage_of(facts.metric)
    before = seed_rows(baseline, kind_of_stage, split, scores)
    if before is None:
        return [_widened(pair, len(pairs)) for pair in pairs]
    rows = [_rows_of(arm, kind_of_stage, split, scores) for arm, _, _ in pairs]
    sign = _sign(facts, split, facts.metric)
    matrix = np.stack([sign * (after.mean(axis=0) - before.mean(axis=0)) for after in rows], axis=1)
    scored = np.isfinite(matrix).any(axis=1)
    matrix = matrix[scored]
    bounded = all(np.nanmin(array) >= 0.0 and np.nanmax(array) <= 1.0 for array in scores.values())
    groups = clusters[scored] if clusters is not None else None
    if groups is not None and np.unique(groups).size < 2:
        return pairs  # their methods say that one group has no interval
    joint = mean_differences(matrix, seed, bounded=bounded, clusters=groups)
    of = f" over {joint.clusters} groups" if joint.clusters is not None else ""
    kind = f"simultaneous over {len(pairs)} arms (max-T, {joint.draws} draws{of})"
    found = []
    for (arm, result, dropped), after, low, high in zip(pairs, rows, joint.low, joint.high, strict=True):
        held = replace(result, low=float(low), high=float(high), method=_joined(kind, result.method))
        ends = with_seed_noise(held, _noises(before, after), len(pairs))
        found.append((arm, replace(held, low=ends[0], high=ends[1]), dropped))
    return found


def _noises(*sides: Floats) -> list[SeedNoise]:
    """The seed noise of each side that has several seeds."""
    finite = (rows[:, np.isfinite(rows).all(axis=0)] for rows in sides)
    return [noise for rows in finite if (noise := seed_noise(rows)) is not None]


def _rows_of(arm: ArmFacts, kind: str, split: str, scores: dict[str, Floats]) -> Floats:
    rows = seed_rows(arm, kind, split, scores)
    assert rows is not None, "an arm without scores has no pair"
    return rows


def _widened(pair: Pair, arms: int) -> Pair:
    """A corpus metric's interval, stretched about its estimate so that all arms' intervals hold together."""
    arm, result, dropped = pair
    kind = f"simultaneous over {arms} arms (Bonferroni)"
    return arm, stretched(result, arms, _joined(kind, result.method)), dropped


def stretched(result: PairedResult, family: int, method: str) -> PairedResult:
    """A result whose interval holds together with those of a family of so many, by Bonferroni; as it is without one."""
    if result.estimate is None or result.low is None or result.high is None:
        return result
    factor = widening(family)
    low = result.estimate - factor * (result.estimate - result.low)
    high = result.estimate + factor * (result.high - result.estimate)
    return replace(result, low=low, high=high, method=method)


def _joined(kind: str, method: str) -> str:
    _, _, seeds = method.partition("; ")
    return f"{kind}; {seeds}" if seeds else kind


def _sign(facts: Facts, split: str, metric: str) -> float:
    return -1.0 if facts.direction(split, metric) == "lower" else 1.0
