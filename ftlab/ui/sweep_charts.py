"""Charts of a sweep: its history, a slice along each field, two fields together, and all fields at once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from ftlab.decide.fairness import is_number
from ftlab.decide.sweep import MethodSweep, SweepArm
from ftlab.decide.sweep_fields import SweepField
from ftlab.decide.view import DecisionView
from ftlab.plan.identity import canonical_json
from ftlab.report import format as fmt
from ftlab.ui.charts import label_expression, scale_of, short
from ftlab.ui.parts import clip, plain
from ftlab.ui.theme import AMBER, BEST, GREY, WORST, family

HEIGHT = 240
MOST_AXES = 12
"""More parallel axes than this cannot be told apart on a page."""
MOST_MARKS = 8
"""Choices of a field that are named on its parallel axis; of more, the ends alone."""
_UNSET = -0.16
"""Where a line goes on the axis of a field that the arm does not have."""


def show_value(value: Any) -> str:
    """A field's value for people."""
    if is_number(value):
        return fmt.number(value, "")
    return clip(plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)), 80)


def metric_axis(view: DecisionView) -> str:
    """The deciding metric with its unit, as an axis says it."""
    unit = ", %" if scale_of(view.metric_unit) == 100 else ""
    return f"{plain(fmt.metric_name(view.metric))}{unit}"


def history(sweep: MethodSweep, view: DecisionView) -> alt.LayerChart:
    """Every measured arm in the order in which it ended, and the best until then as a line."""
    factor = scale_of(view.metric_unit)
    best = {arm.arm_id: value * factor for arm, value in sweep.history()}
    data = pd.DataFrame([{**_facts(arm, view), "best": best[arm.arm_id]} for arm in sweep.measured])
    x = alt.X("order:Q", title="arms ended", axis=alt.Axis(grid=False, tickMinStep=1, format="d"))
    line = (
        alt.Chart(data)
        .mark_line(color=AMBER, strokeWidth=2, interpolate="step-after")
        .encode(x=x, y=alt.Y("best:Q", title=metric_axis(view), scale=alt.Scale(zero=False)))
    )
    return alt.layer(*_lost(sweep, x), line, *_points(data, sweep, x, view)).properties(height=HEIGHT)


def slice_of(sweep: MethodSweep, field: SweepField, view: DecisionView) -> alt.LayerChart:
    """The metric along one field. Arms without a result are crosses at the foot: they have a place and no value."""
    x = _along(field, "x")
    rows = [
        {**_facts(arm, view), "x": _place(field, arm.values[field.name])}
        for arm in sweep.measured
        if field.name in arm.values
    ]
    return alt.layer(*_lost(sweep, x, field), *_points(pd.DataFrame(rows), sweep, x, view)).properties(height=HEIGHT)


def together(sweep: MethodSweep, across: SweepField, up: SweepField, view: DecisionView) -> alt.Chart:
    """Every measured arm where two fields put it, coloured by the metric."""
    rows = [
        {**_facts(arm, view), "x": _place(across, arm.values[across.name]), "y": _place(up, arm.values[up.name])}
        for arm in sweep.measured
        if across.name in arm.values and up.name in arm.values
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_point(filled=True, size=110, opacity=0.9)
        .encode(
            x=_along(across, "x"),
            y=_along(up, "y"),
            color=alt.Color("value:Q", title=metric_axis(view), scale=_value_scale(sweep, view)),
            tooltip=_tooltip(view),
        )
        .properties(height=HEIGHT + 80)
    )


