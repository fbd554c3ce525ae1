"""Where an arm does worst: which slices there are, that their number is counted, and that groups are found."""

from __future__ import annotations

import json

import numpy as np
from small_ledger import EXPERIMENT, FakeArm, SmallLedger

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.slices import LEAST, SliceRow, masks
from ftlab.report import format as fmt

N = 240


def rows(n: int = N) -> list[SliceRow]:
    return [
        SliceRow(
            {"id": f"row {place}", "source": "forum" if place % 4 == 0 else "book", "year": place % 3, "note": None},
            "yes" if place % 2 else "no",
            "x" * (place % 50),
        )
        for place in range(n)
    ]


def test_slices_are_labels_lengths_and_columns_with_few_values() -> None:
    found = masks(rows(), labelled=True)
    assert {"label: yes", "label: no", "text: short", "text: long", "source: forum", "year: 0"} <= set(found)
    assert not any(name.startswith(("id", "note")) for name in found)
    assert all(LEAST <= mask.sum() < N for mask in found.values())
    assert found["source: forum"].sum() == N // 4
    assert not any(name.startswith("label") for name in masks(rows(), labelled=False))


def test_small_equal_and_whole_slices_are_left_out() -> None:
    few = [SliceRow({"kind": "rare" if place < LEAST - 1 else "usual"}, "a", "") for place in range(40)]
    assert list(masks(few, labelled=True)) == ["kind: usual"]
    twin = [SliceRow({"a": place % 2, "b": place % 2}, str(place % 2), "") for place in range(40)]
    assert list(masks(twin, labelled=True)) == ["label: 0", "label: 1"]
    assert masks([], labelled=True) == {}


def ledger() -> SmallLedger:
    """An arm that is better by far, and worse on forum posts."""
    forum = [row % 4 == 0 for row in range(N)]
    before = [row % 8 < 4 for row in range(N)]
    after = [(row % 8 < 7) and not forum[row] for row in range(N)]
    made = SmallLedger([FakeArm("few", "prompt", [before]), FakeArm("lora", "adapter", [after])])
    for row in range(N):
        fields = json.dumps({"source": "forum" if forum[row] else "book"})
        made.connection.execute("UPDATE examples SET fields_json = ? WHERE example_id = ?", [fields, f"e{row:04d}"])
    update_comparisons(made.connection)
    return made


def test_the_worst_slice_is_found_counted_and_said_on_its_rows() -> None:
    made = ledger()
    view = build_view(made.connection, EXPERIMENT)
    (worst,) = view.worst_slices
    assert (worst.arm_id, worst.name) == ("a-lora", "source: forum")
    assert worst.difference.estimate.n == N // 4
    assert worst.difference.estimate.value == -0.5
    assert worst.difference.correction == "Benjamini-Hochberg"
    stored = made.connection.execute("SELECT count(*) FROM comparisons WHERE kind = 'slice'").fetchone()
    marker = made.connection.execute("SELECT n FROM comparisons WHERE kind = 'slices'").fetchone()
    assert stored == marker == (worst.looked_at,)
    words = fmt.worst_slice(view, worst)
    assert words.startswith("on source: forum: −50.0 points (95% CI ")
    assert f"worst of {worst.looked_at} slices looked at" in words
    assert update_comparisons(made.connection) == 0


def test_p_values_allow_for_all_that_was_looked_at() -> None:
    found = ledger().connection.execute("SELECT p, p_adjusted FROM comparisons WHERE kind = 'slice'").fetchall()
    assert len(found) > 2
    assert all(adjusted >= p for p, adjusted in found)
    assert any(adjusted > p for p, adjusted in found)
    assert np.isfinite([adjusted for _, adjusted in found]).all()
