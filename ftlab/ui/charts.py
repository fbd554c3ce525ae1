"""Altair charts from the view. Every mark has a colour of its own that reads on the light and the dark theme.

Labels and tooltips get text by data, never by expression, and Vega draws it as text, so hostile names stay text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from ftlab.decide.view import ArmView, Course, DecisionView
from ftlab.report import format as fmt
from ftlab.report.course import change_words, point_words
from ftlab.store.queries import CurvePoint
from ftlab.text import SHARE
from ftlab.ui.parts import clip, plain
from ftlab.ui.theme import AMBER, FAMILIES, GREY, OTHER, family

LONGEST_LABEL = 34
_ROW = 30


def scale_of(unit: str) -> float:
    """What a value is multiplied with on an axis: shares read as percent."""
    return 100.0 if unit == SHARE else 1.0


def family_scales(arms: Sequence[ArmView]) -> tuple[alt.Scale, alt.Scale]:
    """The colour and the shape scale of the families at hand, the same in every chart."""
    known = [look for key, look in FAMILIES.items() if any(arm.family == key for arm in arms)]
    if any(arm.family not in FAMILIES for arm in arms):
        known.append(OTHER)
    names = [look.name for look in known]
    return (
        alt.Scale(domain=names, range=[look.color for look in known]),
        alt.Scale(domain=names, range=[look.shape for look in known]),
    )


def short(label: str) -> str:
    """A label that fits an axis."""
    text = " ".join(plain(label).split())
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def forest(view: DecisionView, arms: Sequence[ArmView]) -> alt.LayerChart:
    """Every arm's difference to the baseline with its interval, against zero and the smallest gain that counts."""
    factor = scale_of(view.metric_unit)
    rows: list[dict[str, Any]] = []
    for arm in arms:
        if arm.difference is None:
            continue
        estimate = arm.difference.estimate
        rows.append(
            {
                "id": arm.arm_id,
                "arm": short(arm.label),
                "family": family(arm.family).name,
                "value": estimate.value * factor,
                "low": None if estimate.low is None else estimate.low * factor,
                "high": None if estimate.high is None else estimate.high * factor,
                "text": fmt.difference(arm.difference, view.metric_unit),
                "flips": f"+{arm.difference.fixed} / −{arm.difference.broke}",
                "full": clip(plain(arm.label), 200),
            }
        )
    data = pd.DataFrame(rows)
    order = [row["id"] for row in sorted(rows, key=lambda row: -row["value"])]
    colors, shapes = family_scales(arms)
    y = alt.Y(
        "id:N",
        sort=order,
        title=None,
        axis=alt.Axis(
            labelExpr=label_expression({row["id"]: row["arm"] for row in rows}),
            labelLimit=220,
            labelOverlap=False,
            ticks=False,
            domain=False,
            labelPadding=8,
        ),
    )
    title = f"difference in {plain(view.metric)}, {'points' if factor == 100 else view.metric_unit or 'units'}"
    tooltip = [
        alt.Tooltip("full:N", title="method"),
        alt.Tooltip("text:N", title="difference"),
        alt.Tooltip("flips:N", title="fixed / broke"),
    ]
    base = alt.Chart(data)
    color = alt.Color("family:N", scale=colors, legend=None)
    gain = view.min_gain * factor
    marks = pd.DataFrame([{"at": 0.0, "what": "no difference"}, {"at": gain, "what": "smallest gain that counts"}])
    zero = alt.Chart(marks.iloc[:1]).mark_rule(color=GREY, strokeWidth=1.5).encode(x="at:Q", tooltip="what:N")
    wanted = (
        alt.Chart(marks.iloc[1:])
        .mark_rule(color=AMBER, strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x="at:Q", tooltip="what:N")
    )
    band = (
        alt.Chart(pd.DataFrame([{"from": 0.0, "to": gain}]))
        .mark_rect(color=AMBER, opacity=0.10)
        .encode(x="from:Q", x2="to:Q")
    )
    bars = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", title=title, axis=alt.Axis(tickCount=6, grid=False)),
        x2="high:Q",
        y=y,
        color=color,
        tooltip=tooltip,
    )
    points = base.mark_point(filled=True, size=95, opacity=1).encode(
        x="value:Q", y=y, color=color, shape=alt.Shape("family:N", scale=shapes, legend=None), tooltip=tooltip
    )
    return alt.layer(band, zero, wanted, bars, points).properties(height=_ROW * len(rows) + 70)


