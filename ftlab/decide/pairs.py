"""One arm against another on the same examples, whatever the metric and however many seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np

from ftlab.decide.facts import VALIDATION, ArmFacts, Facts
from ftlab.decide.judged import judge_scores
from ftlab.decide.measure import (
    INDEPENDENT,
    Blocks,
    Floats,
    Mask,
    answers,
    example_clusters,
    example_scores,
    fold_numbers,
    judged_clusters,
    labels,
    seed_rows,
)
from ftlab.decide.standing import Stood, best_rows, equivalence_rows, non_inferiority_rows
from ftlab.evaluate.metrics.base import Answer
from ftlab.evaluate.metrics.make import corpus_metric
from ftlab.execute.judgements import KIND
from ftlab.spec.judge import JUDGE
from ftlab.spec.metrics import metric_entry
from ftlab.statistics.clusters import clustered_difference
from ftlab.statistics.folds import alike, fold_error, with_folds
from ftlab.statistics.paired import PairedResult, paired_difference
from ftlab.statistics.replicates import (
    SeedNoise,
    replicated_difference,
    seed_noise,
    with_noise_p,
    with_seed_noise,
)
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


def blocks_of(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, arm: ArmFacts, split: str, metric: str, scores: Scores
) -> Blocks:
    """What the examples share that `scores` are of, aligned with them; `arm` is any that has scores."""
    if not scores:
        return INDEPENDENT
    folds = fold_numbers(arm, stage_of(metric), split, scores)
    clusters = None
    if facts.cluster_by is not None and metric == JUDGE:
        clusters = judged_clusters(cursor, list(scores), arm.datasets, split, facts.cluster_by)
    elif facts.cluster_by is not None:
        clusters = example_clusters(cursor, list(scores), metric, arm.datasets, split, facts.cluster_by)
    return Blocks(clusters, folds, facts.folds if split != VALIDATION else None)


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
        blocks = blocks_of(cursor, facts, baseline, split, metric, scores)
        return on_shared(arm, before, after, _sign(facts, split, metric), seed, blocks)
    if metric == JUDGE:
        return None
    return _corpus(cursor, facts, baseline, arm, split, metric, seed)


def on_shared(
    arm: ArmFacts, before: Floats, after: Floats, sign: float, seed: int, blocks: Blocks = INDEPENDENT
) -> Pair:
    """The paired difference on the examples that both sides have scores for, `(seeds, examples)` each.

    With several seeds the interval holds both levels of chance, the examples and the seeds; with folds that of their
    models as well. `blocks` say which examples belong together.
    """
    scored_before, scored_after = np.isfinite(before).all(axis=0), np.isfinite(after).all(axis=0)
    both: Mask = np.asarray(scored_before & scored_after)
    one, other = sign * before[:, both], sign * after[:, both]
    shared = blocks.of(both)
    if shared.clusters is not None or shared.folds is not None:
        result = _in_blocks(one, other, shared, seed)
    elif len(one) == len(other) == 1:
        result = paired_difference(one[0].tolist(), other[0].tolist(), seed)
    else:
        result = replicated_difference(one, other, seed, baseline_has_seeds=len(one) > 1).difference
    if shared.models is not None and (noises := _noises(one, other)):
        result = _with_noises(result, [alike(noise, shared.models) for noise in noises], "models of folds, alike")
    return arm, result, int((scored_before ^ scored_after).sum())


def _in_blocks(one: Floats, other: Floats, blocks: Blocks, seed: int) -> PairedResult:
    """Means over the seeds, over whole groups and folds of examples, with the seeds' noise as a second level."""
    before, after = one.mean(axis=0).tolist(), other.mean(axis=0).tolist()
    if blocks.clusters is not None:
        result, _ = clustered_difference(before, after, blocks.clusters.tolist(), seed)
    else:
        result = paired_difference(before, after, seed)
    result = _folded(result, one, other, blocks)
    noises = _noises(one, other)
    if not noises:
        return result
    return _with_noises(result, noises, f"Student's t over {' and '.join(str(noise.seeds) for noise in noises)} seeds")


