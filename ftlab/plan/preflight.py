"""Look over an experiment before it is paid for: its rows, its lengths, and whether it can answer its question."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ftlab.data.records import Finding
from ftlab.plan.fairness import attention_only, shared_rates
from ftlab.plan.lengths import ArmLengths, count_lengths
from ftlab.plan.run import Arm, Plan

if TYPE_CHECKING:
    from ftlab.data.records import Dataset

DISCORDANCE = 0.2
"""The share of examples that two methods are assumed to answer differently, right by one and wrong by the other."""
POWER_FACTOR = 2.8
"""1.96 + 0.84: a two-sided test at 5% that finds a true difference in 80% of cases."""


def preflight(plan: Plan) -> tuple[list[Finding], dict[str, ArmLengths]]:
    """What a person should know before running `plan`, worst first, and the token counts by arm id.

    Reads the data (fetching it on first use) and renders every prompt of the plan. Raises DataError when the data
    cannot be read, does not suffice, or lacks a column that a template names.
    """
    from ftlab.data.dataset import build_dataset

    return examine(plan, build_dataset(plan.runs[0].data, plan.task))


def examine(plan: Plan, dataset: Dataset) -> tuple[list[Finding], dict[str, ArmLengths]]:
    """The same, for a data set that is in memory."""
    from ftlab.data.checks import check_dataset

    lengths = count_lengths(plan, dataset)
    found = [
        *check_dataset(dataset),
        *_truncated(plan, lengths),
        *_uncounted(plan, lengths),
        _no_baseline(plan),
        *_unfair(plan),
        _too_small(plan, dataset),
    ]
    return [finding for finding in found if finding is not None], lengths


def _truncated(plan: Plan, lengths: Mapping[str, ArmLengths]) -> list[Finding]:
    """Sequences that `max_length` or the model's context would cut, arms with the same numbers told together."""
    cut: dict[tuple[int, int, int, int], list[Arm]] = defaultdict(list)
    asked: dict[int, list[Arm]] = defaultdict(list)
    for arm in plan.arms:
        counts = lengths.get(arm.arm_id)
        if counts is None:
            continue
        if counts.too_long:
            cut[counts.too_long, counts.train_rows, counts.longest, arm.method["max_length"]].append(arm)
        if counts.too_long_prompts:
            asked[counts.too_long_prompts].append(arm)
    findings = []
    for (too_long, rows, longest, limit), arms in cut.items():
        message = (
            f"{_names(arms)}: {too_long:,} of {rows:,} training sequences are longer than max_length {limit:,} and "
            f"would be cut on the left; the longest has about {longest:,} tokens"
        )
        findings.append(Finding("truncated", message, too_long))
    for too_long, arms in asked.items():
        message = (
            f"{_names(arms)}: {too_long:,} prompts do not fit into the model's context and would lose their beginning; "
            "use fewer shots or shorter texts"
        )
        findings.append(Finding("prompt_truncated", message, too_long))
    return findings


def _uncounted(plan: Plan, lengths: Mapping[str, ArmLengths]) -> list[Finding]:
    sources = dict.fromkeys(arm.model.source for arm in plan.arms if arm.arm_id not in lengths)
    return [
        Finding(
            "lengths_unknown",
            f"the tokenizer of {source} is not on this machine yet: lengths are unknown and truncation is not checked",
            0,
        )
        for source in sources
    ]


def _no_baseline(plan: Plan) -> Finding | None:
    if any(arm.family == "prompt" for arm in plan.arms):
        return None
    message = (
        "no method of type prompt: there is nothing to compare with, and no forgetting can be measured; "
        "add one, e.g. zero_shot: {type: prompt}"
    )
    return Finding("no_baseline", message, len(plan.arms))


def _unfair(plan: Plan) -> list[Finding]:
    """What would favour one method over another."""
    found = {"shared_learning_rates": shared_rates(plan.arms), "attention_only": attention_only(plan.arms)}
    return [Finding(code, message, len(plan.arms)) for code, message in found.items() if message is not None]


def _too_small(plan: Plan, dataset: Dataset) -> Finding | None:
    """Whether the validation rows could show a gain of `min_gain` at all (normal approximation of McNemar's test)."""
    rows = len(dataset.splits.get("validation", []))
    if not rows:
        return None
    smallest = POWER_FACTOR * math.sqrt(DISCORDANCE / rows)
    if smallest <= max(plan.decision.min_gain, 0.01) or plan.decision.metric != "accuracy":
        return None
    message = (
        f"{rows:,} validation rows show differences of about {100 * smallest:.0f} points and more (4 times in 5, when "
        f"two methods differ on {DISCORDANCE:.0%} of the rows), and decision.min_gain is "
        f"{100 * plan.decision.min_gain:g} points; more rows tell more"
    )
    return Finding("few_validation_rows", message, rows)


def _names(arms: list[Arm]) -> str:
    return ", ".join(dict.fromkeys(arm.method_name for arm in arms))
