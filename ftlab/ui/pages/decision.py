"""The page to decide from: the conclusion first, then the evidence in the order in which questions come up."""

from __future__ import annotations

import streamlit as st

from ftlab.decide.view import ArmView
from ftlab.report import format as fmt
from ftlab.report.assurance import assurance
from ftlab.ui import cards, charts, frame, parts, state, tables, theme
from ftlab.ui.diff import word_diff
from ftlab.ui.frame import Here
from ftlab.ui.pages import drift, money
from ftlab.ui.parts import escape

MARKS = {"use": "✓", "keep_prompting": "=", "undecided": "?", "blocked": "✕", "incomplete": "…"}
REGRESSIONS_SHOWN = 5
MANY_ARMS = 12
"""With more arms than this, charts show the best arm of each method."""


def draw(here: Here) -> None:
    """Draw the page."""
    view = here.view
    frame.title(f"{view.name} · {', '.join(view.model)}", view.question or view.name)
    frame.progress(view)
    _verdict(here)
    _gaps(here)
    _methods(here)
    arms = chart_arms(view.arms)
    left, right = st.columns(2, gap="large")
    with left:
        _forest(here, arms)
    with right:
        _quality_cost(here, arms)
    _forgetting(here, arms)
    _regressions(here)
    money.draw(here, arms)
    _sure(here)
    _ground(here)


def chart_arms(arms: list[ArmView]) -> list[ArmView]:
    """The arms that charts draw: all, or with many of them the best of each method and the baseline."""
    return arms if len(arms) <= MANY_ARMS else [arm for arm in arms if arm.is_best_of_method or arm.is_baseline]


def _verdict(here: Here) -> None:
    view, conclusion = here.view, here.view.conclusion
    parts.markup(
        f'<section class="ft ft-verdict ft-{conclusion.kind}" aria-label="Conclusion">'
        f'<span class="ft-kind">{MARKS[conclusion.kind]} {escape(fmt.conclusion_title(view))}</span>'
        f"<h2>{escape(conclusion.sentence)}</h2>"
        f'<p class="ft-caveat">{escape(conclusion.caveat)}</p></section>'
    )
    seeds = sorted({seed for arm in view.arms for seed in arm.seeds})
    parts.chips(
        [
            ("arms tried", fmt.arms_tried(view)),
            ("examples", f"{fmt.count(view.examples)} of {view.split}"),
            ("test rows", fmt.openings(view)),
            ("seeds" if len(seeds) > 1 else "seed", ", ".join(map(str, seeds)) or parts.MISSING),
            ("updated", fmt.date(view.updated_at)),
            ("data", str((view.provenance.get("data") or {}).get("content") or parts.MISSING)[:10]),
            ("snapshot", parts.MISSING if view.snapshot is None else f"#{view.snapshot}"),
        ]
    )


def _gaps(here: Here) -> None:
    view = here.view
    notes = [f"<b>{escape(gap.what)}</b>: {escape(gap.why)}" for gap in view.missing]
    warnings = [escape(parts.clip(text, 600)) for text in view.warnings]
    if not notes and not warnings:
        return
    words = []
    if notes:
        words.append(f"{fmt.plural(len(notes), 'result')} missing")
    if warnings:
        words.append(fmt.plural(len(warnings), "warning"))
    with st.expander(", ".join(words).capitalize(), expanded=bool(notes)):
        items = "".join(f"<li>{text}</li>" for text in notes + warnings)
        parts.markup(f'<ul class="ft ft-list">{items}</ul>')


def _methods(here: Here) -> None:
    view = here.view
    best_only = [arm for arm in view.arms if arm.is_best_of_method or arm.is_baseline]
    parts.heading(
        "Methods",
        f"One row per arm, the best of each method first. Intervals of differences are {fmt.level(view.confidence)}. "
        "▲ better and ▼ worse only where the interval excludes zero; ≈ may be no difference.",
    )
    shown = view.arms
    if len(best_only) < len(view.arms):
        rows = state.seed("rows", state.one_of(["all", "best"]), "all")
        names = {"all": f"All {len(view.arms)} arms", "best": "Best of each method"}
        picked = st.segmented_control(
            "Rows",
            list(names),
            format_func=lambda key: names[key],
            key=state.widget_key("rows"),
            label_visibility="collapsed",
            required=True,
        )
        state.publish("rows", picked or rows)
        shown = best_only if picked == "best" else view.arms
    parts.markup(tables.method_table(view, shown))
    if limits := tables.limits_table(view):
        parts.heading(
            "Limits", "What the spec asks of a method besides its gain. Only what is shown to be kept is kept."
        )
        parts.markup(limits)


def _forest(here: Here, arms: list[ArmView]) -> None:
    view, baseline = here.view, here.baseline
    against = "" if baseline is None else f" against {parts.clip(baseline.label, 60)}"
    parts.heading("Gain over the best prompt", f"Paired difference{against}, on the same examples.")
    compared = [arm for arm in arms if arm.difference is not None]
    if not compared:
        _nothing("No difference yet: it needs the baseline and one other arm, both scored.")
        return
    st.altair_chart(
        charts.forest(view, compared),
        alt=f"Forest plot: difference in {view.metric} to the baseline with {fmt.level(view.confidence)} intervals, "
        f"for {len(compared)} arms.",
    )
    gain = fmt.signed(view.min_gain, view.metric_unit)
    _key(arms, f"solid line: no difference · dashed line: {gain}, the smallest gain that counts")


