"""Every sampler against the contract, and what spaces and budgets add to it."""

from __future__ import annotations

import pytest

from ftlab.catalog import SEARCHERS
from ftlab.plan.identity import canonical_json
from ftlab.search.base import Past, Proposal, Space, State, propose_new
from ftlab.search.optuna import as_trial
from ftlab.spec.searches import Dimension
from ftlab.testing.searcher_contract import SearcherContract


class TestTpe(SearcherContract):
    sampler = "tpe"


class TestRandom(SearcherContract):
    sampler = "random"


class TestGp(SearcherContract):
    sampler = "gp"
    arms = 14


class TestNsga2(SearcherContract):
    sampler = "nsga2"


class TestCmaEs(SearcherContract):
    sampler = "cmaes"


class TestGrid(SearcherContract):
    sampler = "grid"
    dimensions = (
        Dimension(path=("learning_rate",), low=0.001, high=0.005, step=0.002),
        Dimension(path=("r",), low=1, high=8),
    )


CONDITIONAL = (
    Dimension(path=("kind",), choices=[True, 1, [1, 2], None]),
    Dimension(path=("size",), low=1, high=3, when={"kind": [[1, 2]]}),
)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2", "grid"])
def test_a_finite_space_with_conditions_is_searched_whole_and_then_ends(sampler: str) -> None:
    space = Space(CONDITIONAL, ("maximize",), arms=50)
    past: list[Past] = []
    while (proposal := propose_new(SEARCHERS.load(sampler)(space), space, past, "s", 0)) is not None:
        past.append(Past(proposal, State.COMPLETE, (0.5,)))
    assert len({canonical_json(one.proposal.values) for one in past}) == len(past) == 6
    assert all(("size" in one.proposal.values) == (one.proposal.values["kind"] == [1, 2]) for one in past)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_several_objectives_are_searched(sampler: str) -> None:
    space = Space((Dimension(path=("x",), low=0.0, high=1.0),), ("maximize", "minimize"), arms=15)
    past: list[Past] = []
    for _ in range(15):
        proposal = propose_new(SEARCHERS.load(sampler)(space), space, past, "s", 0)
        assert proposal is not None
        x = proposal.values["x"]
        past.append(Past(proposal, State.COMPLETE, (x, x * x)))
    assert len({one.proposal.values["x"] for one in past}) == 15


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_constraint_is_heeded(sampler: str) -> None:
    """Larger is better, but only up to 0.5."""
    space = Space((Dimension(path=("x",), low=0.0, high=1.0),), ("maximize",), constraints=1, arms=24)
    past: list[Past] = []
    for _ in range(24):
        proposal = propose_new(SEARCHERS.load(sampler)(space), space, past, "s", 0)
        assert proposal is not None
        x = proposal.values["x"]
        past.append(Past(proposal, State.COMPLETE, (x,), (x - 0.5,)))
    late = [one.proposal.values["x"] for one in past[8:]]
    assert sum(x <= 0.55 for x in late) > len(late) / 2, late


def test_tpe_learns_from_what_was_given_up() -> None:
    """Arms that were given up tell it where not to look; told as failed they would tell nothing."""
    rate = Dimension(path=("x",), low=0.0, high=1.0)
    space = Space((rate,), ("maximize",), arms=60)
    searcher = SEARCHERS.load("tpe")(space)

    def share_near_the_best(state: State) -> float:
        past = []
        for number in range(40):
            value = (number + 0.5) / 40
            # The higher, the worse: the highest were given up at their first evaluation.
            pruned = value > 0.3
            past.append(
                Past(
                    Proposal({"x": value}),
                    state if pruned else State.COMPLETE,
                    None if pruned else (1 - value,),
                    losses=(1.0 + value,) if pruned else (1.0 + value, value),
                )
            )
        proposed = [searcher.propose(past, seed) for seed in range(40)]
        return sum(one is not None and one.values["x"] < 0.15 for one in proposed) / 40

    assert share_near_the_best(State.PRUNED) > share_near_the_best(State.FAILED)


def test_what_was_given_up_is_told_with_its_last_loss() -> None:
    rate = Dimension(path=("x",), low=0.0, high=1.0)
    for direction, sign in (("maximize", -1.0), ("minimize", 1.0)):
        space = Space((rate,), (direction,))
        trial = as_trial(space, Past(Proposal({"x": 0.5}), State.PRUNED, losses=(3.0, 2.5)))
        assert trial.state.name == "PRUNED"
        assert trial.intermediate_values == {1: sign * 3.0, 2: sign * 2.5}
        assert trial.value == sign * 2.5
        assert as_trial(space, Past(Proposal({"x": 0.5}), State.PRUNED)).state.name == "FAIL"
