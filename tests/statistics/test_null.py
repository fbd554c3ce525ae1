"""Twenty arms that are no better than the baseline: who claims a win, and how often, in 1,000 experiments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ftlab.statistics.paired import paired_difference
from ftlab.statistics.simultaneous import mean_differences
from ftlab.testing.simulations import at_least, at_most, simulate

EXPERIMENTS = 1000
ARMS, METHODS = 20, 4
VALIDATION, TEST = 300, 600


@dataclass(frozen=True)
class Claims:
    """In how many experiments each rule claims that some arm beats the baseline."""

    plain_on_validation: int
    joint_on_validation: int
    one_finalist_on_test: int
    finalists_on_test: int


def plain_low(before: np.ndarray, after: np.ndarray, known: dict[tuple[int, int, int], float]) -> float:
    """The lower end of the ordinary interval, which depends on the counts of changes alone."""
    key = (before.size, int((after > before).sum()), int((after < before).sum()))
    if key not in known:
        low = paired_difference(before.tolist(), after.tolist(), 0).low
        assert low is not None
        known[key] = low
    return known[key]


@pytest.fixture(scope="module")
def claims() -> Claims:
    rng = np.random.default_rng(20261125)
    known: dict[tuple[int, int, int], float] = {}
    found = np.zeros(4, dtype=int)
    for index in range(EXPERIMENTS):
        scores = simulate(rng, [0.5] * (ARMS + 1), VALIDATION + TEST)[:, 0]
        validation, test = scores[:, :VALIDATION], scores[:, VALIDATION:]
        gains = (validation[1:] - validation[0]).mean(axis=1)
        best = 1 + int(gains.argmax())
        joint = mean_differences((validation[1:] - validation[0]).T, index, draws=400)
        # One finalist of each method's five arms.
        finalists = [1 + 5 * method + int(gains[5 * method : 5 * method + 5].argmax()) for method in range(METHODS)]
        sealed = mean_differences((test[finalists] - test[0]).T, index, draws=400)
        found += [
            plain_low(validation[0], validation[best], known) > 0,
            bool((joint.low > 0).any()),
            plain_low(test[0], test[best], known) > 0,
            bool((sealed.low > 0).any()),
        ]
    return Claims(*found.tolist())


def test_the_plain_interval_of_the_best_arm_claims_a_win_far_too_often(claims: Claims) -> None:
    """One experiment in four or five here; in three when the baseline's own luck is less of what they all share."""
    assert at_least(claims.plain_on_validation, EXPERIMENTS, 0.2)


def test_simultaneous_intervals_on_validation_rarely_claim_one(claims: Claims) -> None:
    assert at_most(claims.joint_on_validation, EXPERIMENTS, 0.05)


def test_one_finalist_on_the_sealed_test_rarely_claims_one(claims: Claims) -> None:
    assert at_most(claims.one_finalist_on_test, EXPERIMENTS, 0.05)


def test_a_finalist_of_each_method_on_the_sealed_test_rarely_claims_one(claims: Claims) -> None:
    assert at_most(claims.finalists_on_test, EXPERIMENTS, 0.05)


def test_the_rules_are_not_blind() -> None:
    """100 experiments in which one arm is 12 points better: it is found by both rules, nearly always."""
    rng, on_validation, on_test = np.random.default_rng(3), 0, 0
    for index in range(100):
        scores = simulate(rng, [0.5, 0.62] + [0.5] * 19, VALIDATION + TEST)[:, 0]
        differences = (scores[1:] - scores[0]).T
        on_validation += mean_differences(differences[:VALIDATION], index, draws=300).low[0] > 0
        on_test += mean_differences(differences[VALIDATION:, [0, 5, 10, 15]], index, draws=300).low[0] > 0
    assert on_validation > 50
    assert on_test > 95