def label_expression(names: Mapping[Any, str]) -> str:
    """A Vega expression that shows names for what an axis is placed by (ids of arms, say: two may carry one label).

    Names are spelled as escapes of their characters, so that no name can be read as part of the expression.
    """
    pairs = ", ".join(f"{_quoted(str(value))}: {_quoted(name)}" for value, name in names.items())
    return f"({{{pairs}}})[datum.value]"


def _quoted(text: str) -> str:
    units = text.encode("utf-16-be", "replace")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'


def quality_cost(view: DecisionView, arms: Sequence[ArmView], text_color: str) -> alt.LayerChart:
    """Quality with its interval against seconds per 1,000 requests; only arms that none beats on both are coloured."""
    factor = scale_of(view.metric_unit)
    rows = []
    for arm in arms:
        quality, cost = arm.metrics.get(view.metric), arm.cost.seconds_per_1k_requests
        if quality is None or cost is None:
            continue
        rows.append(
            {
                "arm": short(arm.label),
                "full": clip(plain(arm.label), 200),
                "family": family(arm.family).name,
                "front": arm.on_front,
                "cost": cost,
                "value": quality.value * factor,
                "low": None if quality.low is None else quality.low * factor,
                "high": None if quality.high is None else quality.high * factor,
                "quality": fmt.estimate(quality, view.metric_unit),
                "costs": fmt.duration(cost),
            }
        )
    data = pd.DataFrame(rows)
    colors, shapes = family_scales(arms)
    unit = ", %" if factor == 100 else ""
    x = alt.X(
        "cost:Q",
        title="seconds per 1,000 requests",
        scale=alt.Scale(zero=False, nice=True, padding=24),
        axis=alt.Axis(grid=False, tickCount=5),
    )
    title = f"{plain(view.metric)}{unit}"
    tooltip = [
        alt.Tooltip("full:N", title="method"),
        alt.Tooltip("quality:N", title=plain(view.metric)),
        alt.Tooltip("costs:N", title="per 1,000 requests"),
    ]
    color = alt.condition("datum.front", alt.Color("family:N", scale=colors, legend=None), alt.value(GREY))
    opacity = alt.condition("datum.front", alt.value(1.0), alt.value(0.6))
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    base = alt.Chart(data)
    line = (
        base.transform_filter("datum.front")
        .mark_line(color=GREY, strokeDash=[2, 3], strokeWidth=1.2, interpolate="step-after")
        .encode(x=x, y=y, order="cost:Q")
    )
    whiskers = base.mark_rule(strokeWidth=1.5).encode(
        x=x,
        y=alt.Y("low:Q", title=title, scale=alt.Scale(zero=False)),
        y2="high:Q",
        color=color,
        opacity=opacity,
        tooltip=tooltip,
    )
    points = base.mark_point(filled=True, size=95).encode(
        x=x,
        y=y,
        color=color,
        opacity=opacity,
        shape=alt.Shape("family:N", scale=shapes, legend=None),
        tooltip=tooltip,
    )
    labels = (
        base.transform_filter("datum.front")
        .mark_text(align="left", dx=9, dy=-8, fontSize=11, color=text_color, limit=150)
        .encode(x=x, y=y, text="arm:N")
    )
    return alt.layer(line, whiskers, points, labels).properties(height=340)


