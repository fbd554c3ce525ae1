"""Two kinds of chance told apart: which seed was drawn, and which examples."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from small_ledger import EXPERIMENT, FakeArm, SmallLedger

from ftlab.decide.facts import ArmFacts, read_facts
from ftlab.decide.spread import example_error, spread_of
from ftlab.decide.view import Estimate, Spread
from ftlab.report.spread import spread_words

ROWS = 100


def arm_of(*right: int, family: str = "adapter") -> ArmFacts:
    results = [[row < hits for row in range(ROWS)] for hits in right]
    return read_facts(SmallLedger([FakeArm("x", family, results)]).connection, EXPERIMENT).arms[0]


def estimate(error: float) -> Estimate:
    return Estimate(value=0.5, low=0.5 - 1.96 * error, high=0.5 + 1.96 * error, n=ROWS)


def spread(arm: ArmFacts, error: float) -> Spread:
    found = spread_of(arm, "validation", "accuracy", estimate(error))
    assert found is not None
    return found


def test_the_seeds_scatter_is_that_of_the_figures_and_the_examples_error_that_of_the_interval() -> None:
    found = spread(arm_of(40, 50, 60), 0.02)
    assert found.sd == pytest.approx(0.1)
    assert found.example_error == pytest.approx(0.02, rel=1e-3)
    assert (found.replicates, found.examples) == (3, ROWS)


@pytest.mark.parametrize(("error", "larger"), [(0.9, "examples"), (1.1, "replicates")])
def test_the_larger_is_what_leaves_more_open_about_the_mean_over_the_seeds(error: float, larger: str) -> None:
    found = spread(arm_of(40, 50, 60), 0.1 / math.sqrt(3) / error)
    assert found.larger == larger
    named = {"replicates": "seeds", "examples": "examples"}[larger]
    assert f"the {named} leave more open" in spread_words(found, "share")


def test_one_seed_measures_no_scatter_and_a_prompt_that_draws_nothing_has_none() -> None:
    one = spread(arm_of(40), 0.02)
    assert (one.sd, one.larger) == (None, None)
    assert spread_words(one, "share").endswith("seed noise not measured")
    prompt = spread(arm_of(40, family="prompt"), 0.02)
    assert spread_words(prompt, "share") == "examples ±2.0 (standard error over 100), in points; no seed changes it"


def test_seeds_that_share_their_answers_are_one() -> None:
    arm = arm_of(40, 50)
    same = replace(arm, runs=(arm.runs[0], replace(arm.runs[0], seed=1, run_id="other")))
    assert (spread(same, 0.02).replicates, spread(same, 0.02).sd) == (1, None)


def test_without_a_figure_or_an_interval_nothing_is_claimed() -> None:
    assert spread_of(arm_of(40), "validation", "accuracy", None) is None
    assert example_error(Estimate(value=0.5)) is None
    bare = spread_of(arm_of(40, 50), "validation", "accuracy", Estimate(value=0.5, n=ROWS))
    assert bare is not None
    assert bare.larger is None
    assert "examples – (standard error over 100)" in spread_words(bare, "share")
