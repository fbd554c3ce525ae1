"""The sweep page: none, one, two and hundreds of arms, several spaces, hostile names, and a sweep that goes on."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import publish
from test_ui_charts import contrast
from test_ui_pages import markup, widget

from ftlab.decide.compare import update_comparisons
from ftlab.decide.facts import VALIDATION
from ftlab.decide.sweep import MethodSweep, read_sweeps
from ftlab.decide.sweep_fields import SweepField
from ftlab.decide.view import DecisionView
from ftlab.events import Status
from ftlab.execute.hold import hold_results
from ftlab.store import queries
from ftlab.store.ledger import Ledger
from ftlab.testing.journals import HOSTILE_TEXTS, FakeArm, make_results
from ftlab.ui import data, sweep_charts, theme

Open = Callable[..., Any]
RATE = {"path": ["learning_rate"], "low": 1e-5, "high": 1e-2, "log": True}
RANK = {"path": ["r"], "choices": [4, 8, 16, 32]}
LORA = {"lora": [RATE, RANK]}
MULTIPLIED = {
    "arms": ("arm_id",),
    "runs": ("run_id", "arm_id"),
    "attempts": ("run_id",),
    "run_stages": ("run_id",),
    "metrics": ("run_id",),
}
"""Tables of which copied rows make copied arms, with the ids to be made anew: hundreds of folders take minutes."""


def make_sweep(
    folder: Path, arms: list[FakeArm], searches: dict[str, list[dict[str, Any]]] | None = None, **more: Any
) -> None:
    """A published folder in which the named methods search a space.

    `objectives` are those of every search; each arm is there so many `times`.
    """
    objectives, times = more.pop("objectives", ["quality"]), more.pop("times", 1)
    prompt = FakeArm("zero_shot", "prompt")
    make_results(folder, arms=[prompt, *arms], examples=24, benchmarks=(), curve_points=4, **more)
    with Ledger(folder) as ledger:
        ledger.catch_up()
        plan = json.loads(ledger.connection.execute("SELECT plan_json FROM experiments").fetchone()[0])
        plan["searches"] = [
            {
                "arm": {"method_name": name, "family": "adapter"},
                "search": {"sampler": "tpe", "arms": 20, "pruner": "median", "objectives": objectives},
                "dimensions": dimensions,
            }
            for name, dimensions in (searches or {}).items()
        ]
        ledger.connection.execute("UPDATE experiments SET plan_json = ?", [json.dumps(plan)])
        for table, ids in MULTIPLIED.items() if times > 1 else ():
            renamed = ", ".join(f"t.{name} || '-' || r.n AS {name}" for name in ids)
            ledger.connection.execute(
                f"INSERT INTO {table} SELECT t.* REPLACE ({renamed}) FROM {table} AS t, range(1, {times}) AS r(n)"
            )
        update_comparisons(ledger.connection)
        ledger.publish()


def drawn_arms(count: int, seed: int = 0) -> list[FakeArm]:
    """Arms of which the rate decides; each tenth is given up, and each tenth fails."""
    chance = random.Random(seed)
    arms = []
    for place in range(count):
        rate = 10 ** chance.uniform(-5, -2)
        status = {3: Status.PRUNED, 7: Status.FAILED}.get(place % 10, Status.COMPLETE)
        accuracy = 0.85 - 0.25 * abs(math.log10(rate) + 3.3)
        values = {"r": chance.choice([4, 8, 16, 32]), "learning_rate": rate}
        arms.append(
            FakeArm("lora", "lora", values, accuracy, status=status, reason=None if place % 10 != 7 else "boom")
        )
    return arms


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep that goes on: one arm runs and one waits."""
    folder = tmp_path_factory.mktemp("searched")
    arms = [
        *drawn_arms(30),
        FakeArm("lora", "lora", {"r": 8, "learning_rate": 3e-4}, status=Status.RUNNING),
        FakeArm("lora", "lora", {"r": 8, "learning_rate": 4e-4}, status=Status.WAITING),
        FakeArm("full", "full", {"learning_rate": 1e-5, "scheduler": "linear"}, 0.4),
        FakeArm("full", "full", {"learning_rate": 3e-5, "scheduler": "cosine"}, 0.6),
    ]
    make_sweep(folder, arms, LORA)
    with hold_results(folder):
        yield folder


