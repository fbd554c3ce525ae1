"""Tables of very large sweeps: the arms that matter are there, and that others are not is said."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ftlab.decide.view import DecisionView
from ftlab.report import html, terminal
from ftlab.report.html import render_report
from ftlab.report.leading import leading
from ftlab.report.terminal import print_view


@pytest.fixture
def view(ordinary) -> DecisionView:
    return ordinary.view


def test_what_fits_is_left_alone(view: DecisionView) -> None:
    assert leading(view, len(view.arms)) == (view, 0)


def test_the_best_prompt_and_the_best_of_each_method_stay_in_their_order(view: DecisionView) -> None:
    wanted = [arm.arm_id for arm in view.arms if arm.is_baseline or arm.is_best_of_method]
    short, missing = leading(view, len(wanted))
    assert [arm.arm_id for arm in short.arms] == wanted
    assert missing == len(view.arms) - len(wanted) > 0
    assert short.model_copy(update={"arms": view.arms}) == view


def test_tables_for_people_say_how_many_they_leave_out(view: DecisionView, monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"{len(view.arms) - 3} more arms are not shown here"
    for module in (terminal, html):
        monkeypatch.setattr(module, "MOST_ARMS", 3)
    out = io.StringIO()
    print_view(view, Console(file=out, width=200))
    assert said in out.getvalue()
    assert said in render_report(view)
    monkeypatch.undo()
    assert "not shown here" not in render_report(view)