def _quality_cost(here: Here, arms: list[ArmView]) -> None:
    view = here.view
    parts.heading(
        "Quality against cost",
        "Up and to the left is better. Grey: another arm is better at about the same cost (within 10%) or a lower one, "
        "or as good and cheaper.",
    )
    placed = [arm for arm in arms if view.metric in arm.metrics and arm.cost.seconds_per_1k_requests is not None]
    if not placed:
        _nothing("No arm has both a score and a prediction time yet.")
        return
    st.altair_chart(
        charts.quality_cost(view, placed, theme.text_color(st.context.theme.type)),
        alt=f"{view.metric} with 95% intervals against seconds per 1,000 requests, for {len(placed)} arms.",
    )
    _key(placed, "in colour, joined by the dotted line: the arms worth a look")


def _key(arms: list[ArmView], note: str) -> None:
    looks = {charts.family(arm.family) for arm in arms}
    items = "".join(
        f'<span><span style="color:{look.color}" aria-hidden="true">{look.glyph}</span> {look.name}</span>'
        for look in sorted(
            looks, key=lambda look: list(charts.FAMILIES.values()).index(look) if look != charts.OTHER else 9
        )
    )
    parts.markup(f'<div class="ft ft-key">{items}<span>{escape(note)}</span></div>')


def _forgetting(here: Here, arms: list[ArmView]) -> None:
    view = here.view
    limit = fmt.loss_limits(view)
    parts.heading(
        "What it forgot",
        f"Change on general benchmarks against the base model, item by item. Largest tolerated loss: {limit} (dashed). "
        "Coloured only where the interval excludes zero; “not shown safe” means that it is too wide to tell.",
    )
    if not any(arm.benchmarks for arm in arms):
        asked = (
            "They have not finished yet."
            if view.benchmarks
            else "The spec names none: add some under benchmarks.tasks."
        )
        _nothing(f"No benchmark has been measured. {asked}")
        return
    parts.markup(tables.forgetting_strip(view, arms))
    here.link("forgetting", "Every item that was lost or gained, in Forgetting →")
    drift.draw(here, arms)


def _regressions(here: Here) -> None:
    view = here.view
    parts.heading(
        "What gets worse",
        "Cases that the baseline answered right and the chosen arm wrong. Changed words are marked.",
    )
    names = {arm.arm_id: arm.label for arm in view.arms}
    leads = [
        f"<li><b>{escape(names[one.arm_id])}</b> {escape(fmt.worst_slice(view, one))}</li>" for one in view.worst_slices
    ]
    if leads:
        parts.markup(f'<ul class="ft ft-list">{"".join(leads)}</ul>')
    worse = list(dict.fromkeys(item.arm_id for item in view.regressions))
    known = [arm_id for arm_id in worse if here.arm(arm_id)]
    if not known or here.baseline is None:
        _nothing(
            "No such case has been found." if any(arm.difference for arm in view.arms) else "Nothing to compare yet."
        )
        return
    first = view.conclusion.arm_id if view.conclusion.arm_id in known else known[0]
    arm_id = state.seed("worse", state.one_of(known), first)
    if len(known) > 1:
        labels = {arm.arm_id: arm.label for arm in view.arms}
        arm_id = (
            st.selectbox("Arm", known, format_func=lambda key: labels[key], key=state.widget_key("worse")) or arm_id
        )
        state.publish("worse", arm_id)
    arm = here.arm(arm_id)
    assert arm is not None
    for item in [item for item in view.regressions if item.arm_id == arm_id][:REGRESSIONS_SHOWN]:
        was, is_now = word_diff(item.baseline_output, item.arm_output)
        answers = [
            cards.Answer(f"{here.baseline.label} (baseline)", was, "right", ""),
            cards.Answer(arm.label, is_now, "wrong", ""),
        ]
        parts.markup(cards.case(item.text, item.target, answers))
    here.link("examples", "All regressions of this arm, in Examples →", arms=[arm_id], show="regressed")


def _sure(here: Here) -> None:
    with st.expander("How sure is this?"):
        parts.facts(assurance(here.view), "What the conclusion rests on, what it survived, and what was not measured")


def _ground(here: Here) -> None:
    view = here.view
    with st.expander("What this rests on"):
        methods = dict.fromkeys(
            text
            for arm in view.arms
            for estimate in (arm.metrics.get(view.metric), arm.difference and arm.difference.estimate)
            if estimate and (text := estimate.method)
        )
        rows: list[tuple[str, object]] = [
            ("metric", f"{view.metric} on {view.split}, {view.metric_direction} is better"),
            ("smallest gain that counts", fmt.signed(view.min_gain, view.metric_unit)),
            ("largest tolerated loss on a benchmark", fmt.loss_limits(view)),
            ("intervals", "; ".join(methods) or parts.MISSING),
            *parts.flatten(view.provenance),
        ]
        parts.facts(rows, "What the numbers on this page rest on")


def _nothing(text: str) -> None:
    parts.markup(f'<p class="ft ft-muted">{escape(text)}</p>')
