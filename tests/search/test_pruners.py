"""Every pruner against the contract, and beside Optuna's of the same name."""

from __future__ import annotations

import random
import warnings
from typing import Any

import optuna
import pytest

from ftlab.search.pruners import Course, Field, Halving, Hyperband, Median, Wilcoxon
from ftlab.spec.pruning import PrunerSpec
from ftlab.testing.pruner_contract import PrunerContract

EVALUATIONS = 27


class TestMedian(PrunerContract):
    pruner = "median"


class TestHalving(PrunerContract):
    pruner = "successive_halving"


class TestHyperband(PrunerContract):
    pruner = "hyperband"


class TestWilcoxon(PrunerContract):
    pruner = "wilcoxon"


def course(draw: random.Random, seen: int, complete: bool, rows: int = 0) -> Course:
    losses = tuple(round(draw.uniform(0, 3), draw.choice([0, 1, 3])) for _ in range(seen))
    scores = tuple(tuple(draw.gauss(loss, 1) for _ in range(rows)) for loss in losses)
    return Course(losses, scores, complete)


def searches() -> list[tuple[int, list[Course]]]:
    """Arms that are through, were ended, or run, the last of them to be judged."""
    found = []
    for seed in range(200):
        draw = random.Random(seed)
        courses = [course(draw, EVALUATIONS, True) for _ in range(draw.randint(0, 8))]
        courses += [course(draw, draw.randint(0, EVALUATIONS - 1), False) for _ in range(draw.randint(0, 8))]
        draw.shuffle(courses)
        courses.append(course(draw, draw.choice([1, 2, 3, 4, 8, 9, 10, 20]), False))
        found.append((seed, courses))
    return found


def study_of(courses: list[Course], name: str) -> Any:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize", study_name=name)
    for one in courses:
        study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.COMPLETE if one.complete else optuna.trial.TrialState.RUNNING,
                value=one.losses[-1] if one.complete else None,
                intermediate_values=dict(enumerate(one.losses, 1)),
            )
        )
    return study


def rungs(courses: list[Course], first: int, factor: int) -> list[dict[str, float]]:
    """What Optuna would have noted on each trial on its way, the newest evaluation of the last one left out."""
    noted = []
    for number, one in enumerate(courses):
        seen = len(one.losses) - (number == len(courses) - 1)
        reached = [first * factor**rung for rung in range(8) if first * factor**rung <= seen]
        noted.append({f"completed_rung_{rung}": one.losses[at - 1] for rung, at in enumerate(reached)})
    return noted


def halved_by_optuna(pruner: Any, courses: list[Course], name: str, first: int, factor: int) -> bool:
    study = study_of(courses, name)
    for number, attributes in enumerate(rungs(courses, first, factor)):
        for key, value in attributes.items():
            study._storage._get_trial(number).system_attrs[key] = value
    return bool(pruner.prune(study, study._storage._get_trial(len(courses) - 1)))


@pytest.mark.parametrize(("startup", "warmup"), [(1, 1), (3, 3), (5, 2)])
def test_the_median_is_optunas(startup: int, warmup: int) -> None:
    ours = Median(PrunerSpec(type="median", startup_arms=startup, min_evaluations=warmup), Field("s", EVALUATIONS))
    theirs = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)
    verdicts = []
    for seed, courses in searches():
        study = study_of(courses, str(seed))
        verdicts.append(ours.hopeless(courses, len(courses) - 1) is not None)
        assert verdicts[-1] == theirs.prune(study, study.trials[-1]), seed
    assert 0 < sum(verdicts) < len(verdicts)


@pytest.mark.parametrize(("first", "factor"), [(1, 2), (1, 3), (2, 2), (3, 3)])
def test_halving_is_optunas(first: int, factor: int) -> None:
    spec = PrunerSpec(type="successive_halving", min_evaluations=first, reduction_factor=factor)
    ours = Halving(spec, Field("s", EVALUATIONS))
    verdicts = []
    for seed, courses in searches():
        theirs = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
        verdicts.append(ours.hopeless(courses, len(courses) - 1) is not None)
        assert verdicts[-1] == halved_by_optuna(theirs, courses, str(seed), first, factor), seed
    assert 0 < sum(verdicts) < len(verdicts)


@pytest.mark.parametrize(("first", "factor"), [(1, 2), (1, 3), (2, 3), (1, 5)])
def test_hyperbands_brackets_are_optunas(first: int, factor: int) -> None:
    spec = PrunerSpec(type="hyperband", min_evaluations=first, reduction_factor=factor)
    theirs = optuna.pruners.HyperbandPruner(first, EVALUATIONS, factor)
    study = study_of([Course((1.0,)) for _ in range(300)], "search")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.prune(study, study.trials[0])
    ours = Hyperband(spec, Field("search", EVALUATIONS))
    found = [ours.bracket(number) for number in range(300)]
    assert found == [theirs._get_bracket_id(study, trial) for trial in study.trials]
    assert set(found) == set(range(theirs._n_brackets or 0))


def test_an_arm_of_a_late_bracket_is_left_in_peace_longer() -> None:
    ours = Hyperband(PrunerSpec(type="hyperband"), Field("s", 9))
    brackets = [ours.bracket(number) for number in range(60)]
    for late, first in ((0, 1), (1, 3)):
        mine = [number for number in range(60) if brackets[number] == late]
        courses = [Course((1.0,) * 9, complete=True) if number in mine[:-1] else Course() for number in range(60)]
        for seen in range(1, 9):
            courses[mine[-1]] = Course((9.0,) * seen)
            ended = ours.hopeless(courses, mine[-1]) is not None
            assert ended == (seen in [first * 3**rung for rung in range(3)]), (late, seen)


def test_wilcoxon_is_optunas_on_the_rows() -> None:
    ours = Wilcoxon(PrunerSpec(type="wilcoxon", startup_arms=1, p=0.1), Field("s", EVALUATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.pruners.WilcoxonPruner(p_threshold=0.1, n_startup_steps=0)
    verdicts = []
    for seed in range(100):
        draw = random.Random(seed)
        best = Course((2.0, 1.5, 1.0), tuple(tuple(draw.gauss(1, 1) for _ in range(40)) for _ in range(3)), True)
        mine = Course((2.1, 1.9), tuple(tuple(draw.gauss(1.2, 1) for _ in range(40)) for _ in range(2)))
        study = optuna.create_study(direction="minimize")
        for one, complete in ((best, True), (mine, False)):
            rows = one.scores[1] or ()
            study.add_trial(
                optuna.create_trial(
                    state=optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.RUNNING,
                    value=sum(rows) / len(rows) if complete else None,
                    intermediate_values=dict(enumerate(rows)),
                )
            )
        verdicts.append(ours.hopeless([best, mine], 1) is not None)
        assert verdicts[-1] == theirs.prune(study, study.trials[-1]), seed
    assert 0 < sum(verdicts) < len(verdicts)


def test_wilcoxon_keeps_what_it_cannot_pair() -> None:
    ours = Wilcoxon(PrunerSpec(type="wilcoxon", startup_arms=1), Field("s", EVALUATIONS))
    best = Course((1.0, 1.0), ((1.0,) * 20,) * 2, complete=True)
    worse = ((9.0,) * 20,) * 2
    assert ours.hopeless([best, Course((9.0, 9.0), worse)], 1) is not None
    for scores in ((), (None, None), ((9.0,) * 19,) * 2):
        assert ours.hopeless([best, Course((9.0, 9.0), scores)], 1) is None
    assert ours.hopeless([Course((1.0, 1.0), (None, None), complete=True), Course((9.0, 9.0), worse)], 1) is None
