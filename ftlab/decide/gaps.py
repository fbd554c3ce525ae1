"""What a page would show and cannot yet, each with the reason."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ftlab import text
from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.view import ArmView, MissingPart
from ftlab.evaluate.benchmarks import measures_of
from ftlab.plan.opening import TEST


def missing_parts(
    facts: Facts,
    views: Sequence[ArmView],
    split: str,
    baseline: ArmFacts | None,
    apart: Collection[str] = (),
) -> list[MissingPart]:
    """Arms without a result, differences without a baseline, benchmarks that were not measured.

    `apart` are the ids of arms that share no scored example with the baseline.
    """
    parts = [
        MissingPart(what=text.one_line(view.label), why=view.reason or view.status)
        for view in views
        if facts.metric not in view.metrics
    ]
    if baseline is None:
        has_prompt = any(arm.family == "prompt" for arm in facts.arms)
        why = "no prompting arm has a result yet" if has_prompt else "the spec has no method of `type: prompt`"
        parts.append(MissingPart(what="differences to the best prompt", why=why))
    elif late := [view for view in views if facts.metric in view.metrics and not (view.difference or view.is_baseline)]:
        for why, members in (
            ("no example is scored for both, so there is nothing to compare", [v for v in late if v.arm_id in apart]),
            ("not computed yet", [view for view in late if view.arm_id not in apart]),
        ):
            names = ", ".join(text.one_line(view.label) for view in members)
            parts += [MissingPart(what=f"differences to the best prompt of {names}", why=why)] if members else []
    if facts.openings and facts.decision_split != TEST:
        state = "opened, and not all answered" if facts.arms_on(TEST) else "opened for arms that are no longer planned"
        why = f"{state}; `ftlab decide {facts.experiment_id}` goes on"
        parts.append(MissingPart(what="the sealed test rows", why=why))
    if not facts.benchmarks:
        parts.append(MissingPart(what="forgetting", why="the spec names no benchmark"))
    for task in facts.benchmarks:
        parts += _missing_benchmark(facts, views, task)
    return parts


def _missing_benchmark(facts: Facts, views: Sequence[ArmView], task: str) -> list[MissingPart]:
    # An arm without any result is named once, by itself.
    wanted = {measure.name(task) for measure in measures_of(task) if measure.gated}
    without = [
        view
        for view in views
        if facts.metric in view.metrics and not wanted <= {change.task for change in view.benchmarks}
    ]
    if not without:
        return []
    by_id = {arm.arm_id: arm for arm in facts.arms}
    baseless = [view for view in without if facts.base_benchmark_key(by_id[view.arm_id], task) is None]
    failed = next((run.reason for arm in facts.bases for run in arm.runs if run.reason), None)
    names = "every arm" if len(without) == len(views) else ", ".join(text.one_line(view.label) for view in without)
    if baseless and failed:
        why = f"the run of the base itself failed: {text.one_line(failed, 200)}"
    elif baseless:
        why = "not measured on the base yet"
    elif all(by_id[view.arm_id].keys("benchmark", task) for view in without):
        why = "it has no score for single items that could be compared"
    else:
        why = "not measured yet"
    return [MissingPart(what=f"{text.one_line(task)} of {names}", why=why)]
