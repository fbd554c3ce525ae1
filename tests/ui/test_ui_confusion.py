"""The table by label and the heat map: what they say, and that a label cannot become markup or a formula of Vega's."""

from __future__ import annotations

import json

import pytest
from test_ui_charts import contrast
from test_ui_tables import rows

from ftlab.store.classes import ClassReport, ClassRow, Share
from ftlab.testing.journals import HOSTILE_TEXTS
from ftlab.ui import confusion, theme
from ftlab.ui.charts import label_expression


def report(labels: list[str], counts: list[list[int]] | None = None) -> ClassReport:
    """Every label with 8 cases, six of them right and one no label, unless `counts` says otherwise."""
    n = len(labels)
    if counts is None:
        counts = [[6 if i == j else 1 if j in ((i + 1) % n, n) else 0 for j in range(n + 1)] for i in range(n)]
    lines = [
        ClassRow(label, sum(row), Share(0.75, 0.41, 0.93, sum(row)), Share(None, None, None, 0))
        for label, row in zip(labels, counts, strict=True)
    ]
    return ClassReport("validation", lines, counts)


def test_the_table_has_a_row_for_each_label_with_its_number() -> None:
    found = rows(confusion.table(report(["Anatomy", "Dental", "ENT"])))
    assert found[0] == "1 Anatomy 8 75.0% 41.0% to 93.0% – Dental (1)"
    assert len(found) == 3


def test_an_output_that_is_no_label_can_be_the_most_frequent_mistake() -> None:
    (first, second) = rows(confusion.table(report(["a", "b"], [[1, 1, 4], [0, 3, 0]])))
    assert first.endswith("no label (4)")
    assert second.endswith("–")


def test_every_cell_counts_and_the_columns_have_one_for_no_label() -> None:
    made = report(["Anatomy", "Dental", "ENT"])
    spec = confusion.heat_map(made, confusion.drawn(made), "#111111").to_dict()
    (cells,) = spec["datasets"].values()
    assert len(cells) == 3 * 4
    assert sum(cell["n"] for cell in cells) == 24
    assert {cell["said"] for cell in cells if cell["kind"] == "no label"} == {"no label"}
    assert {(cell["target"], cell["said"]) for cell in cells if cell["kind"] == "right"} == {
        (label, label) for label in made.labels
    }
    assert spec["height"] > 3 * 20
    texts = [layer for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert texts[0]["encoding"]["text"]["field"] == "n", "never by colour alone"


def test_of_many_labels_those_with_the_most_cases_are_drawn() -> None:
    n = confusion.MOST_LABELS + 5
    counts = [[index + 1 if column == index else 0 for column in range(n + 1)] for index in range(n)]
    many = report([f"l{index:02}" for index in range(n)], counts)
    assert confusion.drawn(many) == list(range(5, n))
    assert len(rows(confusion.table(many))) == n


def test_without_counts_nothing_is_drawn() -> None:
    made = report(["a", "b"])
    assert confusion.drawn(ClassReport("test", made.rows, [])) == []
    assert [row[-1] for row in rows(confusion.table(ClassReport("test", made.rows, [])))] == ["–", "–"]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_counts_read_on_the_strongest_cell_of_both_themes(mode: str) -> None:
    def blended(color: str, ground: str, share: float) -> str:
        pairs = [(int(color[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
        return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)

    made = report(["a", "b"], [[9, 0, 0], [9, 0, 0]])
    spec = confusion.heat_map(made, [0, 1], "#111111").to_dict()
    strength = max(cell["strength"] for cell in next(iter(spec["datasets"].values())))
    ground = theme.SETTINGS[f"theme.{mode}.backgroundColor"]
    for color in spec["layer"][0]["encoding"]["fill"]["scale"]["range"]:
        assert contrast(theme.text_color(mode), blended(color, ground, strength)) >= 4.5


def test_a_hostile_label_stays_text() -> None:
    labels = [*HOSTILE_TEXTS, '"}); alert(1); ({"']
    made = report(labels)
    markup = confusion.table(made)
    assert "<script" not in markup
    assert "<img" not in markup
    spec = confusion.heat_map(made, confusion.drawn(made), "#111111").to_dict()
    for axis in ("x", "y"):
        expression = spec["layer"][0]["encoding"][axis]["axis"]["labelExpr"]
        assert "alert" not in expression
        assert "script" not in expression
    assert "\x1b" not in json.dumps(spec, ensure_ascii=False)


def test_names_on_an_axis_are_spelled_as_escapes() -> None:
    assert label_expression({1: 'a"'}) == '({"\\u0031": "\\u0061\\u0022"})[datum.value]'
