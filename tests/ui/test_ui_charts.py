"""The charts as specifications: what is drawn, in which colours, and that names stay names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import ui_synthetic as made

from ftlab.store.queries import CurvePoint
from ftlab.testing.journals import HOSTILE_TEXTS
from ftlab.ui import charts, theme


def contrast(first: str, second: str) -> float:
    """The contrast of two colours by WCAG 2.2, 1 to 21."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def layers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for layer in spec["layer"]:
        yield from layers(layer) if "layer" in layer else [layer]


def compared() -> list[Any]:
    return [arm for arm in made.make_view().arms if arm.difference]


@pytest.mark.parametrize("look", [*theme.FAMILIES.values(), theme.OTHER], ids=lambda look: look.name)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_family_colors_read_on_both_themes(look: theme.Family, mode: str) -> None:
    assert contrast(look.color, theme.SETTINGS[f"theme.{mode}.backgroundColor"]) >= 3


def test_families_differ_in_color_shape_and_glyph() -> None:
    looks = [*theme.FAMILIES.values(), theme.OTHER]
    for attribute in ("color", "shape", "glyph", "name"):
        assert len({getattr(look, attribute) for look in looks}) == len(looks)


def test_a_plugin_family_is_drawn_too() -> None:
    assert theme.family("steering") is theme.OTHER


def test_every_mark_of_every_chart_has_a_color_of_its_own() -> None:
    view = made.make_view()
    curves = [CurvePoint("r", "train/loss", 1, 2.0), CurvePoint("r", "train/loss", 2, None)]
    drawn = [
        charts.forest(view, compared()),
        charts.quality_cost(view, compared(), "#111111"),
        charts.curve(curves, charts.CURVES[0][1]),
    ]
    for chart in drawn:
        for layer in layers(chart.to_dict()):
            mark = layer["mark"]
            assert "color" in mark or "color" in layer["encoding"], f"{mark} would be black on the dark theme"


def test_the_forest_shows_zero_the_smallest_gain_and_every_arm_in_points() -> None:
    view = made.make_view()
    chart = charts.forest(view, compared())
    spec = chart.to_dict()
    values = [row for rows in spec["datasets"].values() for row in rows]
    assert {row["at"] for row in values if "at" in row} == {0.0, 2.0}
    shown = {row["id"]: row for row in values if "id" in row}
    assert set(shown) == {arm.arm_id for arm in compared()}
    assert shown["a00000000003"]["value"] == pytest.approx(19.0)
    assert shown["a00000000003"]["low"] == pytest.approx(14.5)


def test_an_arm_without_an_interval_still_has_its_point() -> None:
    arm = compared()[0]
    bare = arm.difference.estimate.model_copy(update={"low": None, "high": None})
    arm = arm.model_copy(update={"difference": arm.difference.model_copy(update={"estimate": bare})})
    spec = charts.forest(made.make_view(), [arm]).to_dict()
    [row] = [row for rows in spec["datasets"].values() for row in rows if "id" in row]
    assert (row["low"], row["high"]) == (None, None)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_names_never_become_part_of_an_expression(text: str) -> None:
    arm = compared()[0].model_copy(update={"label": text + '"}); alert(1); ({"'})
    spec = charts.forest(made.make_view(), [arm]).to_dict()
    [axis] = [layer["encoding"]["y"]["axis"] for layer in layers(spec) if "axis" in layer["encoding"].get("y", {})][:1]
    expression = axis["labelExpr"]
    table = json.loads(expression.removeprefix("(").removesuffix(")[datum.value]"))
    assert table == {arm.arm_id: charts.short(arm.label)}
    assert "alert" not in expression


def test_only_the_front_is_colored_and_labelled() -> None:
    view = made.make_view()
    arms = [arm for arm in view.arms if arm.metrics]
    spec = charts.quality_cost(view, arms, "#111111").to_dict()
    rows = [row for rows in spec["datasets"].values() for row in rows]
    assert {row["arm"] for row in rows if row["front"]} == {"zero_shot", "lora r=16 learning_rate=0.0005"}
    points = next(layer for layer in layers(spec) if layer["mark"]["type"] == "point")
    assert points["encoding"]["color"]["value"] == theme.GREY
    labels = next(layer for layer in layers(spec) if layer["mark"]["type"] == "text")
    assert labels["transform"] == [{"filter": "datum.front"}]


def test_memory_is_drawn_in_gigabytes() -> None:
    frame = [CurvePoint("r", "train/memory_bytes", 1, 2.5e9)]
    spec = charts.curve(frame, dict(charts.CURVES)["Memory, GB"]).to_dict()
    assert [row["value"] for rows in spec["datasets"].values() for row in rows] == [2.5]