def _folded(result: PairedResult, one: Floats, other: Floats, blocks: Blocks, arms: int = 1) -> PairedResult:
    """The same, unless folds that share out the examples put its ends further out."""
    if blocks.folds is None:
        return result
    differences = other.mean(axis=0) - one.mean(axis=0)
    known = np.isfinite(differences) & (blocks.folds >= 0)
    found = fold_error(differences[known], blocks.folds[known]) if known.any() else None
    if found is None:
        return result
    # Few folds have a long reach: no two scores from 0 to 1 differ by more than 1.
    bounded = all(np.nanmax(np.abs(rows)) <= 1.0 for rows in (one, other))
    return with_folds(result, found, arms, most=1.0 if bounded else math.inf)


def _with_noises(result: PairedResult, noises: Sequence[SeedNoise], over: str) -> PairedResult:
    low, high = with_seed_noise(result, noises)
    p, method = with_noise_p(result, noises), f"{result.method}; {over}, by MOVER"
    return replace(result, low=low, high=high, p=p, method=method)


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
    for folds in _seed_pairs(baseline, arm, split):
        before: dict[str, Answer] = {}
        after: dict[str, Answer] = {}
        for dataset, before_key, after_key in folds:
            before |= answers(cursor, before_key, dataset, split, metric, nats)
            after |= answers(cursor, after_key, dataset, split, metric, nats)
        shared = [example for example in before if example in after]
        if not shared:
            continue
        dropped = max(dropped, len(before) + len(after) - 2 * len(shared))
        known = list(facts.labels) or labels(cursor, folds[0][0])
        results.append(measure.compare([before[x] for x in shared], [after[x] for x in shared], known, seed))
    if not results:
        return None
    result = _mean_result(results)
    if facts.cluster_by is not None:
        result = replace(result, method=f"{result.method}; groups by {facts.cluster_by} not counted")
    if split == VALIDATION and facts.folds is not None:
        result = replace(
            result, method=f"{result.method}; {facts.folds} folds pooled, the noise of their models not counted"
        )
    return arm, result, dropped


def _seed_pairs(baseline: ArmFacts, arm: ArmFacts, split: str) -> list[tuple[tuple[str, str, str], ...]]:
    """(dataset key, the baseline's scores key, the arm's) of every run that takes part, those of the folds of one seed
    together; each distinct tuple once."""
    by_run = {(run.seed, run.fold): key for run in baseline.runs if (key := run.key("scores", split))}
    by_fold = {fold: key for (_, fold), key in reversed(by_run.items())}
    pairs = [
        tuple(
            (run.stages["dataset", ""], by_run.get((run.seed, run.fold), by_fold[run.fold]), key)
            for run in runs
            if run.fold in by_fold and (key := run.key("scores", split)) and ("dataset", "") in run.stages
        )
        for runs in arm.replicates(split)
    ]
    return list(dict.fromkeys(pair for pair in pairs if pair))


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
    blocks: Blocks = INDEPENDENT,
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
        return on_shared(baseline, one, other, 1.0, seed, blocks)[1]

    single = all(len(rows) == 1 for rows in (base, *(rows for _, rows in arms)))
    known = None if blocks.clusters is None and blocks.folds is None and single else ends
    return [
        *best_rows(baseline, [arm for arm, _ in arms], differences, seed, blocks.clusters),
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
    blocks: Blocks = INDEPENDENT,
) -> list[Pair]:
    """The same results with intervals that hold together over all arms. `blocks` as of `on_shared`."""
    if apart := [pair for pair in pairs if pair[1].n == 0]:
        # Without a common example there is nothing to hold together; the rest stand as they would without it.
        rest = [pair for pair in pairs if pair[1].n > 0]
        return [*simultaneous(facts, split, baseline, rest, seed, scores, blocks), *apart]
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
    groups = blocks.clusters[scored] if blocks.clusters is not None else None
    if groups is not None and np.unique(groups).size < 2:
        return pairs  # their methods say that one group has no interval
    joint = mean_differences(matrix, seed, bounded=bounded, clusters=groups)
    of = f" over {joint.clusters} groups" if joint.clusters is not None else ""
    kind = f"simultaneous over {len(pairs)} arms (max-T, {joint.draws} draws{of})"
    found = []
    for (arm, result, dropped), after, low, high in zip(pairs, rows, joint.low, joint.high, strict=True):
        held = replace(result, low=float(low), high=float(high), method=_joined(kind, result.method))
        folded = _folded(replace(held, p=None), sign * before, sign * after, blocks, len(pairs))
        noises = _noises(before, after)
        if blocks.models is not None:
            noises += [alike(noise, blocks.models) for noise in noises]
        ends = with_seed_noise(folded, noises, len(pairs))
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
