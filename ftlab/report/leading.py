"""The arms of a very large sweep that a table for people has room for."""

from __future__ import annotations

from ftlab.decide.view import ArmView, DecisionView


def leading(view: DecisionView, most: int) -> tuple[DecisionView, int]:
    """The view with at most `most` arms, in its own order, and how many were left out.

    The best prompt, the best of each method and the fronts come before others, the better ones first.
    """
    if len(view.arms) <= most:
        return view, 0
    sign = 1 if view.metric_direction == "higher" else -1

    def rank(arm: ArmView) -> tuple[bool, bool, bool, float]:
        found = arm.metrics.get(view.metric)
        value = -sign * found.value if found is not None else float("inf")
        return not arm.is_baseline, not arm.is_best_of_method, not (arm.on_front or arm.on_training_front), value

    kept = {arm.arm_id for arm in sorted(view.arms, key=rank)[:most]}
    arms = [arm for arm in view.arms if arm.arm_id in kept]
    return view.model_copy(update={"arms": arms}), len(view.arms) - len(arms)


def left_out(count: int) -> str:
    """What is said below a table that lacks `count` arms."""
    return f"{count:,} more arms are not shown here; `ftlab export` and `ftlab show --json` have all of them."
