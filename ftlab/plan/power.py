"""What the rows can show, before anything is trained: the smallest gain that a comparison is likely to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ftlab.plan.opening import TEST
from ftlab.plan.run import BASE_FAMILY, Plan
from ftlab.statistics.level import at_alpha
from ftlab.statistics.power import DISCORDANT, POWER, alpha_of, quick_effect
from ftlab.text import amount, count, plural

VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one split can show."""

    split: str
    rows: int
    compared: int
    """How many arms are compared with the best prompt there, at intervals that hold for all of them together."""
    effect: float | None
    """The smallest difference of two rates that is found with a power of 80%; None when none can be."""

    @property
    def words(self) -> str:
        """One line for people."""
        arms = plural(self.compared, "arm")
        if self.effect is None:
            return f"{count(self.rows)} {self.split} rows are too few to show any difference of {arms}"
        shown = f"{count(self.rows)} {self.split} rows show differences of {amount(self.effect)} and more"
        return f"{shown}, {arms} compared"


def sights(plan: Plan, rows: Mapping[str, int]) -> list[Sight]:
    """What validation shows of all arms, and test of one finalist per trained method.

    Under the assumption that two methods differ on `DISCORDANT` of the rows; `rows` by split. Splits without rows and
    plans with nothing to compare give none.
    """
    candidates = [arm for arm in plan.arms if arm.family != BASE_FAMILY]
    finalists = {arm.method_name for arm in candidates if arm.family != "prompt"}
    compared = {VALIDATION: len(candidates) - 1, TEST: len(finalists)}
    with at_alpha(plan.decision.alpha):
        return [
            Sight(split, rows[split], arms, quick_effect(rows[split], alpha=alpha_of(arms)))
            for split, arms in compared.items()
            if rows.get(split) and arms > 0
        ]


ASSUMED = f"at {POWER:.0%} power, when two methods differ on {DISCORDANT:.0%} of the rows"
