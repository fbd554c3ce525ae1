"""The frozen records of an opening of the sealed test rows: who looked, when, why, and at which arms.

An opening is written to `<experiment>/openings/<n>.json` before the first test row is answered, so that a look that
was killed halfway is on record as well. What counts as a look is the predictions, not the names: asking the same
weights the same questions again shows nothing new, whatever the arms are called by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from ftlab.plan.run import Record, RunConfig

TEST = "test"
"""The split that stays sealed until an opening."""

Role = Literal["baseline", "base", "finalist"]
"""`baseline`: the best prompt on validation; `base`: the bare model, asked as the task asks; `finalist`: the best arm
of a trained method on validation."""


class OpenedArm(Record):
    """One arm that is measured on test."""

    arm_id: str
    method_name: str
    label: str
    role: Role
    validation: float
    """The decision metric on validation, by which the arm was chosen; the mean over its seeds."""
    predictions: tuple[str, ...]
    """The keys of its predictions of the test rows, one for each seed."""


class Opening(Record):
    """One opening of the test rows."""

    version: Literal[1] = 1
    experiment_id: str
    number: int
    """Counts the openings of this experiment from 1."""
    ts: float
    """Unix time."""
    who: str
    """`user@host`."""
    why: str
    """In the words of the one who opened it; empty when nothing was said."""
    dataset: str
    """The dataset stage's key: which rows were the test rows."""
    content: str
    """The content hash of the data: the same for another split of the same rows."""
    spec_hash: str
    metric: str
    arms: tuple[OpenedArm, ...]
    looks: int
    """How many of the predictions no earlier opening had asked for; with 0 nothing new was seen."""

    @property
    def baseline(self) -> OpenedArm:
        """The best prompt, with which the others are compared."""
        return next(arm for arm in self.arms if arm.role == "baseline")


def seen(openings: Iterable[Opening], dataset: str) -> set[str]:
    """The keys of all predictions of these test rows that earlier openings asked for."""
    return {key for one in openings if one.dataset == dataset for arm in one.arms for key in arm.predictions}


def looks(openings: Iterable[Opening], dataset: str) -> list[Opening]:
    """The openings that showed something new of these test rows, the first one first."""
    return sorted((one for one in openings if one.dataset == dataset and one.looks), key=lambda one: one.ts)


def same_arms(opening: Opening, arms: Sequence[OpenedArm]) -> bool:
    """Whether an opening was of these arms in these roles."""
    return [(arm.arm_id, arm.role) for arm in opening.arms] == [(arm.arm_id, arm.role) for arm in arms]


def test_runs(opening: Opening, runs: Iterable[RunConfig]) -> list[RunConfig]:
    """The runs of the opened arms, in the order given."""
    opened = {arm.arm_id for arm in opening.arms}
    return [run for run in runs if run.arm_id in opened]
