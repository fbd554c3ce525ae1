"""Rows of `comparisons` beside the differences: who is likely the best, and who is shown to be as good as whom.

All of the decision metric on one split, from the same examples as the family of differences, stored in the same table:

- `best`: in which share of the resamples the arm is the best of all, the baseline included;
- `equivalent`: two one-sided tests that an arm lies within the minimum gain of the baseline (TOST);
- `not_inferior`: that an arm is worse than a better one by less than half the minimum gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ftlab.decide.facts import ArmFacts
from ftlab.decide.measure import Clusters, Floats
from ftlab.statistics.best import probability_best
from ftlab.statistics.equivalence import equivalence, non_inferiority
from ftlab.statistics.paired import PairedResult

Ends = Callable[[Floats, Floats], PairedResult]
"""Two sides' scores `(seeds, examples)` to the paired difference with its interval."""

MOST_PAIRED = 12
"""Arms that are tested against each other, the best first: of many the last ones are no candidates."""


@dataclass(frozen=True, slots=True)
class Stood:
    """One row: an arm against another, or (`best`) against all."""

    kind: str
    arm: ArmFacts
    against: ArmFacts
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    method: str


def best_rows(
    baseline: ArmFacts, arms: Sequence[ArmFacts], differences: Floats, seed: int, clusters: Clusters | None
) -> Iterator[Stood]:
    """Every arm's chance to be the best, the baseline's too. `differences` `(examples, arms)`, positive when better."""
    scored = np.isfinite(differences).any(axis=1)
    groups = clusters[scored] if clusters is not None else None
    found = probability_best(differences[scored], seed, against_baseline=True, clusters=groups)
    method = f"share of {found.draws:,} resamples{' of whole groups' if groups is not None else ''}"
    shares = [*found.shares.tolist(), found.baseline]
    for arm, share in zip((*arms, baseline), shares, strict=True):
        yield Stood("best", arm, baseline, int(scored.sum()), share, None, None, None, method)


def equivalence_rows(
    baseline: ArmFacts, before: Floats, arms: Sequence[tuple[ArmFacts, Floats]], margin: float, ends: Ends | None
) -> Iterator[Stood]:
    """Each arm within the margin of the baseline; none for a margin of zero.

    Scores are `(seeds, examples)`, higher being better. `ends` gives a difference's ordinary interval where examples
    come in groups or arms have several seeds, which the tests of the library do not know of: an interval inside the
    margin shows the same, at a smaller risk.
    """
    for arm, after in arms if margin > 0 else ():
        if ends is not None:
            yield _by_interval("equivalent", arm, baseline, ends(before, after))
            continue
        found = equivalence(*_both(before, after), margin)
        method = f"TOST, {found.method}"
        yield Stood("equivalent", arm, baseline, found.n, found.estimate, found.low, found.high, found.p, method)


def non_inferiority_rows(arms: Sequence[tuple[ArmFacts, Floats]], margin: float, ends: Ends | None) -> Iterator[Stood]:
    """Each trained arm against each better one. Arguments as of `equivalence_rows`."""
    trained = [pair for pair in arms if pair[0].family != "prompt"]
    ranked = sorted(trained, key=lambda pair: -float(np.nanmean(pair[1])))[:MOST_PAIRED]
    for place, (better, scores) in enumerate(ranked):
        for arm, after in ranked[place + 1 :] if margin > 0 else ():
            if ends is not None:
                yield _by_interval("not_inferior", arm, better, ends(scores, after))
                continue
            found = non_inferiority(*_both(scores, after), margin)
            method = f"one-sided, {found.method}"
            yield Stood("not_inferior", arm, better, found.n, found.estimate, found.bound, None, found.p, method)


def _by_interval(kind: str, arm: ArmFacts, against: ArmFacts, found: PairedResult) -> Stood:
    method = f"by the interval: {found.method}"
    return Stood(kind, arm, against, found.n, found.estimate, found.low, found.high, None, method)


def _both(before: Floats, after: Floats) -> tuple[list[float], list[float]]:
    one, other = before[0], after[0]
    shared = np.isfinite(one) & np.isfinite(other)
    return one[shared].tolist(), other[shared].tolist()