def charts_of(app: Any) -> list[Any]:
    return list(app.get("vega_lite_chart"))


def sweeps_in(folder: Path) -> tuple[list[MethodSweep], DecisionView]:
    source = data.newest(folder)
    assert source is not None
    [experiment] = [row.experiment_id for row in data.read(source, queries.experiments)]
    view = data.view(source, experiment, VALIDATION)
    return data.read(source, read_sweeps, view), view


def test_the_page_says_where_a_search_stands_and_what_was_best(searched: Path, open_app: Open) -> None:
    app = open_app(searched, "sweep")
    assert not app.exception
    body = markup(app)
    assert app.query_params["swept"] == "lora"
    for chip in ("<span>arms</span> 32", "✂", "◐ running</span> 1", "○ waiting</span> 1", "tpe, median, up to 20 arms"):
        assert chip in body
    sweep = next(one for one in sweeps_in(searched)[0] if one.name == "lora")
    assert "Best so far:" in body
    assert sweep.best is not None
    assert f"It is the best of {len(sweep.measured)}, which flatters it." in body
    assert " to " in body[body.index("Best so far:") : body.index("which flatters it.")]
    assert "of computing" in body
    assert "Now:" in body
    assert f"Rests on {len(sweep.measured)} measured arms" in body
    # History, two slices, parallel coordinates, two fields together.
    assert len(charts_of(app)) == 5
    assert all(chart.proto.alt for chart in charts_of(app))


def test_the_figures_stand_in_tables_and_the_lost_apart(searched: Path, open_app: Open) -> None:
    body = markup(open_app(searched, "sweep"))
    measured = body[body.index("Every measured arm") : body.index("Given up or failed")]
    lost = body[body.index("Given up or failed") :]
    [sweep] = [one for one in sweeps_in(searched)[0] if one.name == "lora"]
    assert measured.count('<th scope="row">number ') == len(sweep.measured)
    assert lost.count('<th scope="row">lora ') == len(sweep.lost) == 6
    assert "boom" in lost
    assert "boom" not in measured
    assert 'tabindex="0"' in measured
    assert 'tabindex="0"' in lost


def test_another_method_with_another_space_is_a_choice_away(searched: Path, open_app: Open) -> None:
    app = open_app(searched, "sweep", swept="full")
    assert widget(app, "selectbox", "swept").value == "full"
    body = markup(app)
    assert "scheduler" in body
    assert "<span>search</span>" not in body
    assert "Too few arms: it takes 15 with a result. Rests on 2 measured arms." in body
    assert "Given up or failed" not in body


def test_a_nonsense_url_falls_back_to_what_there_is(searched: Path, open_app: Open) -> None:
    app = open_app(searched, "sweep", swept="<script>", across="nothing", up="learning_rate")
    assert not app.exception
    assert app.query_params["swept"] == "lora"
    assert app.query_params["across"] != app.query_params["up"]


@pytest.mark.parametrize(("count", "drawn"), [(0, 0), (1, 1), (2, 5)])
def test_a_search_that_has_just_begun(tmp_path: Path, open_app: Open, count: int, drawn: int) -> None:
    make_sweep(tmp_path, drawn_arms(count), LORA)
    app = open_app(tmp_path, "sweep")
    assert not app.exception
    assert len(charts_of(app)) == drawn
    body = markup(app)
    assert ("No arm has a result yet" in body) == (count == 0)
    assert "error of ftlab" not in body


