"""From intervals and gates to one sentence, by rules that anyone can check.

In this order: what is missing, the gates (a benchmark lost beyond the limit, answers not in the asked form), a clear
gain, a small gain, no worthwhile gain, not decided. "Not significant" is never worded as "no difference", and an
interval too wide to show that an arm is safe is never worded as safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from ftlab.decide import sentences as say
from ftlab.decide.gates import Gain, Rule, difference_of, gain, gate_of, value_of
from ftlab.decide.view import ArmView, Conclusion, Gate, Majority, Progress

NotInferior = Callable[[ArmView, ArmView], bool]
"""Whether the first arm is shown to be no worse than the second by more than half the minimum gain."""


COST_TOLERANCE = 1.1
"""Serving costs within a tenth of each other are equal: repeated measurements on one machine differ by as much."""


def conclude(
    arms: Sequence[ArmView],
    rule: Rule,
    not_inferior: NotInferior,
    progress: Progress,
    examples: int,
    seeds: int,
    majority: Majority | None = None,
    looks: int = 0,
) -> Conclusion:
    """The conclusion from a complete table. `arms` as in the view; `examples` in the split; `seeds` of each arm.

    `majority` is given where the decision metric is `accuracy`; `looks` is how often the test rows were opened.
    """
    baseline = next((arm for arm in arms if arm.is_baseline), None)
    candidates = [arm for arm in arms if arm.family != "prompt" and arm.difference is not None]
    caveat = say.caveat(arms, candidates, baseline, rule, progress, examples, seeds, majority, looks)
    kind, sentence, arm = _decide(arms, baseline, candidates, rule, not_inferior, progress)
    return Conclusion(kind=kind, sentence=sentence, caveat=caveat, arm_id=arm.arm_id if arm else None)


Kind = Literal["use", "keep_prompting", "undecided", "blocked", "incomplete"]


Decision = tuple[Kind, str, ArmView | None]


def _decide(
    arms: Sequence[ArmView],
    baseline: ArmView | None,
    candidates: list[ArmView],
    rule: Rule,
    not_inferior: NotInferior,
    progress: Progress,
) -> Decision:
    if baseline is None or not any(arm.difference for arm in arms):
        return "incomplete", say.incomplete(arms, baseline, progress), None
    if not candidates:
        if any(arm.family != "prompt" for arm in arms):
            return "incomplete", say.incomplete(arms, baseline, progress), None
        return "keep_prompting", f"Prompt with {say.name(baseline)}: only prompting methods were compared.", baseline
    ranked = sorted(candidates, key=lambda arm: -value_of(arm))
    gains = {arm.arm_id: gain(difference_of(arm), rule.min_gain) for arm in candidates}
    gates = {arm.arm_id: gate_of(arm) for arm in candidates}
    for level in ("clear", "small"):
        winners = [arm for arm in ranked if gains[arm.arm_id] == level and gates[arm.arm_id] == "yes"]
        if level == "small":
            winners = [arm for arm in winners if not _dearer(arm, baseline)]
        if winners:
            chosen = _cheapest(winners, not_inferior)
            passed_over = next(
                (arm for arm in ranked if value_of(arm) > value_of(chosen) and gates[arm.arm_id] != "yes"), None
            )
            return "use", say.use(chosen, baseline, rule, level) + say.passed_over(passed_over, rule), chosen
    return _without_winner(ranked, gains, gates, baseline, rule)


def _without_winner(
    ranked: list[ArmView], gains: dict[str, Gain], gates: dict[str, Gate], baseline: ArmView, rule: Rule
) -> Decision:
    better = [arm for arm in ranked if gains[arm.arm_id] in ("clear", "small")]
    unsafe = next((arm for arm in better if gates[arm.arm_id] == "not shown"), None)
    if unsafe:
        return "undecided", say.not_shown_safe(unsafe, rule), unsafe
    dearer = next((arm for arm in better if gates[arm.arm_id] == "yes"), None)
    if dearer:
        return "undecided", say.dearer(dearer, baseline, rule), dearer
    if better and gates[better[0].arm_id] == "no":
        return "blocked", say.blocked(better[0], rule), better[0]
    # An arm that its gates rule out cannot be chosen whatever it gains, so it does not keep the question open.
    possible = [arm for arm in ranked if gates[arm.arm_id] != "no"]
    hoped = next((arm for arm in possible if gains[arm.arm_id] == "open"), None)
    if hoped:
        return "undecided", say.undecided(hoped, baseline, rule), hoped
    return "keep_prompting", say.keep(ranked[0], possible or ranked, baseline, rule), baseline


def _cheapest(winners: list[ArmView], not_inferior: NotInferior) -> ArmView:
    """Of the winners (the best first) the cheapest that is shown to be not inferior to the best.

    Cheap is a short serving time, and a short training time where serving is about equal.
    """
    best = winners[0]
    able = [best, *(arm for arm in winners[1:] if not_inferior(arm, best))]
    fastest = min(_serving(arm) for arm in able)
    about_equal = [arm for arm in able if _serving(arm) <= fastest * COST_TOLERANCE]
    return min(about_equal, key=lambda arm: (_training(arm), -value_of(arm)))


def _serving(arm: ArmView) -> float:
    return arm.cost.seconds_per_1k_requests if arm.cost.seconds_per_1k_requests is not None else math.inf


def _training(arm: ArmView) -> float:
    return arm.cost.train_seconds if arm.cost.train_seconds is not None else math.inf


def _dearer(arm: ArmView, baseline: ArmView) -> bool:
    mine, theirs = arm.cost.seconds_per_1k_requests, baseline.cost.seconds_per_1k_requests
    return mine is not None and theirs is not None and mine > theirs * COST_TOLERANCE
