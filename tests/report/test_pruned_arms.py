"""An arm that its search gave up: shown everywhere with step and reason, paid for, and chosen by nobody."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.facts import Facts, read_facts
from ftlab.decide.finalists import choose_finalists
from ftlab.decide.view import DecisionView
from ftlab.events import Status
from ftlab.execute.attempts import close_attempt, create_attempt
from ftlab.execute.experiments import read_plan
from ftlab.report.html import render_report
from ftlab.report.markdown import render_markdown
from ftlab.report.terminal import print_view
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import FakeArm, make_results

REASON = "stopped at step 8 of 20: a validation loss of 2.9, number 3 of 3 arms at the first evaluation"
ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.3),
    FakeArm("lora", "lora", {"r": 8}, accuracy=0.5),
    FakeArm("lora", "lora", {"r": 16}, status=Status.PRUNED, reason=REASON),
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecisionView, Facts]:
    folder = tmp_path_factory.mktemp("pruned")
    made = make_results(folder, arms=ARMS, items=12)
    with Ledger(folder, derive=update_comparisons) as ledger:
        ledger.catch_up()
        return build_view(ledger.connection, made), read_facts(ledger.connection, made)


def test_it_is_a_row_with_step_reason_and_cost(seen: tuple[DecisionView, Facts]) -> None:
    view, _ = seen
    arm = next(arm for arm in view.arms if arm.varied == {"r": 16})
    assert (arm.status, arm.reason, arm.metrics) == (Status.PRUNED, REASON, {})
    assert (arm.cost.train_tokens, arm.cost.train_seconds) == (12_800, 19.0)
    budget = next(one for one in view.budgets if one.method_name == "lora")
    whole = next(arm for arm in view.arms if arm.varied == {"r": 8})
    assert whole.cost.train_tokens is not None
    assert budget.train_tokens == 12_800 + whole.cost.train_tokens
    assert (budget.arms, budget.measured) == (2, 1)


def test_every_report_says_where_it_stopped_and_why(seen: tuple[DecisionView, Facts]) -> None:
    view, _ = seen
    terminal = Console(file=io.StringIO(), width=400)
    print_view(view, terminal)
    printed = terminal.file.getvalue()  # type: ignore[attr-defined]
    for shown in (printed, render_report(view), render_markdown(view)):
        assert "stopped at step 8 of 20: a validation loss of 2.9" in shown


def test_it_is_no_finalist(seen: tuple[DecisionView, Facts]) -> None:
    assert [one.arm.varied for one in choose_finalists(seen[1])] == [{}, {"r": 8}]


def test_a_seed_that_came_through_does_not_save_an_arm_that_was_given_up(tmp_path: Path) -> None:
    best = FakeArm("lora", "lora", {"r": 32}, accuracy=0.95)
    made = make_results(tmp_path, arms=(*ARMS[:2], best), items=12, seeds=(0, 1))
    plan = read_plan(tmp_path / made)
    arm_id = next(arm.arm_id for arm in plan.arms if arm.varied == {"r": 32})
    first = next(run for run in plan.runs if run.arm_id == arm_id)
    close_attempt(create_attempt(tmp_path, first), Status.PRUNED, REASON)
    with Ledger(tmp_path, derive=update_comparisons) as ledger:
        ledger.catch_up()
        assert [one.arm.varied for one in choose_finalists(read_facts(ledger.connection, made))] == [{}, {"r": 8}]
        view = build_view(ledger.connection, made)
    shown = next(arm for arm in view.arms if arm.varied == {"r": 32})
    assert (shown.status, shown.metrics, shown.difference) == (Status.PRUNED, {}, None)
