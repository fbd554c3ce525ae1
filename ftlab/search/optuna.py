"""Optuna's samplers. The study lives in memory for one question: it is built from what is known, asked and dropped."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from ftlab.search.base import Past, Proposal, Space, State
from ftlab.spec.searches import Dimension

STARTUP = 10
"""Arms drawn at random before a model of the space is trusted, at most; a third of all in a short search."""


class OptunaSearcher:
    """What Optuna's samplers have in common."""

    notes: ClassVar[tuple[str, ...]] = ()
    """What the sampler writes on a trial and needs to read again."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def propose(self, past: Sequence[Past], seed: int) -> Proposal | None:
        """See `Searcher`."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(directions=list(self.space.directions), sampler=self.sampler(seed))
            study.add_trials([as_trial(self.space, one) for one in past])
            trial = study.ask()
            values: dict[str, Any] = {}
            for dimension in self.space.dimensions:
                if dimension.active(values):
                    found = _suggest(trial, dimension)
                    values[dimension.field] = found if dimension.choices is None else dimension.choices[found]
            written = study.get_trials(deepcopy=False)[trial.number].system_attrs
        notes = {key: int(value) for key, value in written.items() if key in self.notes}
        return Proposal(values, notes)

    @property
    def startup(self) -> int:
        """How many arms are drawn at random first."""
        return max(1, min(STARTUP, self.space.arms // 3))

    def sampler(self, seed: int) -> Any:
        """The sampler, seeded."""
        raise NotImplementedError


def as_trial(space: Space, past: Past) -> Any:
    """What came of a proposal, as Optuna keeps it."""
    import optuna

    active = [dimension for dimension in space.dimensions if dimension.field in past.proposal.values]
    values = past.proposal.values
    states = optuna.trial.TrialState
    known = {State.COMPLETE: states.COMPLETE, State.RUNNING: states.RUNNING}
    told = {State.COMPLETE: past.objectives}
    # Losses are better when lower; Optuna reads what is measured on the way by the study's direction.
    sign = -1.0 if space.directions[0] == "maximize" else 1.0
    if past.losses:  # one that was ended with nothing measured is a failure, for a sampler
        known[State.PRUNED] = states.PRUNED
        told[State.PRUNED] = (sign * past.losses[-1],)
    return optuna.create_trial(
        state=known.get(past.state, states.FAIL),
        values=told.get(past.state),
        intermediate_values={turn: sign * loss for turn, loss in enumerate(past.losses, 1)},
        params={one.field: _inner(one, values[one.field]) for one in active},
        distributions={one.field: _distribution(one) for one in active},
        system_attrs=dict(past.proposal.notes),
        constraints={str(index): excess for index, excess in enumerate(past.excess)} or None,
    )


def _distribution(dimension: Dimension) -> Any:
    """Choices go by their number: Optuna holds plain values alone, and takes 1 and true for the same."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices is not None:
        return CategoricalDistribution(tuple(range(len(dimension.choices))))
    bounds: dict[str, Any] = {"low": dimension.low, "high": dimension.high, "log": dimension.log}
    if dimension.whole:
        return IntDistribution(**bounds, step=int(dimension.step or 1))
    return FloatDistribution(**bounds, step=dimension.step)


def _suggest(trial: Any, dimension: Dimension) -> Any:
    name, log = dimension.field, dimension.log
    if dimension.choices is not None:
        return trial.suggest_categorical(name, tuple(range(len(dimension.choices))))
    if dimension.whole:
        return trial.suggest_int(name, dimension.low, dimension.high, log=log, step=dimension.step or 1)
    return trial.suggest_float(name, dimension.low, dimension.high, log=log, step=dimension.step)


def _inner(dimension: Dimension, value: Any) -> Any:
    return value if dimension.choices is None else dimension.choices.index(value)


class Tpe(OptunaSearcher):
    """Tree-structured Parzen estimator; fields are judged together."""

    def sampler(self, seed: int) -> Any:
        """See `OptunaSearcher`."""
        from optuna.samplers import TPESampler

        return TPESampler(seed=seed, n_startup_trials=self.startup, multivariate=True, group=True)


class Random(OptunaSearcher):
    """Evenly at random."""

    def sampler(self, seed: int) -> Any:
        """See `OptunaSearcher`."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


class Gp(OptunaSearcher):
    """A Gaussian process."""

    def sampler(self, seed: int) -> Any:
        """See `OptunaSearcher`."""
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=self.startup)


class Nsga2(OptunaSearcher):
    """The genetic algorithm NSGA-II."""

    notes = ("NSGAIISampler:generation",)

    def sampler(self, seed: int) -> Any:
        """See `OptunaSearcher`."""
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=seed, population_size=max(4, min(50, self.space.arms // 4)))
