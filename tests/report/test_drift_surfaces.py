"""Measures in units of their own and the drift of default behaviour: alike on every surface, and harmless."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ftlab.cli.tables import print_arm
from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import ArmView, BenchmarkChange, DecisionView
from ftlab.report import format as fmt
from ftlab.report.html import render_report
from ftlab.report.markdown import render_markdown
from ftlab.report.model_card import model_card
from ftlab.report.terminal import drift_words, forgetting_note, print_view
from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import HOSTILE_TEXTS, FakeArm, make_results

ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.2),
    FakeArm("lora", "lora", accuracy=0.7, forgetting=0.002),
    FakeArm("full", "full", accuracy=0.7, forgetting=0.1),
)


def view_of(folder, **options) -> DecisionView:
    tasks = ("builtin:piqa", BEHAVIOUR, NEUTRAL_TEXT)
    experiment = make_results(folder, arms=ARMS, benchmarks=tasks, items=48, **options)
    with Ledger(folder, update_comparisons) as ledger:
        ledger.catch_up()
        return build_view(ledger.connection, experiment)


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> DecisionView:
    return view_of(tmp_path_factory.mktemp("plain"))


def arm_of(view: DecisionView, name: str) -> ArmView:
    return next(arm for arm in view.arms if arm.method_name == name)


def change_of(arm: ArmView, task: str) -> BenchmarkChange:
    return next(change for change in arm.benchmarks if change.task == task)


def terminal(view: DecisionView) -> str:
    out = io.StringIO()
    print_view(view, Console(file=out, width=240))
    return out.getvalue()


def test_a_risen_loss_is_written_as_it_rose(view: DecisionView):
    change = change_of(arm_of(view, "full"), NEUTRAL_TEXT)
    assert fmt.change_value(change).startswith("+0.39")
    assert fmt.change_value(change).endswith(" nats")
    assert "(95% CI +0.39" in fmt.change(change)
    assert fmt.lost_gained(change) == "40 rose, 0 fell"
    assert fmt.before_after(change).endswith(" nats")
    piqa = change_of(arm_of(view, "full"), "builtin:piqa")
    assert fmt.change_short(piqa) == fmt.difference_short(piqa.difference)
    assert "%" in fmt.before_after(piqa)


def test_a_narrow_terminal_has_a_row_for_each_benchmark(view: DecisionView):
    out = io.StringIO()
    print_view(view, Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    (line,) = [line for line in lines if "neutral-text, neutral text" in line and "+0.39" in line]
    assert line.rstrip().endswith("✗")
    assert max(map(len, lines)) <= 80


def test_limits_are_named_in_their_units(view: DecisionView):
    assert fmt.loss_limits(view) == (
        "2 points (behaviour/instructions: 25 points, behaviour/format: 25 points, neutral-text: 0.1 nats)"
    )
    assert forgetting_note(view).startswith("In points, or as named, against the base")
    points = view.model_copy(update={"benchmarks": ["builtin:piqa"]})
    assert forgetting_note(points).startswith("Points against the base on the same items.")


def test_the_worst_benchmark_is_named_in_its_unit(view: DecisionView):
    worst = fmt.worst_benchmark(arm_of(view, "full"))
    assert worst is not None
    assert worst.within_limit == "no"


def test_every_surface_shows_every_change_and_drift(view: DecisionView):
    arm = arm_of(view, "full")
    surfaces = {
        "html": " ".join(render_report(view).split()),
        "markdown": render_markdown(view).replace("\\", ""),
        "terminal": terminal(view),
        "card": model_card(view, arm, "merged", 0, "r").replace("\\", ""),
    }
    out = io.StringIO()
    print_arm(Console(file=out, width=240), view, arm)
    surfaces["show"] = out.getvalue()
    for name, shown in surfaces.items():
        for change in arm.benchmarks:
            said = fmt.change_value(change) if name in ("terminal", "show") else fmt.change_short(change)
            assert said in shown, (name, change.task)
        for moved in arm.drift:
            assert drift_words(moved) in shown, (name, moved.task)
            assert fmt.before_after(moved) in shown, (name, moved.task)
    for name in ("html", "markdown", "terminal"):
        assert "instruction following" in surfaces[name], name


def test_drift_is_marked_where_its_interval_excludes_zero(view: DecisionView):
    moved = {each.task: each for each in arm_of(view, "full").drift}
    length, refusals = moved[f"{BEHAVIOUR}/length"], moved[f"{BEHAVIOUR}/refusals"]
    assert fmt.is_news(length)
    assert " *" in drift_words(length)
    assert not fmt.is_news(refusals)
    assert "*" not in drift_words(refusals)
    assert fmt.drift_counts(length).startswith("more on 0, less on ")
    named = length.model_copy(update={"limit": 5.0, "within_limit": "no"})
    assert drift_words(named).endswith("beyond limit")


def test_the_report_shows_answers_beside_the_bases(view: DecisionView):
    page = render_report(view)
    assert "How does it behave unasked?" in page
    assert page.count("data-changed=") == len(view.changed_answers) > 0


def test_without_drift_nothing_is_said_of_it(ordinary):
    assert "unasked" not in render_report(ordinary.view)
    assert "Drift" not in render_markdown(ordinary.view)
    assert "Default behaviour" not in terminal(ordinary.view)


def test_answers_do_nothing(tmp_path):
    view = view_of(tmp_path, hostile=True)
    cases = view.changed_answers
    assert any(text in case.after for case in cases for text in HOSTILE_TEXTS)
    page = render_report(view)
    assert "<script>alert('ftlab')" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page + terminal(view) + render_markdown(view)