def test_five_hundred_arms(tmp_path: Path, open_app: Open) -> None:
    make_sweep(tmp_path, drawn_arms(20), LORA, times=25)
    app = open_app(tmp_path, "sweep")
    assert not app.exception
    body = markup(app)
    assert body.count('<th scope="row">number ') == 400
    [rate] = [line for line in body.split("<tr>") if '<th scope="row">learning_rate</th><td class="ft-num">' in line]
    assert "yes (p = 0.010)" in rate


def test_nothing_varies_says_so(tmp_path: Path, open_app: Open) -> None:
    make_sweep(tmp_path, [FakeArm("full", "full", {})])
    assert "Nothing varies" in markup(open_app(tmp_path, "sweep"))


def test_several_objectives_are_said(tmp_path: Path, open_app: Open) -> None:
    make_sweep(tmp_path, drawn_arms(4), LORA, objectives=["quality", "train_seconds"])
    assert "aims at quality, train_seconds; this page orders by" in markup(open_app(tmp_path, "sweep"))


def test_a_new_result_shows_with_the_next_snapshot(tmp_path: Path, open_app: Open) -> None:
    arms = drawn_arms(3)
    late = arms[2].label
    make_results(
        tmp_path,
        arms=[FakeArm("zero_shot", "prompt"), *arms],
        examples=24,
        benchmarks=(),
        statuses={late: Status.WAITING},
    )
    publish(tmp_path)
    app = open_app(tmp_path, "sweep")
    assert "○ waiting</span> 1" in markup(app)
    make_results(tmp_path, arms=[FakeArm("zero_shot", "prompt"), *arms], examples=24, benchmarks=())
    publish(tmp_path)
    app.run()
    assert "○ waiting" not in markup(app)
    assert markup(app).count('<th scope="row">number ') == 3


@pytest.fixture(scope="module")
def hostile_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile-sweep")
    arms = [
        FakeArm(HOSTILE_TEXTS[0], "lora", {"note": text, "list": [1, text], "r": 4 + place}, 0.4, status=status)
        for place, text in enumerate(HOSTILE_TEXTS)
        for status in ((Status.FAILED if place == 1 else Status.COMPLETE),)
    ]
    make_sweep(folder, arms, hostile=True)
    return folder


def test_hostile_names_stay_text(hostile_sweep: Path, open_app: Open) -> None:
    app = open_app(hostile_sweep, "sweep")
    assert not app.exception
    body = markup(app)
    assert "error of ftlab" not in body
    assert "<script>alert" not in body
    assert "<img src=x" not in body
    assert len(charts_of(app)) == 6


def layers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for layer in spec.get("layer", [spec]):
        yield from layers(layer) if "layer" in layer else [layer]


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in spec["datasets"].values() for row in rows]


def by_name(sweep: MethodSweep) -> dict[str, SweepField]:
    return {field.name: field for field in sweep.fields}


def test_an_axis_is_logarithmic_where_the_space_is(searched: Path) -> None:
    sweeps, view = sweeps_in(searched)
    [sweep] = [one for one in sweeps if one.name == "lora"]
    for name, kind in (("learning_rate", "log"), ("r", None)):
        spec = sweep_charts.slice_of(sweep, by_name(sweep)[name], view).to_dict()
        assert {layer["encoding"]["x"]["scale"].get("type") for layer in layers(spec)} == {kind}
    [full] = [one for one in sweeps if one.name == "full"]
    spec = sweep_charts.slice_of(full, by_name(full)["scheduler"], view).to_dict()
    assert {layer["encoding"]["x"]["type"] for layer in layers(spec)} == {"nominal"}


def test_what_was_lost_has_a_place_and_no_value(searched: Path) -> None:
    sweeps, view = sweeps_in(searched)
    [sweep] = [one for one in sweeps if one.name == "lora"]
    spec = sweep_charts.slice_of(sweep, by_name(sweep)["r"], view).to_dict()
    [lost] = [layer for layer in layers(spec) if layer["mark"].get("shape") == "cross"]
    assert "value" in lost["encoding"]["y"]
    assert "field" not in lost["encoding"]["y"]
    assert len(spec["datasets"][lost["data"]["name"]]) == 6
    values = {row["id"]: row["value"] for row in rows_of(spec) if "id" in row}
    assert values == {arm.arm_id: arm.value * 100 for arm in sweep.measured if arm.value is not None}


