"""Twenty trained arms that are no better than the prompt: how often the verdict says to use one, in 1,000 experiments.

Each experiment is what `ftlab decide` does: the finalist of each method by its mean on 300 validation rows, their
paired differences to the prompt on 600 test rows with intervals that hold together, and the verdict's rules on these.
"""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.decide.gates import Rule
from ftlab.decide.verdict import conclude
from ftlab.decide.view import ArmView, Cost, Estimate, PairedDifference, Progress
from ftlab.statistics.simultaneous import mean_differences
from ftlab.testing.simulations import at_least, at_most, simulate

EXPERIMENTS, DRAWS = 1000, 400
METHODS, ARMS = 4, 5
VALIDATION, TEST = 300, 600
RULE = Rule("accuracy", "share", "test", 0.0, 0.02, None, ())
"""The rule that is won most easily: any gain above zero counts, and nothing is held against an arm."""


def arm(name: str, difference: PairedDifference | None) -> ArmView:
    return ArmView(
        arm_id=name,
        run_ids=[name],
        method_name=name,
        family="prompt" if difference is None else "adapter",
        label=name,
        status="complete",
        reason=None,
        seeds=[0],
        is_baseline=difference is None,
        is_best_of_method=True,
        metrics={},
        difference=difference,
        benchmarks=[],
        cost=Cost(train_seconds=60.0, seconds_per_1k_requests=10.0),
        config={},
        varied={},
        on_front=True,
    )


def verdict(rng: np.random.Generator, rates: list[float], index: int) -> str:
    """The kind of conclusion of one experiment; the first rate is the prompt's."""
    scores = simulate(rng, rates, VALIDATION + TEST)[:, 0]
    chosen = scores[1:, :VALIDATION].mean(axis=1).reshape(METHODS, ARMS).argmax(axis=1)
    finalists = 1 + np.arange(METHODS) * ARMS + chosen
    gains = scores[finalists, VALIDATION:] - scores[0, VALIDATION:]
    joint = mean_differences(gains.T, index, draws=DRAWS)
    views = [arm("prompt", None)]
    for number, (gain, low, high) in enumerate(zip(gains, joint.low, joint.high, strict=True)):
        estimate = Estimate(value=float(gain.mean()), low=float(low), high=float(high), n=TEST)
        fixed, broke = int((gain > 0).sum()), int((gain < 0).sum())
        found = PairedDifference(
            estimate=estimate, p_value=None, fixed=fixed, broke=broke, dropped=0, simultaneous=True
        )
        views.append(arm(f"method{number}", found))
    done = Progress(total=len(rates), by_status={"complete": len(rates)}, running=[])
    return conclude(views, RULE, lambda one, other: True, done, TEST, 1).kind


@pytest.fixture(scope="module")
def equal() -> list[str]:
    rng = np.random.default_rng(4)
    return [verdict(rng, [0.5] * (1 + METHODS * ARMS), index) for index in range(EXPERIMENTS)]


def test_equal_arms_seldom_win(equal: list[str]) -> None:
    """At most 5% of 1,000, by the exact binomial bound."""
    assert at_most(equal.count("use"), EXPERIMENTS, 0.05)
    assert equal.count("use") <= 0.05 * EXPERIMENTS


def test_equal_arms_are_never_called_blocked_or_unmeasured(equal: list[str]) -> None:
    assert set(equal) <= {"use", "keep_prompting", "undecided"}


def test_an_arm_that_is_truly_better_nearly_always_wins() -> None:
    """50 experiments with one arm of twenty 12 points better."""
    rng = np.random.default_rng(5)
    rates = [0.5] * (1 + METHODS * ARMS)
    rates[7] = 0.62
    found = [verdict(rng, rates, index) for index in range(50)]
    assert at_least(found.count("use"), 50, 0.95)
