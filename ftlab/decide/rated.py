"""What people think of the answers, as metrics of the arms they are of.

`human_preference` is how often an arm's answer is found better than the best prompt's on the same example, a tie being
half; `human_score` how good its answers are found, from 0 to 1. Several raters of one example are averaged first, so
that an example counts once. A rating is of outputs: those of predictions that no arm has any more are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import duckdb

from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.view import ArmView, Estimate, RatingsView
from ftlab.statistics.intervals import Interval, bootstrap_mean, wilson
from ftlab.store.ratings import RatingRow, bad_rating_lines, latest_ratings

PREFERENCE = "human_preference"
SCORE = "human_score"
SEED = 0
_WORTH = {"a": 1.0, "tie": 0.5, "b": 0.0}


def read_ratings_of(cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str) -> list[RatingRow]:
    """The ratings of a split that count."""
    return [row for row in latest_ratings(cursor, facts.experiment_id) if row.split == split]


def with_ratings(
    views: Sequence[ArmView], facts: Facts, split: str, baseline: ArmFacts | None, rows: Sequence[RatingRow]
) -> list[ArmView]:
    """The arms with what people think of them among their metrics."""
    if not rows:
        return list(views)
    arms = {arm.arm_id: arm for arm in facts.arms}
    base = set(baseline.keys("predictions", split)) if baseline else set()
    return [_with_metrics(view, set(arms[view.arm_id].keys("predictions", split)), base, rows) for view in views]


def _with_metrics(view: ArmView, mine: set[str], base: set[str], rows: Sequence[RatingRow]) -> ArmView:
    found: dict[str, Estimate] = {}
    for name, values in ((PREFERENCE, _preferences(mine, base, rows)), (SCORE, _scores(mine, rows))):
        interval = _mean(values)
        if interval.value is not None:
            raters = {row.rater for row in rows if {row.key_a, row.key_b} & mine}
            method = f"{interval.method}; {len(raters)} rater{'s' if len(raters) > 1 else ''}"
            found[name] = Estimate(
                value=interval.value, low=interval.low, high=interval.high, n=interval.n, method=method
            )
    return view.model_copy(update={"metrics": {**view.metrics, **found}}) if found else view


def _preferences(mine: set[str], base: set[str], rows: Iterable[RatingRow]) -> dict[str, list[float]]:
    """What each example's raters say, by example, seen from the arm."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.kind != "pair" or row.choice is None or mine == base:
            continue
        if row.key_a in mine and row.key_b in base:
            found[row.example_id].append(_WORTH[row.choice])
        elif row.key_b in mine and row.key_a in base:
            found[row.example_id].append(1.0 - _WORTH[row.choice])
    return found


def _scores(mine: set[str], rows: Iterable[RatingRow]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.kind == "score" and row.key_a in mine and row.score is not None:
            found[row.example_id].append(row.score)
    return found


def _mean(values: dict[str, list[float]]) -> Interval:
    """The mean over examples, each the mean of its raters."""
    means = [math.fsum(found) / len(found) for _, found in sorted(values.items())]
    if means and set(means) <= {0.0, 1.0}:
        return wilson(int(sum(means)), len(means))
    return bootstrap_mean(means, SEED)


def ratings_view(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, split: str, rows: Sequence[RatingRow]
) -> RatingsView | None:
    """How much was rated by whom, and whether raters agree; None without a rating."""
    bad = bad_rating_lines(cursor, facts.experiment_id)
    if not rows and not bad:
        return None
    known = {key for arm in facts.arms for key in arm.keys("predictions", split)}
    counted = [row for row in rows if {row.key_a, *([row.key_b] if row.key_b else [])} <= known]
    kappa, shared = agreement([row for row in counted if row.kind == "pair"])
    return RatingsView(
        raters=len({row.rater for row in counted}),
        pairs=sum(row.kind == "pair" for row in counted),
        scores=sum(row.kind == "score" for row in counted),
        agreement=kappa,
        shared=shared,
        left_out=len(rows) - len(counted),
        bad_lines=bad,
    )


def agreement(rows: Iterable[RatingRow]) -> tuple[float | None, int]:
    """Cohen's kappa of two raters, of more the mean over pairs of them (Light 1971, Psychological Bulletin 76:365), and
    how many pairs of answers more than one of them rated. None for fewer than two such pairs, or where all say one.
    """
    from sklearn.metrics import cohen_kappa_score

    said: dict[str, dict[tuple[str, ...], str]] = defaultdict(dict)
    for row in rows:
        if row.key_b is None or row.choice is None:
            continue
        turned = row.key_b < row.key_a
        choice = {"a": "b", "b": "a"}.get(row.choice, row.choice) if turned else row.choice
        said[row.rater][row.example_id, *sorted((row.key_a, row.key_b))] = choice
    kappas, shared = [], set()
    for one, other in combinations(sorted(said), 2):
        both = sorted(said[one].keys() & said[other].keys())
        shared.update(both)
        first, second = ([said[rater][pair] for pair in both] for rater in (one, other))
        if len(both) > 1 and len({*first, *second}) > 1:
            kappas.append(float(cohen_kappa_score(first, second)))
    return (math.fsum(kappas) / len(kappas) if kappas else None), len(shared)