def parallel(sweep: MethodSweep, view: DecisionView, text_color: str, ground: str) -> alt.LayerChart:
    """Every measured arm as a line over an axis for each field, and the metric as the last axis.

    `ground` is the colour behind the chart: names are kept readable over the lines by an edge of it.
    """
    fields = sweep.fields[:MOST_AXES]
    arms = sweep.measured
    values = [arm.value for arm in arms if arm.value is not None]
    low, high = min(values), max(values)
    lines, missing = [], False
    for arm in arms:
        for place, field in enumerate(fields):
            unset = field.name not in arm.values
            missing |= unset
            at = _UNSET if unset else _share(field, arm.values[field.name])
            lines.append({**_facts(arm, view), "place": place, "at": at})
        share = 0.5 if high == low else ((arm.value or 0.0) - low) / (high - low)
        lines.append({**_facts(arm, view), "place": len(fields), "at": share})
    marks = [mark for place, field in enumerate(fields) for mark in _marks(field, place)]
    marks += [
        {"place": len(fields), "at": at, "text": fmt.number(value, view.metric_unit)}
        for at, value in ([(0.5, low)] if low == high else [(0.0, low), (1.0, high)])
    ]
    if missing:
        marks.append({"place": 0, "at": _UNSET, "text": "not set"})
    names = [short(field.name) for field in fields] + [short(fmt.metric_name(view.metric))]
    heads = [{"place": place, "at": 1.13, "text": name} for place, name in enumerate(names)]
    x = alt.X("place:Q", axis=None, scale=alt.Scale(domain=[-0.15, len(fields) + 0.35], nice=False))
    y = alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[_UNSET - 0.06, 1.2], nice=False))
    drawn = (
        alt.Chart(pd.DataFrame(lines))
        .mark_line(strokeWidth=1.6, opacity=0.75 if len(arms) <= 60 else 0.4)
        .encode(
            x=x,
            y=y,
            detail="id:N",
            order="place:Q",
            color=alt.Color("value:Q", title=metric_axis(view), scale=_value_scale(sweep, view)),
            tooltip=_tooltip(view),
        )
    )
    ends = pd.DataFrame([{"place": place, "from": 0.0, "to": 1.0} for place in range(len(names))])
    axes = alt.Chart(ends).mark_rule(color=GREY, strokeWidth=1).encode(x=x, y=alt.Y("from:Q", axis=None), y2="to:Q")
    words = pd.DataFrame([*marks, *heads])
    named = alt.Chart(words).encode(x=x, y=y, text="text:N")
    look: dict[str, Any] = {"align": "left", "dx": 6, "limit": 120, "fontSize": 11.5}
    texts = (
        named.mark_text(**look, color=ground, stroke=ground, strokeWidth=4, strokeJoin="round"),
        named.mark_text(**look, color=text_color),
    )
    return alt.layer(axes, drawn, *texts).properties(height=HEIGHT + 100)


def _facts(arm: SweepArm, view: DecisionView) -> dict[str, Any]:
    """What every mark knows of its arm."""
    factor = scale_of(view.metric_unit)
    return {
        "id": arm.arm_id,
        "order": arm.order,
        "value": None if arm.value is None else arm.value * factor,
        "text": fmt.estimate(arm.estimate, view.metric_unit),
        "full": clip(plain(arm.label), 200),
        "why": clip(plain(arm.reason or arm.status), 200),
    }


def _tooltip(view: DecisionView) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("full:N", title="arm"),
        alt.Tooltip("text:N", title=plain(fmt.metric_name(view.metric))),
        alt.Tooltip("order:Q", title="ended as number"),
    ]


