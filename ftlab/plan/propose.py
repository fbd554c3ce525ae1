"""Arms and runs that a search proposes: made as those of a grid are, from what a plan holds of the search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ftlab.catalog import METHODS
from ftlab.errors import UsageError
from ftlab.plan import identity
from ftlab.plan.expand import arm_label, with_stages
from ftlab.plan.run import Arm, Plan, PlannedSearch, RunConfig

Values = Mapping[str, Any]
"""What a proposal gives each active dimension, by the dimension's field."""


def proposed_arm(search: PlannedSearch, values: Values) -> Arm:
    """The arm of one proposal. A dimension without a value is left to the method's own default.

    Raises UsageError when the method refuses these values together.
    """
    fields = search.fields
    for dimension in search.dimensions:
        fields = _with(fields, dimension.path, values, dimension.field)
    config_class = METHODS.load(str(fields["type"])).Config
    try:
        config = config_class.model_validate_json(json.dumps(fields), strict=True).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{search.arm.method_name} refuses {dict(values)}: {place} {first['msg']}".strip()) from error
    run, arm = search.run, search.arm
    shared = identity.shared_by_arms(run.data, run.task, run.benchmarks)
    varied = {**arm.varied, **values}
    ordinals = {
        dimension.field: dimension.choices.index(values[dimension.field]) + 1
        for dimension in search.dimensions
        if dimension.choices is not None and dimension.field in values
    }
    return arm.model_copy(
        update={
            "arm_id": identity.arm_id(run.experiment_id, arm.method_name, arm.model, config, shared),
            "label": arm_label(arm.method_name, varied, ordinals),
            "method": config,
            "varied": varied,
        }
    )


def _with(fields: Any, path: Sequence[str | int], values: Values, field: str) -> Any:
    """A copy of `fields` in which `path` holds the value of `field`, or nothing where there is none."""
    copy: Any = dict(fields) if isinstance(fields, dict) else list(fields)
    if len(path) > 1:
        copy[path[0]] = _with(copy[path[0]], path[1:], values, field)
    elif field in values:
        copy[path[0]] = values[field]
    else:
        del copy[path[0]]
    return copy


def proposed_runs(search: PlannedSearch, arm: Arm) -> list[RunConfig]:
    """The runs of a proposed arm, one for each seed and fold."""
    return seeded_runs(search.run.model_copy(update={"arm_id": arm.arm_id, "method": arm.method}), search.seeds)


def seeded_runs(run: RunConfig, seeds: Sequence[int]) -> list[RunConfig]:
    """Runs like this one, one for each seed and fold."""
    changed = (
        {"run_id": identity.run_id(run.arm_id, seed, fold), "seed": seed, "fold": fold}
        for seed in seeds
        for fold in run.folds
    )
    return [with_stages(run.model_copy(update=update)) for update in changed]


def raced(plan: Plan, arm_id: str) -> Plan:
    """The plan with every seed of its race for one arm; the same plan when the arm has them or is not in the plan."""
    mine = [run for run in plan.runs if run.arm_id == arm_id]
    if plan.race is None or not mine:
        return plan
    known = {run.seed for run in mine}
    runs = seeded_runs(mine[0], [seed for seed in plan.race.seeds if seed not in known])
    return plan.model_copy(update={"runs": (*plan.runs, *runs)}) if runs else plan


def grown(plan: Plan, search: PlannedSearch, arm: Arm) -> Plan:
    """The plan with one more proposed arm and its runs; the same plan when it has the arm already."""
    if any(known.arm_id == arm.arm_id for known in plan.arms):
        return plan
    runs = (*plan.runs, *proposed_runs(search, arm))
    return plan.model_copy(update={"arms": (*plan.arms, arm), "runs": runs})


def with_samples(plan: Plan) -> Plan:
    """The plan with one arm of every search, so that what there is to know before it starts can be reckoned."""
    for search in plan.searches:
        plan = grown(plan, search, search.arm)
    return plan
