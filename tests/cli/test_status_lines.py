"""`ftlab status` of a sweep in which much failed: the screen stays readable."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from ftlab.cli.status import MOST_RUNS, _lines
from ftlab.decide.view import DecisionView
from ftlab.events import Status
from ftlab.execute.standing import read_standing
from ftlab.testing.fakes import fake_plan


def test_failures_are_listed_up_to_a_number_and_the_rest_is_counted(tmp_path: Path) -> None:
    plan = fake_plan({f"m{number}": {"type": "fake_prompt"} for number in range(MOST_RUNS + 5)})
    standing = read_standing(tmp_path, plan)
    runs = tuple(dataclasses.replace(run, status=Status.FAILED, reason="no luck") for run in standing.runs)
    lines = _lines(tmp_path, dataclasses.replace(standing, runs=type(standing.runs)(runs)), None)
    assert sum("failed (no luck)" in line and line.startswith("  ") for line in lines) == MOST_RUNS
    assert any("and 5 more" in line for line in lines)


def test_the_command_that_goes_on_works_from_anywhere(tmp_path: Path) -> None:
    plan = fake_plan({"m": {"type": "fake_prompt"}})
    lines = _lines(tmp_path, read_standing(tmp_path, plan), None)
    assert lines[-1] == f"continue with: ftlab resume {plan.experiment_id} --results {tmp_path}"


def test_an_opening_that_was_not_answered_is_gone_on_with_by_decide(tmp_path: Path) -> None:
    plan = fake_plan({"m": {"type": "fake_prompt"}})
    opened = SimpleNamespace(openings=[object()], split="validation", arms=[], metric="accuracy")
    lines = _lines(tmp_path, read_standing(tmp_path, plan), cast("DecisionView", opened))
    assert lines[-1] == f"continue with: ftlab decide {plan.experiment_id} --results {tmp_path}"
