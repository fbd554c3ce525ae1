"""Who is measured on the sealed test rows, chosen on validation alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftlab.decide.facts import ArmFacts, Facts, RunFacts, best
from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.plan.opening import TEST, OpenedArm, Opening, Role, looks, same_arms, seen
from ftlab.text import plural

VALIDATION = "validation"
_OPEN = (Status.WAITING, Status.RUNNING, Status.CANCELLED, Status.KILLED)
"""A run in one of these has not had its chance."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """One arm to measure on test."""

    arm: ArmFacts
    role: Role
    validation: float


def choose_finalists(facts: Facts, *, partial: bool = False) -> list[Finalist]:
    """The best prompt, the bare base model where the spec has it, and the best arm of every trained method.

    All prompting methods count as one: what is compared is prompting with training, and the best prompt stands for it.
    The best is the best mean of the decision metric on validation; of equal ones the first in the spec.

    Raises:
        UsageError: runs are unfinished (unless `partial`), no prompting arm or no arm at all has a result.
    """
    unfinished = sum(_is_unfinished(run) for arm in facts.arms for run in arm.runs)
    if unfinished and not partial:
        raise UsageError(
            f"{plural(unfinished, 'run')} of {facts.name} did not finish; finish them by "
            f"`ftlab resume {facts.experiment_id}`, or leave them out by --partial"
        )
    baseline = facts.baseline(VALIDATION)
    if baseline is None:
        raise UsageError(
            f"no prompting method of {facts.name} has a result on validation, so there is nothing to compare with; "
            "add a method of `type: prompt` to the spec and run it"
        )
    trained = [arm for arm in facts.arms if arm.family != "prompt"]
    direction = facts.direction(VALIDATION, facts.metric)
    methods = dict.fromkeys(arm.method_name for arm in trained)
    winners = [best([arm for arm in trained if arm.method_name == name], VALIDATION, facts.metric, direction)
               for name in methods]  # fmt: skip
    finalists = [winner for winner in winners if winner is not None]
    models = {arm.model_source for arm in (*finalists, baseline)}
    bare = [arm for arm in facts.arms if is_bare(arm) and arm is not baseline and arm.model_source in models]
    chosen: list[tuple[ArmFacts, Role]] = [(baseline, "baseline")]
    chosen += [(arm, "base") for arm in bare]
    chosen += [(arm, "finalist") for arm in finalists]
    return [
        Finalist(arm, role, value) for arm, role in chosen if (value := arm.value(VALIDATION, facts.metric)) is not None
    ]


def _is_unfinished(run: RunFacts) -> bool:
    """Whether the sweep still owes this run something. A killed look at the test rows leaves the sweep finished."""
    owed = {stage for stage in run.stages if stage[1] != TEST} - run.done
    return bool(owed) and Status(run.status) in _OPEN


def is_bare(arm: ArmFacts) -> bool:
    """Whether an arm is the base model as it is: asked with the task's own prompt, without examples."""
    method = arm.method
    return arm.family == "prompt" and not method.get("shots") and not method.get("prompt") and not method.get("decode")


def propose_opening(
    facts: Facts,
    finalists: Sequence[Finalist],
    predictions: Mapping[str, Sequence[str]],
    earlier: Sequence[Opening],
    *,
    dataset: str,
    ts: float,
    who: str,
    why: str,
    again: bool,
) -> Opening | None:
    """The opening to put on record before the finalists see the test rows; None when the last one already says it.

    Args:
        predictions: the keys of each arm's predictions of the test rows, by arm id.
        earlier: every opening in the results folder, of whichever experiment.
        dataset: the key of the data set.
        again: whether a further look at rows that were opened before is asked for.

    Raises:
        UsageError: the rows were opened before, this would show something new, and `again` or `why` is not given.
    """
    mine = [opening for opening in earlier if opening.experiment_id == facts.experiment_id]
    arms = tuple(
        OpenedArm(
            arm_id=one.arm.arm_id,
            method_name=one.arm.method_name,
            label=one.arm.label,
            role=one.role,
            validation=one.validation,
            predictions=tuple(predictions[one.arm.arm_id]),
        )
        for one in finalists
    )
    known = seen(earlier, dataset)
    new = {key for arm in arms for key in arm.predictions} - known
    if not new and mine and mine[-1].dataset == dataset and same_arms(mine[-1], arms):
        return None
    before = looks(earlier, dataset)
    if new and before and not (again and why.strip()):
        raise UsageError(_opened_before(before, arms, known))
    return Opening(
        experiment_id=facts.experiment_id,
        number=max((opening.number for opening in mine), default=0) + 1,
        ts=ts,
        who=who,
        why=why.strip(),
        dataset=dataset,
        content=str(facts.data.get("content") or ""),
        spec_hash=facts.spec_hash,
        metric=facts.metric,
        arms=arms,
        looks=len(new),
    )


def _opened_before(before: Sequence[Opening], arms: Iterable[OpenedArm], known: set[str]) -> str:
    last = before[-1]
    times = "once" if len(before) == 1 else f"{len(before)} times"
    fresh = ", ".join(arm.label for arm in arms if not set(arm.predictions) <= known)
    return (
        f"these {TEST} rows were opened {times} before, last by {last.who} for {last.experiment_id}, and {fresh} would "
        "be a new look; every look makes the answer more flattering. To look all the same, and have it counted on the "
        'page: --again --why "..."'
    )
