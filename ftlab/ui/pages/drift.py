"""The part of the decision page on default behaviour: habits that moved, and the answers in which they did."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ftlab.decide.view import ArmView, ChangedAnswer, Drift
from ftlab.report import format as fmt
from ftlab.report.terminal import drift_note
from ftlab.ui import cards, parts, state
from ftlab.ui.diff import word_diff
from ftlab.ui.frame import Here
from ftlab.ui.parts import MISSING, clip, escape, scrolling
from ftlab.ui.theme import family


def draw(here: Here, arms: Sequence[ArmView]) -> None:
    """Draw it, if any trained arm's drift was measured."""
    drifting = [arm for arm in fmt.drifting(here.view) if arm in arms]
    if not drifting:
        return
    parts.heading("How it behaves unasked", drift_note(here.view, "an arrow"))
    parts.markup(drift_table(drifting))
    _answers(here)


def drift_table(arms: Sequence[ArmView]) -> str:
    """Arms by habits: base and arm, the change with its interval, marked where that excludes zero."""
    names = list(dict.fromkeys(moved.task for arm in arms for moved in arm.drift))
    head = "".join(f'<th scope="col">{escape(fmt.task_name(name))}</th>' for name in names)
    rows = []
    for arm in arms:
        moved = {each.task: each for each in arm.drift}
        look = family(arm.family)
        cells = "".join(_cell(moved.get(name)) for name in names)
        rows.append(
            f'<tr><th scope="row"><span style="color:{look.color}" aria-hidden="true">{look.glyph}</span> '
            f"{escape(clip(arm.label, 120))}</th>{cells}</tr>"
        )
    caption = "Change of default behaviour against the base model, with intervals that hold together"
    body = f'<thead><tr><th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
    return scrolling(body, caption, "ft-strip", "ft-tall")


def _cell(moved: Drift | None) -> str:
    if moved is None:
        return f"<td>{MISSING}</td>"
    tone, mark = _look(moved)
    gate = f' <span class="ft-tag">{escape(fmt.gate(moved.within_limit))}</span>' if moved.within_limit else ""
    return (
        f'<td><span class="{tone}">{mark} {escape(fmt.drift_short(moved))}</span>{gate}'
        f"<small>{escape(fmt.before_after(moved))}; {escape(fmt.drift_counts(moved))}</small></td>"
    )


def _look(moved: Drift) -> tuple[str, str]:
    """The tone and the symbol of a drift: an arrow for one that is news, good or bad where one side is better."""
    if not fmt.is_news(moved):
        return "ft-flat", "≈"
    rises = moved.difference.estimate.value > 0
    if moved.direction == "none":
        return "ft-main", "↑" if rises else "↓"
    better = rises == (moved.direction == "higher")
    return ("ft-up" if better else "ft-down"), "↑" if rises else "↓"


def _answers(here: Here) -> None:
    """Answers to general prompts beside the base's, of one arm at a time."""
    known = [arm_id for arm_id in dict.fromkeys(case.arm_id for case in here.view.changed_answers) if here.arm(arm_id)]
    if not known:
        return
    with st.expander("Answers that changed most, beside the base's"):
        first = here.view.conclusion.arm_id if here.view.conclusion.arm_id in known else known[0]
        arm_id = state.seed("changed", state.one_of(known), first)
        labels = {arm.arm_id: clip(arm.label, 120) for arm in here.view.arms}
        if len(known) > 1:
            picked = st.selectbox("Arm", known, format_func=lambda key: labels[key], key=state.widget_key("changed"))
            arm_id = picked or arm_id
            state.publish("changed", arm_id)
        shown = [case for case in here.view.changed_answers if case.arm_id == arm_id]
        parts.markup("".join(changed_case(case, labels[arm_id]) for case in shown))


def changed_case(case: ChangedAnswer, label: str) -> str:
    """One prompt with both answers as HTML, changed words marked."""
    was, is_now = word_diff(case.before, case.after)
    answers = [
        cards.Answer("base model", was or "(empty)", "plain", ""),
        cards.Answer(label, is_now or "(empty)", "plain", ", ".join(case.changes)),
    ]
    return cards.case(case.prompt, None, answers)
