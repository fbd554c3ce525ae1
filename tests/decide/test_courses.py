"""Benchmarks in the course of a training: from the ledger to every surface."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import DecisionView
from ftlab.report.html import render_report
from ftlab.report.markdown import render_markdown
from ftlab.report.terminal import print_view
from ftlab.spec.measures import NEUTRAL_TEXT
from ftlab.store.ledger import Ledger
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import FakeArm, make_results

ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.3),
    FakeArm("lora", "lora", {"r": 8}, accuracy=0.6, forgetting=0.2),
)
AT = ({"every": 0.25}, "best")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> DecisionView:
    return view_of(tmp_path_factory.mktemp("course"), AT)


def view_of(folder: Path, at: tuple[object, ...]) -> DecisionView:
    made = make_results(folder, arms=ARMS, benchmarks=("builtin:piqa", NEUTRAL_TEXT), at=at, seeds=(0, 1))
    with Ledger(folder, derive=update_comparisons) as ledger:
        ledger.catch_up()
        assert ledger.connection.execute("SELECT count(*) FROM comparisons WHERE kind = 'course'").fetchone() == (
            8 if at else 0,
        )
        assert update_comparisons(ledger.connection) == 0, "computed once"
        ledger.publish()
    with open_snapshot(folder) as snapshot:
        return build_view(snapshot.cursor(), made, snapshot.number)


def test_points_stand_in_the_order_of_their_steps_with_the_result_last(view: DecisionView) -> None:
    (lora,) = (arm for arm in view.arms if arm.family == "adapter")
    piqa, neutral = lora.courses
    assert [(point.point, point.step) for point in piqa.points] == [
        ("25%", 8.0),
        ("50%", 15.0),
        ("best", 15.0),
        ("75%", 22.0),
        ("last", 30.0),
    ]
    assert piqa.result == "last"
    change = next(change for change in lora.benchmarks if change.task == "builtin:piqa")
    assert piqa.points[-1].change == change.difference.estimate
    assert all(point.change.value < 0 for point in piqa.points), "20 points are lost"
    assert all(point.change.value > 0 for point in neutral.points), "a loss in nats rises"
    assert neutral.unit == "nats"


def test_prompts_and_specs_without_points_have_no_course(view: DecisionView, tmp_path: Path) -> None:
    assert not any(arm.courses for arm in view.arms if arm.family == "prompt")
    assert not any(arm.courses for arm in view_of(tmp_path, ()).arms)


def test_every_surface_tells_the_course(view: DecisionView) -> None:
    out = io.StringIO()
    print_view(view, Console(file=out, width=400))
    for text in (out.getvalue(), render_markdown(view).replace("\\", ""), render_report(view)):
        assert "n the course of the training" in text
        assert "25%, step 8" in text
        assert "last, step 30 (the result)" in text
    without = view.model_copy(update={"arms": [arm.model_copy(update={"courses": []}) for arm in view.arms]})
    assert "the course of the training" not in render_report(without)
