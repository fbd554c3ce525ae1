"""Who races for more seeds: the arms of which one will stand for its method, as far as a seed can change them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ftlab.plan.run import BASE_FAMILY, Arm, Plan

Group = tuple[str, str]
"""The family, and the name of the method where the family is no prompt."""


def is_seeded(family: str, method: Mapping[str, Any]) -> bool:
    """Whether a seed can change what an arm answers: where something is trained, or examples are drawn."""
    return family != "prompt" or bool(method.get("shots"))


def race_group(method_name: str, family: str) -> Group:
    """What an arm races within: its method, or prompting as a whole, as `ftlab.decide.finalists` chooses."""
    return family, "" if family == "prompt" else method_name


def race_groups(plan: Plan) -> dict[Group, list[Arm]]:
    """The arms of a plan that race, group by group, in the order of the plan."""
    groups: dict[Group, list[Arm]] = defaultdict(list)
    for arm in plan.arms:
        if arm.family != BASE_FAMILY and is_seeded(arm.family, arm.method):
            groups[race_group(arm.method_name, arm.family)].append(arm)
    return dict(groups)
