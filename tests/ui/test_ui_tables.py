"""The method table and the forgetting strip, read back out of their markup."""

from __future__ import annotations

import re

import pytest
import ui_synthetic as made
from test_ui_parts import Tags

from ftlab.testing.journals import HOSTILE_TEXTS
from ftlab.ui import tables


def rows(markup: str) -> list[str]:
    """The text of each row of the body."""
    body = markup.split("<tbody>")[1]
    return [
        " ".join(Tags(re.sub(r"(<small>|<td)", r" \1", row)).text.split()) for row in re.findall(r"<tr.*?</tr>", body)
    ]


def test_one_row_per_arm_in_the_views_order() -> None:
    view = made.make_view()
    found = rows(tables.method_table(view, view.arms))
    assert len(found) == len(view.arms)
    assert found[0].startswith("● few_shot baseline shots=4 34.0%")
    assert "■ lora recommended r=16 learning_rate=0.0005 53.0%" in found[2]
    assert "▲ +19.0" in found[2]
    assert "▼ −16.0" in found[1]


def test_an_arm_without_a_result_gives_its_reason_instead_of_dashes() -> None:
    view = made.make_view()
    last = rows(tables.method_table(view, view.arms))[-1]
    assert last.endswith("✕ out of memory: needed 9.1 GB of memory, 7.6 GB are there")


def test_a_reason_that_begins_with_the_status_is_not_said_twice() -> None:
    arm = made.ArmPlan("a1", "lora", "adapter", "lora", 0.0, "running", "running, 1 of 7 stages done")
    view = made.make_view([made.ARMS[0], arm])
    assert rows(tables.method_table(view, view.arms))[1].endswith("◐ running, 1 of 7 stages done")


@pytest.mark.parametrize(
    ("low", "high", "tone", "mark"),
    [
        (0.01, 0.2, "ft-up", "▲"),
        (-0.2, -0.01, "ft-down", "▼"),
        (-0.1, 0.1, "ft-flat", "≈"),
        (0.0, 0.1, "ft-flat", "≈"),
        (None, None, "ft-flat", "≈"),
    ],
)
def test_a_direction_is_claimed_only_where_the_interval_excludes_zero(
    low: float | None, high: float | None, tone: str, mark: str
) -> None:
    assert tables.direction(low, high) == (tone, mark)


def test_the_strip_colors_only_what_its_interval_shows() -> None:
    view = made.make_view()
    markup = tables.forgetting_strip(view, view.arms)
    cells = re.findall(r'<td class="(.*?)">(.*?)</td>', markup)
    for ground, content in cells:
        assert (ground == "ft-lost") == ("▼" in content)
        assert (ground == "ft-won") == ("▲" in content)
    assert sum(ground == "ft-lost" for ground, _ in cells) == 3


def test_the_strip_joins_the_arms_on_the_bases_weights() -> None:
    view = made.make_view()
    found = rows(tables.forgetting_strip(view, view.arms))
    assert len(found) == 4
    assert found[0].startswith("2 arms on the base’s weights few_shot shots=4, zero_shot unchanged")
    assert "beyond the limit" in found[-1]


def test_a_benchmark_that_an_arm_lacks_says_so() -> None:
    view = made.make_view()
    arm = view.arms[2].model_copy(update={"benchmarks": view.arms[2].benchmarks[:1]})
    [first, second] = rows(tables.forgetting_strip(view, [arm, view.arms[4]]))
    assert first.count("not measured") == 2
    assert "not measured" not in second


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_names_reasons_and_tasks_stay_text(text: str) -> None:
    view = made.make_view()
    plain = set(Tags(tables.method_table(view, view.arms) + tables.forgetting_strip(view, view.arms)).tags)
    arms = [
        arm.model_copy(
            update={
                "label": text,
                "method_name": text,
                "reason": text,
                "benchmarks": [change.model_copy(update={"task": text}) for change in arm.benchmarks[:1]],
            }
        )
        for arm in view.arms
    ]
    view = view.model_copy(update={"metric": text, "arms": arms, "split": text})
    found = Tags(tables.method_table(view, arms) + tables.forgetting_strip(view, arms))
    assert set(found.tags) <= plain
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_a_narrow_column_breaks_a_label_before_a_number_and_never_in_it() -> None:
    view = made.make_view()
    assert "learning_rate=<wbr>0.0005" in tables.method_table(view, view.arms)
    assert "learning_rate=<wbr>0.0005" in tables.forgetting_strip(view, view.arms)