def _points(data: pd.DataFrame, sweep: MethodSweep, x: alt.X, view: DecisionView) -> list[alt.Chart]:
    """The arms in the colour and shape of their family, the best one larger.

    Only what there is gets a layer: one without marks is a graphic without a name to a screen reader.
    """
    look = family(sweep.family)
    is_best = data["id"] == (sweep.best.arm_id if sweep.best is not None else None)
    y = alt.Y("value:Q", title=metric_axis(view), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    drawn: dict[str, Any] = {"filled": True, "color": look.color, "shape": look.shape}
    rest, best = data[~is_best], data[is_best]
    layers = [] if rest.empty else [alt.Chart(rest).mark_point(**drawn, size=60, opacity=0.75)]
    if not best.empty:
        layers.append(alt.Chart(best).mark_point(**drawn, size=150, opacity=1))
    return [layer.encode(x=x, y=y, tooltip=_tooltip(view)) for layer in layers]


def _lost(sweep: MethodSweep, x: alt.X, field: SweepField | None = None) -> list[alt.Chart]:
    """Crosses at the foot for the arms that ended without a result, by their order or their value of a field."""
    rows = [
        {
            "full": clip(plain(arm.label), 200),
            "why": clip(plain(arm.reason or arm.status), 200),
            "order": arm.order,
            "x": None if field is None else _place(field, arm.values[field.name]),
        }
        for arm in sweep.lost
        if field is None or field.name in arm.values
    ]
    if not rows:
        return []
    crosses = (
        alt.Chart(pd.DataFrame(rows))
        .mark_point(shape="cross", size=45, color=GREY, filled=True, angle=45, opacity=0.9)
        .encode(
            x=x,
            y=alt.value("height"),
            tooltip=[alt.Tooltip("full:N", title="arm"), alt.Tooltip("why:N", title="no result")],
        )
    )
    return [crosses]


def _along(field: SweepField, channel: str) -> Any:
    """The axis of a field: of numbers, logarithmic where the space is; else of its choices, in their order."""
    kind = alt.X if channel == "x" else alt.Y
    title = short(field.name)
    if field.numeric:
        kinds = {"type": "log"} if field.log else {"zero": False}
        scale = alt.Scale(**kinds, nice=False, padding=12)
        few = field.dimension.choices is not None and len(field.values) <= MOST_MARKS
        ticks = {"values": list(field.values)} if few else {"tickCount": 5}
        axis = alt.Axis(grid=False, format=".4~g", labelOverlap=True, **ticks)
        return kind(f"{channel}:Q", title=title, scale=scale, axis=axis)
    names = {str(index): short(show_value(value)) for index, value in enumerate(field.values)}
    axis = alt.Axis(labelExpr=label_expression(names), labelLimit=140, labelAngle=0, grid=False)
    return kind(f"{channel}:N", title=title, sort=list(names), axis=axis)


def _place(field: SweepField, value: Any) -> Any:
    """Where a value stands on the field's axis: the number, or the number of the choice as text."""
    return value if field.numeric else str(_index(field, value))


def _index(field: SweepField, value: Any) -> int:
    """Of a choice. True and 1 are two choices."""
    return [canonical_json(one) for one in field.values].index(canonical_json(value))


def _share(field: SweepField, value: Any) -> float:
    """The place of a value on a field's parallel axis, 0 to 1."""
    if not field.numeric:
        return 0.5 if len(field.values) < 2 else _index(field, value) / (len(field.values) - 1)
    low, high, at = (math.log(one) if field.log else float(one) for one in (*_reach(field), value))
    return 0.5 if low == high else (at - low) / (high - low)


def _reach(field: SweepField) -> tuple[float, float]:
    """The ends of a field's axis of numbers: those of what was tried."""
    return field.values[0], field.values[-1]


def _marks(field: SweepField, place: int) -> Sequence[dict[str, Any]]:
    shown = field.values
    if not shown:
        return []
    if (field.numeric and field.dimension.choices is None) or len(shown) > MOST_MARKS:
        shown = (shown[0], shown[-1])
    marks = {_share(field, value): short(show_value(value)) for value in shown}
    return [{"place": place, "at": at, "text": text} for at, text in marks.items()]


def _value_scale(sweep: MethodSweep, view: DecisionView) -> alt.Scale:
    """From the worst to the best value of this method."""
    values = [arm.value * scale_of(view.metric_unit) for arm in sweep.measured if arm.value is not None]
    ends = [min(values), max(values)]
    return alt.Scale(domain=ends, range=[WORST, BEST] if sweep.higher else [BEST, WORST], interpolate="rgb")
