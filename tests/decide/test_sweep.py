"""What each method has tried, as a snapshot tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftlab.decide.build import build_view
from ftlab.decide.facts import VALIDATION
from ftlab.decide.pairwise import pairwise
from ftlab.decide.sweep import MethodSweep, Stand, read_sweeps
from ftlab.events import Status
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import FakeArm, make_results

RATE = {"path": ["learning_rate"], "low": 1e-5, "high": 1e-2, "log": True}
RANK = {"path": ["r"], "choices": [4, 8, 16, 32]}


def sweeps_of(
    folder: Path, *arms: FakeArm, searches: tuple[str, ...] = (), race: Any = None, sql: str = "", **more: Any
) -> list[MethodSweep]:
    """The sweeps of a made-up folder; `searches` names the methods that search the rate and the rank."""
    experiment = make_results(
        folder, arms=(FakeArm("zero_shot", "prompt"), *arms), examples=20, benchmarks=(), curve_points=4, **more
    )
    with Ledger(folder) as ledger:
        ledger.catch_up()
        plan = json.loads(ledger.connection.execute("SELECT plan_json FROM experiments").fetchone()[0])
        plan["searches"] = [
            {
                "arm": {"method_name": name, "family": "adapter"},
                "search": {"sampler": "tpe", "arms": 20},
                "dimensions": [RATE, RANK],
            }
            for name in searches
        ]
        plan["race"] = race
        ledger.connection.execute("UPDATE experiments SET plan_json = ?", [json.dumps(plan)])
        if sql:
            ledger.connection.execute(sql)
        return read_sweeps(ledger.connection, build_view(ledger.connection, experiment, split=VALIDATION))


def lora(r: int, rate: float, accuracy: float = 0.5, **more: Any) -> FakeArm:
    return FakeArm("lora", "lora", {"r": r, "learning_rate": rate}, accuracy, **more)


def test_arms_stand_apart_and_only_complete_ones_have_a_value(tmp_path: Path) -> None:
    [sweep] = sweeps_of(
        tmp_path,
        lora(4, 1e-4, 0.2),
        lora(8, 1e-4, status=Status.PRUNED, reason="given up at step 7"),
        lora(16, 1e-4, status=Status.OOM, reason="needed 9 GB"),
        lora(16, 2e-4, status=Status.RUNNING),
        lora(32, 2e-4, status=Status.WAITING),
        lora(32, 4e-4, 0.8),
        lora(32, 5e-4, 0.4),
        searches=("lora",),
    )
    assert [arm.stand for arm in sweep.arms] == [
        Stand.COMPLETE, Stand.PRUNED, Stand.FAILED, Stand.RUNNING, Stand.WAITING, Stand.COMPLETE, Stand.COMPLETE,
    ]  # fmt: skip
    assert [arm.order for arm in sweep.arms] == [1, 2, 3, None, None, 4, 5]
    assert [arm.value is None for arm in sweep.arms] == [False, True, True, True, True, False, False]
    assert [arm.reason for arm in sweep.lost] == ["given up at step 7", "needed 9 GB"]
    assert sweep.best is sweep.arms[5]
    first, second, third = (best for _, best in sweep.history())
    assert first < second == third == sweep.arms[5].value
    assert sweep.seconds > 0
    assert sweep.importances() == []


def test_a_search_knows_its_axes_and_a_grid_takes_them_from_what_was_tried(tmp_path: Path) -> None:
    searched, grid = sweeps_of(
        tmp_path,
        lora(4, 1e-4),
        FakeArm("full", "full", {"learning_rate": 1e-5, "weight_decay": 0.0, "scheduler": "linear"}),
        FakeArm("full", "full", {"learning_rate": 1e-3, "weight_decay": 0.1, "scheduler": "cosine"}),
        searches=("lora",),
    )
    rate, rank = searched.fields
    assert (rate.log, rate.numeric, rate.values) == (True, True, (1e-4,))
    assert (rank.log, rank.numeric, rank.values) == (False, True, (4, 8, 16, 32))
    assert {field.name: (field.log, field.numeric) for field in grid.fields} == {
        "learning_rate": (True, True),
        "weight_decay": (False, True),
        "scheduler": (False, False),
    }


def test_a_search_without_an_arm_is_there_and_a_method_without_a_choice_is_not(tmp_path: Path) -> None:
    [sweep] = sweeps_of(tmp_path, FakeArm("full", "full"), searches=("lora",))
    assert (sweep.name, sweep.arms, sweep.best, sweep.history(), sweep.counts) == ("lora", (), None, [], {})
    assert sweep.searches[0].sampler == "tpe"
    assert sweep.importances() == []


def test_a_leader_that_races_on_keeps_its_value(tmp_path: Path) -> None:
    arms = (lora(4, 1e-4, 0.9), lora(8, 1e-4, 0.2))
    running = "UPDATE runs SET status = 'running' WHERE seed = 1"
    [sweep] = sweeps_of(tmp_path, *arms, seeds=(0, 1), race={"seeds": [0, 1], "first": 1, "top": 1}, sql=running)
    assert [arm.stand for arm in sweep.arms] == [Stand.COMPLETE] * 2
    assert sweep.best is sweep.arms[0]


def test_without_a_race_an_arm_is_complete_with_its_last_seed(tmp_path: Path) -> None:
    running = "UPDATE runs SET status = 'running' WHERE seed = 1"
    [sweep] = sweeps_of(tmp_path, lora(4, 1e-4, 0.9), lora(8, 1e-4), seeds=(0, 1), sql=running)
    assert [(arm.stand, arm.value) for arm in sweep.arms] == [(Stand.RUNNING, None)] * 2


def test_opening_the_test_rows_ends_no_arm_anew(tmp_path: Path) -> None:
    arms = (lora(4, 1e-4, 0.9), lora(8, 1e-4, 0.2))
    [before] = sweeps_of(tmp_path / "a", *arms)
    [after] = sweeps_of(tmp_path / "b", *arms, opened=True)
    assert [arm.order for arm in after.arms] == [arm.order for arm in before.arms] == [1, 2]


def test_values_outside_todays_space_are_taken_in(tmp_path: Path) -> None:
    arms = [lora(64 if place % 2 else 4, 0.5 / (1 + place), 0.5) for place in range(16)]
    [sweep] = sweeps_of(tmp_path, *arms, searches=("lora",))
    assert sweep.fields[0].dimension.high == 0.5
    assert 64 in sweep.fields[1].values
    assert len(sweep.importances()) == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_two_fields_together_are_plain_means(tmp_path: Path, seed: int) -> None:
    arms = [lora(r, rate, 0.5) for r in (4, 16) for rate in (1e-4, 1e-3)]
    [sweep] = sweeps_of(tmp_path, *arms, searches=("lora",), seed=seed)
    rate, rank = sweep.fields
    found = pairwise(sweep, rate, rank)
    assert found is not None
    values = {(arm.values["learning_rate"], arm.values["r"]): arm.value for arm in sweep.arms}
    means = {
        (low, few): found.cells[place][at].mean
        for place, low in enumerate((1e-4, 1e-3))
        for at, few in enumerate((4, 16))
    }
    assert means == values
    assert all(cell.arms == 1 for row in found.cells for cell in row)
    assert found.interaction == pytest.approx(
        values[1e-3, 16] - values[1e-3, 4] - values[1e-4, 16] + values[1e-4, 4]  # type: ignore[operator]
    )
    assert pairwise(sweep, rate, rate) is not None


def test_a_combination_without_an_arm_has_no_mean_and_one_group_no_table(tmp_path: Path) -> None:
    [sweep] = sweeps_of(tmp_path, lora(4, 1e-4), lora(16, 1e-3), lora(16, 1e-3 + 1e-6), searches=("lora",))
    rate, rank = sweep.fields
    found = pairwise(sweep, rate, rank)
    assert found is not None
    assert found.interaction is None
    assert sum(cell.arms for row in found.cells for cell in row) == 3
    [single] = sweeps_of(tmp_path / "single", lora(4, 1e-4), lora(4, 1e-3), searches=("lora",))
    assert pairwise(single, *single.fields) is None
