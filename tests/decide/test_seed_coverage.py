"""Intervals of several arms that hold together over examples and seeds, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.decide import pairs
from ftlab.decide.facts import ArmFacts, Facts, RunFacts
from ftlab.statistics.paired import PairedResult
from ftlab.statistics.simultaneous import mean_differences
from ftlab.testing.simulations import at_least, covers

SPLIT = "validation"
FACTS = Facts("e", "e", "", "", ("accuracy",), (), {"metric": "accuracy"}, (), {}, ())


def arm_of(name: str, seeds: int) -> ArmFacts:
    """An arm whose scores keys are its name and the number of the seed."""
    place = ("scores", SPLIT)
    runs = tuple(
        RunFacts(f"{name}{seed}", seed, "complete", None, 1, {place: f"{name}{seed}"}, frozenset([place]), {})
        for seed in range(seeds)
    )
    return ArmFacts(name, 0, name, "lora", name, "m", "", {}, {}, runs)


def drawn(rng: np.random.Generator, seeds: list[int], by_seed: float) -> tuple[list[ArmFacts], dict[str, np.ndarray]]:
    """A baseline and its rivals with true differences of zero: difficulty, an arm's own, a seed's own and the rest."""
    arms = [arm_of(f"arm{index}-", count) for index, count in enumerate(seeds)]
    difficulty, scores = rng.normal(0, 0.3, 100), {}
    for arm, count in zip(arms, seeds, strict=True):
        own = difficulty + rng.normal(0, 0.2, 100)
        effects = by_seed * rng.standard_normal(count) if count > 1 else np.zeros(count)
        for run, effect in zip(arm.runs, effects, strict=True):
            scores[run.stages["scores", SPLIT]] = own + effect + rng.normal(0, 0.3, 100)
    return arms, scores


def differences(arms: list[ArmFacts], scores: dict[str, np.ndarray]) -> np.ndarray:
    means = [np.mean([scores[key] for key in arm.keys("scores", SPLIT)], axis=0) for arm in arms]
    return np.stack([mean - means[0] for mean in means[1:]], axis=1)


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 draws in place of 4,000: the critical value then varies by about 0.07, which the runs average out."""

    def quick(matrix: np.ndarray, seed: int, *, bounded: bool, clusters: None = None) -> object:
        return mean_differences(matrix, seed, bounded=bounded, draws=400, clusters=clusters)

    monkeypatch.setattr(pairs, "mean_differences", quick)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(
    ("seeds", "by_seed"),
    [([1, 3, 3, 3, 3], 0.0), ([1, 3, 3, 3, 3], 0.1), ([3, 3, 3, 3, 3], 0.1), ([3, 3, 3, 3, 3], 0.02)],
)
def test_all_differences_are_covered_together_over_seeds_and_examples(seeds: list[int], by_seed: float) -> None:
    """400 simulations of four arms, 100 examples each; the baseline's seeds are shared by all four."""
    rng, runs, hits = np.random.default_rng(int(1000 * by_seed) + seeds[0]), 400, 0
    for index in range(runs):
        arms, scores = drawn(rng, seeds, by_seed)
        found = [
            (arm, PairedResult(float(column.mean()), None, None, None, 100, 0, 0, "t"), 0)
            for arm, column in zip(arms[1:], differences(arms, scores).T, strict=True)
        ]
        joint = pairs.simultaneous(FACTS, SPLIT, arms[0], found, index, scores)
        hits += all(covers(result.low, 0.0, result.high) for _, result, _ in joint)
    assert at_least(hits, runs, 0.95)


def test_examples_alone_miss_what_the_seeds_add() -> None:
    rng, runs, hits = np.random.default_rng(9), 100, 0
    for index in range(runs):
        arms, scores = drawn(rng, [1, 3, 3, 3, 3], 0.1)
        found = mean_differences(differences(arms, scores), index, bounded=False, draws=400)
        hits += bool(((found.low <= 0) & (found.high >= 0)).all())
    assert hits < 0.7 * runs
