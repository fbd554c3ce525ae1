"""A clone: an arm that people make from a run's config after they saw results, with some of its fields changed.

It belongs to the experiment as a line of its spec would, but no spec has it: what is known of it is its `Clone`, from
which the arm and its runs are made whenever a plan is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError

from ftlab.catalog import METHODS
from ftlab.errors import SpecError, UsageError
from ftlab.plan import identity
from ftlab.plan.expand import arm_label
from ftlab.plan.propose import seeded_runs
from ftlab.plan.run import BASE_FAMILY, Arm, ModelRef, Plan, Record, RunConfig, WarmStart
from ftlab.spec.overrides import apply_overrides
from ftlab.spec.problems import problems_from
from ftlab.spec.scalars import shown
from ftlab.spec.tree import Entry, Node, Place

SHORT_ID = 8
"""How much of a run's id a label shows."""


class Clone(Record):
    """What makes a clone the arm that it is."""

    version: Literal[1] = 1
    arm_id: str
    cloned_from: str
    """The run whose config it was made from."""
    method_name: str
    place: str
    model: ModelRef
    method: dict[str, Any]
    varied: dict[str, Any]
    """The fields that tell it from its siblings: those of the arm it was made from, and what was changed."""
    warm_start: WarmStart | None
    datasets: tuple[str, ...]
    """The keys of the rows it was made for, of every fold: on other rows it is no arm, and weights must not start
    from what may have seen the rows that are held out."""
    ts: float
    """Unix time."""


def make_clone(plan: Plan, run: RunConfig, overrides: Sequence[str], *, warm: bool) -> Clone:
    """A clone of one of the plan's runs, with fields of its method set by `key=value` overrides.

    With `warm` its training begins from the run's weights; whether those stand on disk is for the caller to check.

    Raises SpecError for a field or value that the method refuses, and UsageError where there is nothing to clone,
    nothing changed, or weights that do not fit.
    """
    arm = next(arm for arm in plan.arms if arm.arm_id == run.arm_id)
    if arm.family == BASE_FAMILY:
        raise UsageError(f"run {run.run_id} is the base model itself, which has no config to change")
    method = _changed(run, overrides)
    changed = {key: value for key, value in method.items() if value != run.method.get(key)}
    if "type" in changed:
        raise UsageError(
            f"type: a clone keeps its method ({run.method['type']}); another method is another entry in the spec"
        )
    if method["decode"] == "choose" and run.task.type != "classification":
        raise UsageError(f"decode: choose is for a task of type classification, and this one is {run.task.type}")
    if not changed and not warm:
        raise UsageError(f"nothing is changed: a clone of run {run.run_id} would be '{arm.label}' again")
    start = _warm_start(plan, run, changed) if warm else None
    clone = Clone(
        arm_id=_arm_id(run, arm.method_name, method, start),
        cloned_from=run.run_id,
        method_name=arm.method_name,
        place=arm.place,
        model=run.model,
        method=method,
        varied={**arm.varied, **changed},
        warm_start=start,
        datasets=_datasets(run),
        ts=time.time(),
    )
    if (known := next((one for one in plan.arms if one.arm_id == clone.arm_id), None)) is not None:
        raise UsageError(f"the experiment has this arm already: '{known.label}'; `ftlab resume` continues what is left")
    return clone


def cloned(plan: Plan, clone: Clone) -> Plan:
    """The plan with a clone's arm and runs; the same plan when it has them, or has other rows or other models."""
    planned = [*(run for run in plan.runs if run.splits), *(search.run for search in plan.searches)]
    like = next((run for run in planned if _same_model(run.model, clone.model)), None)
    if like is None or _datasets(like) != clone.datasets:
        return plan
    arm_id = _arm_id(like, clone.method_name, clone.method, clone.warm_start)
    if any(known.arm_id == arm_id for known in plan.arms):
        return plan
    how = "clone of" if clone.warm_start is None else "warm start from"
    arm = Arm(
        arm_id=arm_id,
        method_name=clone.method_name,
        family=METHODS.load(clone.method["type"]).family,
        label=f"{arm_label(clone.method_name, clone.varied, {})} ({how} {clone.cloned_from[:SHORT_ID]})",
        model=like.model,
        method=clone.method,
        varied=clone.varied,
        place=clone.place,
        cloned_from=clone.cloned_from,
        warm_start=clone.warm_start,
    )
    run = like.model_copy(
        update={
            "arm_id": arm_id,
            "method_name": clone.method_name,
            "method": clone.method,
            "warm_start": clone.warm_start,
        }
    )
    runs = (*plan.runs, *seeded_runs(run, _first_seeds(plan)))
    return plan.model_copy(update={"arms": (*plan.arms, arm), "runs": runs})


def _changed(run: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The run's method with the overrides applied, checked as an entry of a spec is."""
    tree, problems = apply_overrides(_tree(run.method, Place(f"run {run.run_id}", 0, 0)), overrides)
    if problems:
        raise SpecError(problems)
    config_class = METHODS.load(str(run.method["type"])).Config
    values = tree.plain()
    if values.get("type") != run.method["type"]:
        return {**run.method, "type": shown(str(values.get("type")))}
    try:
        return config_class.model_validate_json(json.dumps(values), strict=True).model_dump(mode="json")
    except ValidationError as error:
        raise SpecError(problems_from(error, tree, (), config_class)) from error


def _tree(value: Any, place: Place) -> Node:
    if isinstance(value, dict):
        return Node(place, {key: Entry(place, _tree(item, place)) for key, item in value.items()})
    if isinstance(value, list):
        return Node(place, [_tree(item, place) for item in value])
    return Node(place, value)


def _warm_start(plan: Plan, run: RunConfig, changed: dict[str, Any]) -> WarmStart:
    """Of a run with folds, each fold begins from the weights of its own: another's have seen what it holds out."""
    config_class = METHODS.load(str(run.method["type"])).Config
    if run.key("weights") is None:
        raise UsageError(f"run {run.run_id} trains nothing ({run.method['type']}), so no training can start from it")
    if unfit := sorted(config_class.fixed_by_weights & changed.keys()):
        raise UsageError(
            f"the weights of run {run.run_id} were made with another {' and '.join(unfit)}; "
            "keep it as it was, or clone without --warm-start"
        )
    folds = [one for one in plan.runs if one.arm_id == run.arm_id and one.seed == run.seed]
    keys = [key for one in sorted(folds, key=lambda one: one.fold or 0) if (key := one.key("weights")) is not None]
    return WarmStart(run_id=run.run_id, keys=tuple(keys))


def _arm_id(run: RunConfig, method_name: str, method: dict[str, Any], start: WarmStart | None) -> str:
    shared = identity.shared_by_arms(run.data, run.task, run.benchmarks)
    return identity.arm_id(run.experiment_id, method_name, run.model, method, shared, start)


def _datasets(run: RunConfig) -> tuple[str, ...]:
    return tuple(identity.dataset_key(run.data, run.task, fold) for fold in run.folds)


def _same_model(one: ModelRef, other: ModelRef) -> bool:
    return (one.revision, one.dtype) == (other.revision, other.dtype)


def _first_seeds(plan: Plan) -> Sequence[int]:
    """The seeds that every arm has."""
    if plan.race is not None:
        return plan.race.seeds[: plan.race.first]
    return [*dict.fromkeys(run.seed for run in plan.runs if run.splits)] or plan.searches[0].seeds
