"""Look over an experiment before it is paid for: its rows, its lengths, and whether it can answer its question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ftlab.data.records import Finding
from ftlab.errors import DataError, Fault, gathered
from ftlab.plan.fairness import attention_only, shared_rates
from ftlab.plan.lengths import ArmLengths, count_lengths
from ftlab.plan.power import Sight, sights
from ftlab.plan.run import BASE_FAMILY, Arm, Plan
from ftlab.spec.load import LoadedSpec
from ftlab.spec.placed import placed
from ftlab.spec.templates import templates_of
from ftlab.text import amount

if TYPE_CHECKING:
    from ftlab.data.records import Dataset


class Preflight(NamedTuple):
    """What is known of an experiment before it runs."""

    findings: list[Finding]
    """What a person should know, worst first."""
    lengths: dict[str, ArmLengths]
    """Token counts by arm id."""
    sights: list[Sight]
    """The smallest differences that the splits can show."""


def preflight(plan: Plan, loaded: LoadedSpec | None = None) -> Preflight:
    """What a person should know before running `plan`.

    Reads the data (fetching it on first use) and renders every prompt of the plan. Raises DataError when the data
    cannot be read, does not suffice, or lacks a column that a template names; with the spec that the plan was made
    from, SpecError with the places of all that is wrong.
    """
    from ftlab.data.dataset import build_dataset

    with placed(loaded):
        dataset = build_dataset(plan.runs[0].data, plan.task, fold=plan.runs[-1].fold)
        _refuse(plan, dataset, loaded)
        return examine(plan, dataset)


def _refuse(plan: Plan, dataset: Dataset, loaded: LoadedSpec | None) -> None:
    """Raise DataError with every template that does not fit the rows, and every arm with too many shots."""
    from ftlab.data.look import sample_of, template_faults
    from ftlab.data.prompts import check_shots

    faults: list[Fault] = []
    if loaded is not None:
        faults += template_faults(templates_of(loaded.tree), sample_of(dataset))
    messages = {run.arm_id: run.messages for run in plan.runs}
    for arm in plan.arms:
        with gathered(faults, "methods", arm.method_name, "shots"):
            check_shots(messages[arm.arm_id], arm.method["shots"], len(dataset.splits["train"]))
    if faults:
        raise DataError.of(faults)


def examine(plan: Plan, dataset: Dataset) -> Preflight:
    """The same, for a data set that is in memory."""
    from ftlab.data.checks import check_dataset

    lengths = count_lengths(plan, dataset)
    rows = {split: len(part) for split, part in dataset.splits.items()}
    if plan.runs[-1].fold is not None:
        rows["validation"] += rows["train"]  # every one of them is held out once
    seen = sights(plan, rows)
    found = [
        *check_dataset(dataset),
        *_truncated(plan, lengths),
        *_uncounted(plan, lengths),
        _no_baseline(plan),
        *_unfair(plan),
        _unlike_decoding(plan),
        *_own_benchmarks(plan),
        *_too_small(plan, seen),
    ]
    return Preflight([finding for finding in found if finding is not None], lengths, seen)


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
    message = "no method of type prompt: there is nothing to compare with; add one, e.g. zero_shot: {type: prompt}"
    return Finding("no_baseline", message, len(plan.arms))


def _unfair(plan: Plan) -> list[Finding]:
    """What would favour one method over another."""
    found = {"shared_learning_rates": shared_rates(plan.arms), "attention_only": attention_only(plan.arms)}
    return [Finding(code, message, len(plan.arms)) for code, message in found.items() if message is not None]


def _unlike_decoding(plan: Plan) -> Finding | None:
    """Choosing labels always gives a valid answer: where one side of a comparison may and the other may not, a part of
    the difference is the decoding's."""
    candidates = [arm for arm in plan.arms if arm.family != BASE_FAMILY]
    prompts = {_decode(plan, arm) for arm in candidates if arm.family == "prompt"}
    trained = {_decode(plan, arm) for arm in candidates if arm.family != "prompt"}
    if not prompts or not trained or ("choose" in prompts) == ("choose" in trained):
        return None
    chosen, other = ("prompting", "trained") if "choose" in prompts else ("trained", "prompting")
    message = (
        f"{chosen} arms may choose among the labels and no {other} arm does, so a part of any difference is the "
        f"decoding's: add decode: {{grid: [generate, choose]}} to the {other} methods, which costs predictions only"
    )
    return Finding("unlike_decoding", message, len(candidates))


def _own_benchmarks(plan: Plan) -> list[Finding]:
    """Whose code will run, before it does."""
    return [
        Finding(
            "own_benchmark",
            f"benchmark '{task}' is a task of your own: Python code that the files of {folder} name will be run",
            1,
        )
        for task, folder in plan.benchmarks.own.items()
    ]


def _decode(plan: Plan, arm: Arm) -> str:
    return arm.method.get("decode") or plan.task.decode


def _too_small(plan: Plan, seen: Sequence[Sight]) -> list[Finding]:
    """Splits whose rows are unlikely to show a gain of `min_gain`. For rates only: other spreads are not known yet."""
    if plan.decision.metric != "accuracy":
        return []
    wanted = max(plan.decision.min_gain, 0.01)
    return [
        Finding(
            f"few_{sight.split}_rows",
            f"{sight.words}, and decision.min_gain is {amount(plan.decision.min_gain)}; more rows tell more",
            sight.rows,
        )
        for sight in seen
        if sight.effect is None or sight.effect > wanted
    ]


def _names(arms: list[Arm]) -> str:
    return ", ".join(dict.fromkeys(arm.method_name for arm in arms))
