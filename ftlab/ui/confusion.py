"""How a run did on each label: a table with intervals, and the confusion as a heat map."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from ftlab.report import format as fmt
from ftlab.store.classes import ClassReport, Share
from ftlab.ui import parts
from ftlab.ui.charts import label_expression, short
from ftlab.ui.parts import MISSING, clip, escape, plain
from ftlab.ui.theme import FAMILIES, GREY

MOST_LABELS = 30
"""Labels that the heat map draws, those with the most cases; the table has them all."""
_NO_LABEL = "∅"
_CELL = 24
_AROUND = 96
_RIGHT, _WRONG, _NONE = "right", "another label", "no label"
_STRONGEST = 0.6
"""Opacity of a full cell: more would cost the count in it its contrast on one of the two themes."""


def draw(report: ClassReport, text_color: str) -> None:
    """The section of one split. `text_color` is that of the theme."""
    parts.heading(
        f"Label by label, {report.split}",
        "Recall: of the cases with this label, those answered so. Precision: of the answers with it, those that "
        "are right. With 95% intervals, which are wide where there are few cases.",
    )
    parts.markup(table(report))
    shown = drawn(report)
    if not shown:
        return
    rest = len(report.rows) - len(shown)
    more = f" The {MOST_LABELS} labels with the most cases are drawn, {rest} are not." if rest else ""
    parts.heading(
        "Confusion",
        "A row is the right answer, a column what the output was read as, both numbered as in the table; "
        f"{_NO_LABEL} is no label at all. A cell counts cases; its colour is the stronger the larger its share of the "
        f"row. The diagonal is right.{more}",
        level=3,
    )
    st.altair_chart(
        heat_map(report, shown, text_color),
        alt=f"Confusion of {len(shown)} labels on {report.split}: right answers in rows, outputs in columns.",
    )


def table(report: ClassReport) -> str:
    """One row per label, as HTML: cases, recall, precision, and what it is most often taken for."""
    head = "".join(
        f'<th scope="col" class="{kind}">{name}</th>'
        for name, kind in (
            ("Label", ""),
            ("Cases", "ft-num"),
            ("Recall", "ft-num"),
            ("Precision", "ft-num"),
            ("Most often taken for", ""),
        )
    )
    body = "".join(
        f'<tr><th scope="row"><span class="ft-muted">{index + 1}</span> {escape(clip(plain(row.label), 120))}</th>'
        f'<td class="ft-num">{fmt.count(row.support)}</td>{_share(row.recall)}{_share(row.precision)}'
        f"<td>{escape(_taken_for(report, index))}</td></tr>"
        for index, row in enumerate(report.rows)
    )
    caption = f"Recall and precision of each label on {report.split}"
    return parts.scrolling(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", caption, "ft-classes", "ft-tall")


def _share(share: Share) -> str:
    if share.value is None:
        return f'<td class="ft-num">{MISSING}</td>'
    ends = ""
    if share.low is not None and share.high is not None:
        ends = f"<small>{escape(fmt.number(share.low))} to {escape(fmt.number(share.high))}</small>"
    return f'<td class="ft-num">{escape(fmt.number(share.value))}{ends}</td>'


def _taken_for(report: ClassReport, index: int) -> str:
    found = report.mistake(index)
    if found is None:
        return MISSING
    label, n = found
    return f"{'no label' if label is None else clip(plain(label), 60)} ({fmt.count(n)})"


def drawn(report: ClassReport) -> list[int]:
    """The rows that the heat map has: those with the most cases, in their order; none without counts."""
    if not report.confusion:
        return []
    most = sorted(range(len(report.rows)), key=lambda index: (-report.rows[index].support, index))[:MOST_LABELS]
    return sorted(most)


def heat_map(report: ClassReport, shown: list[int], text_color: str) -> alt.LayerChart:
    """Cases by right answer and by answer. Columns are numbered: names of labels would not fit a phone's width.

    What is right, wrong and no label differs in colour and in place, and every cell that is not empty says its count.
    """
    columns = [*shown, len(report.rows)]
    data = pd.DataFrame([_cell(report, row, column) for row in shown for column in columns])
    scale = alt.Scale(paddingInner=0.06, paddingOuter=0.03)
    names = {row + 1: f"{row + 1} {short(report.labels[row])}" for row in shown}
    numbers = {column + 1: str(column + 1) for column in shown} | {len(report.rows) + 1: _NO_LABEL}
    plain_axis = {"ticks": False, "domain": False, "labelPadding": 4, "labelOverlap": False, "labelFlush": False}
    x = alt.X(
        "column:O",
        title="read as",
        scale=scale,
        axis=alt.Axis(labelExpr=label_expression(numbers), labelAngle=0, orient="top", **plain_axis),
    )
    y = alt.Y(
        "row:O",
        title=None,
        scale=scale,
        axis=alt.Axis(labelExpr=label_expression(names), labelLimit=96, **plain_axis),
    )
    kinds = alt.Scale(domain=[_RIGHT, _WRONG, _NONE], range=[FAMILIES["full"].color, FAMILIES["adapter"].color, GREY])
    tooltip = [
        alt.Tooltip("target:N", title="right answer"),
        alt.Tooltip("said:N", title="read as"),
        alt.Tooltip("n:Q", title="cases"),
        alt.Tooltip("of:N", title="of the row"),
    ]
    base = alt.Chart(data).encode(x=x, y=y)
    legend = alt.Legend(orient="bottom", title=None, symbolOpacity=_STRONGEST, symbolStrokeWidth=0)
    # The thin frame shows where an empty or faint cell is.
    cells = base.mark_rect(strokeWidth=0.5, stroke=GREY, strokeOpacity=0.3).encode(
        fill=alt.Fill("kind:N", scale=kinds, legend=legend),
        fillOpacity=alt.FillOpacity("strength:Q", scale=None),
        tooltip=tooltip,
    )
    size = alt.ExprRef(f"clamp(0.62 * width / {len(columns)}, 8, 12)")
    counts = (
        base.transform_filter("datum.n > 0")
        .mark_text(fontSize=size, color=text_color)
        .encode(text="n:Q", tooltip=tooltip)
    )
    return alt.layer(cells, counts).properties(height=_CELL * len(shown) + _AROUND)


def _cell(report: ClassReport, row: int, column: int) -> dict[str, Any]:
    n, support = report.confusion[row][column], sum(report.confusion[row])
    share = n / support if support else 0.0
    none = column == len(report.rows)
    return {
        "row": row + 1,
        "column": column + 1,
        "kind": _RIGHT if row == column else _NONE if none else _WRONG,
        "n": n,
        "strength": _STRONGEST * share**0.6,
        "target": clip(plain(report.labels[row]), 120),
        "said": "no label" if none else clip(plain(report.labels[column]), 120),
        "of": fmt.number(share),
    }