def test_the_history_never_falls_and_ends_at_the_best(searched: Path) -> None:
    sweeps, view = sweeps_in(searched)
    [sweep] = [one for one in sweeps if one.name == "lora"]
    rows = [row for row in rows_of(sweep_charts.history(sweep, view).to_dict()) if "best" in row]
    best = {row["order"]: row["best"] for row in rows}
    line = [best[order] for order in sorted(best)]
    assert line == sorted(line)
    assert sweep.best is not None
    assert line[-1] == pytest.approx(100 * sweep.best.value)


def test_parallel_axes_are_scaled_field_by_field(searched: Path) -> None:
    sweeps, view = sweeps_in(searched)
    [sweep] = [one for one in sweeps if one.name == "lora"]
    rows = rows_of(sweep_charts.parallel(sweep, view, "#111111", "#ffffff").to_dict())
    at = {(row["id"], row["place"]): row["at"] for row in rows if "id" in row}
    assert {place for _, place in at} == {0, 1, 2}
    assert all(0 <= value <= 1 for value in at.values())
    low, high = math.log(sweep.fields[0].values[0]), math.log(sweep.fields[0].values[-1])
    for arm in sweep.measured:
        share = (math.log(arm.values["learning_rate"]) - low) / (high - low)
        assert at[arm.arm_id, 0] == pytest.approx(share)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_color_between_worst_and_best_reads_on_both_themes(mode: str) -> None:
    ends = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in (theme.WORST, theme.BEST)]
    for step in range(11):
        mixed = [round(a + (b - a) * step / 10) for a, b in zip(*ends, strict=True)]
        color = "#" + "".join(f"{part:02x}" for part in mixed)
        assert contrast(color, theme.SETTINGS[f"theme.{mode}.backgroundColor"]) >= 3


def test_every_mark_has_a_color_of_its_own(searched: Path) -> None:
    sweeps, view = sweeps_in(searched)
    for sweep in sweeps:
        first, second = sweep.fields[:2]
        for chart in (
            sweep_charts.history(sweep, view),
            sweep_charts.slice_of(sweep, first, view),
            sweep_charts.parallel(sweep, view, "#111111", "#ffffff"),
            sweep_charts.together(sweep, first, second, view),
        ):
            spec = chart.to_dict()
            assert all(spec["datasets"].values()), "a layer without marks is a graphic without a name"
            for layer in layers(spec):
                assert "color" in layer["mark"] or "color" in layer["encoding"]


def test_hostile_choices_reach_no_expression(hostile_sweep: Path) -> None:
    [sweep], view = sweeps_in(hostile_sweep)
    spec = sweep_charts.slice_of(sweep, by_name(sweep)["note"], view).to_dict()
    expressions = [layer["encoding"]["x"]["axis"]["labelExpr"] for layer in layers(spec)]
    assert expressions
    assert not any("alert" in one or "<" in one for one in expressions)


def test_an_arm_without_a_field_is_drawn_beside_the_axis(tmp_path: Path) -> None:
    arms = [
        FakeArm("lora", "lora", {"init": "gaussian"}, 0.4),
        FakeArm("lora", "lora", {"init": "eva", "rho": 2.0}, 0.5),
        FakeArm("lora", "lora", {"init": "eva", "rho": 3.0}, 0.5),
    ]
    make_sweep(tmp_path, arms)
    [sweep], view = sweeps_in(tmp_path)
    place = [field.name for field in sweep.fields].index("rho")
    rows = rows_of(sweep_charts.parallel(sweep, view, "#111111", "#ffffff").to_dict())
    assert sorted(row["at"] >= 0 for row in rows if "id" in row and row["place"] == place) == [False, True, True]
    assert any(row.get("text") == "not set" for row in rows)