def course(members: Sequence[tuple[ArmView, Course]], limit: float) -> alt.LayerChart:
    """One benchmark over the steps of trainings, from the base on, against zero and the limit of the change."""
    unit = members[0][1].unit
    factor = scale_of(unit)
    rows = []
    for arm, found in members:
        start = {"step": 0.0, "value": 0.0, "low": None, "high": None, "text": "the base", "point": "start"}
        points = [
            {
                "step": point.step,
                "value": point.change.value * factor,
                "low": None if point.change.low is None else point.change.low * factor,
                "high": None if point.change.high is None else point.change.high * factor,
                "text": change_words(found, point),
                "point": point_words(found, point),
            }
            for point in found.points
        ]
        look = {"arm": short(arm.label), "family": family(arm.family).name}
        rows += [{**look, **one} for one in (start, *points)]
    colors, shapes = family_scales([arm for arm, _ in members])
    title = f"change, {'points' if factor == 100 else unit}"
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickMinStep=1, tickCount=6)),
        color=alt.Color("family:N", scale=colors, legend=alt.Legend(orient="top", title=None)),
        tooltip=[
            alt.Tooltip("arm:N", title="method"),
            alt.Tooltip("point:N", title="point"),
            alt.Tooltip("text:N", title="change"),
        ],
    )
    value = alt.Y("value:Q", title=title, axis=alt.Axis(tickCount=5, format="~g"))
    marks = pd.DataFrame([{"at": 0.0, "what": "no change"}, {"at": limit * factor, "what": "the limit"}])
    zero = alt.Chart(marks.iloc[:1]).mark_rule(color=GREY, strokeWidth=1.5).encode(y="at:Q", tooltip="what:N")
    bound = (
        alt.Chart(marks.iloc[1:])
        .mark_rule(color=AMBER, strokeDash=[5, 4], strokeWidth=1.5)
        .encode(y="at:Q", tooltip="what:N")
    )
    lines = base.mark_line(strokeWidth=1.8).encode(y=value, detail="arm:N")
    whiskers = base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    shape = alt.Shape("family:N", scale=shapes, legend=None)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y=value, shape=shape)
    return alt.layer(zero, bound, lines, whiskers, points).properties(height=220)


CURVES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("Loss", (("train/loss", "training"), ("validation/loss", "validation"))),
    ("Learning rate", (("train/learning_rate", "learning rate"),)),
    ("Gradient norm", (("train/grad_norm", "gradient norm"),)),
    ("Tokens per second", (("train/tokens_per_second", "tokens per second"),)),
    ("Memory, GB", (("train/memory_bytes", "memory"),)),
)
"""The panels of the run page: a title, and the curves that share it with their names for people."""


def curve(points: Sequence[CurvePoint], series: Sequence[tuple[str, str]]) -> alt.LayerChart:
    """One panel of a run's curves; validation points are drawn as marks too, since there are few of them."""
    names = dict(series)
    # Where a value was not finite the point is None, and the line has a gap.
    shown = pd.DataFrame(
        [
            {"step": point.step, "key": point.key, "name": names[point.key], "value": _in_unit(point)}
            for point in points
            if point.key in names
        ]
    )
    colors = alt.Scale(domain=[name for _, name in series], range=[FAMILIES["prompt"].color, FAMILIES["adapter"].color])
    legend = alt.Legend(orient="top", title=None) if len(series) > 1 else None
    base = alt.Chart(shown).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickMinStep=1, tickCount=6)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format="~g")),
        color=alt.Color("name:N", scale=colors, legend=legend),
        tooltip=[
            alt.Tooltip("name:N", title="curve"),
            alt.Tooltip("step:Q", title="step"),
            alt.Tooltip("value:Q", title="value", format=".4~g"),
        ],
    )
    lines = base.mark_line(strokeWidth=1.8, interpolate="linear")
    few = base.transform_filter("indexof(datum.key, 'validation/') == 0").mark_point(filled=True, size=45, opacity=1)
    return alt.layer(lines, few).properties(height=240 if len(series) > 1 else 200)


def _in_unit(point: CurvePoint) -> float | None:
    return point.value / 1e9 if point.value is not None and point.key.endswith("_bytes") else point.value
