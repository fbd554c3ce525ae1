"""The Forgetting page: the table, the choice of arm and benchmark, and the items behind a change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import publish
from test_ui_pages import markup
from test_ui_parts import Tags

from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT, task_of
from ftlab.store.bench_items import ItemPair, ItemText, item_texts
from ftlab.testing.journals import FakeArm, make_results
from ftlab.ui.pages.forgetting import item_card

ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.2),
    FakeArm("lora", "lora", accuracy=0.7, forgetting=0.02),
    FakeArm("full", "full", accuracy=0.7, forgetting=0.2),
)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forgetful")
    make_results(folder, arms=ARMS, benchmarks=("builtin:piqa", NEUTRAL_TEXT, BEHAVIOUR), items=80, hostile=True)
    publish(folder)
    return folder


def full_id(app: Any) -> str:
    (box,) = [box for box in app.selectbox if box.label == "Trained arm"]
    return next(option for option in box.options if option.startswith("full"))


def test_lost_items_are_shown_with_the_question_and_both_choices(forgetful: Path, open_app: Callable[..., Any]) -> None:
    app = open_app(forgetful, "forgetting", benchmark="builtin:piqa", items="lost")
    assert not app.exception
    next(box for box in app.selectbox if box.label == "Trained arm").select(full_id(app)).run()
    html = markup(app)
    assert "right answer: <b>right " in html
    assert html.count("ft-case") > 3
    assert "log-likelihoods −1.2 nats, −3.4 nats" in html
    assert "✓ right" in html
    assert "✕ wrong" in html
    assert "script" not in Tags(html).tags


def test_modes_are_counted_and_kept_in_the_url(forgetful: Path, open_app: Callable[..., Any]) -> None:
    app = open_app(forgetful, "forgetting", benchmark="builtin:piqa", items="all")
    assert app.query_params["items"] in ("all", ["all"])
    assert app.query_params["benchmark"] in ("builtin:piqa", ["builtin:piqa"])
    assert markup(app).count("log-likelihoods") == 2 * 20, "a page of items"
    second = open_app(forgetful, "forgetting", benchmark="builtin:piqa", items="all", item_page="4")
    assert not second.exception
    assert markup(second).count("log-likelihoods") == 2 * 20


def test_a_measure_where_less_is_better_is_worse_when_it_rises(forgetful: Path, open_app: Callable[..., Any]) -> None:
    app = open_app(forgetful, "forgetting", benchmark=NEUTRAL_TEXT, items="lost")
    assert not app.exception
    html = markup(app)
    assert "passage " in html
    assert "nats" in html


def test_without_the_stage_s_file_scores_are_shown_alone(
    forgetful: Path, open_app: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(forgetful, folder)
    shutil.rmtree(folder / "stages" / "benchmark")
    app = open_app(folder, "forgetting", benchmark="builtin:piqa", items="all")
    assert not app.exception
    assert "its text is not on this machine" in markup(app)


def test_an_older_file_without_questions_is_read_as_far_as_it_goes(forgetful: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    key = next(path.name for path in (forgetful / "stages" / "benchmark").iterdir() if path.is_dir())
    file = forgetful / "stages" / "benchmark" / key / "items.parquet"
    table = pq.read_table(file)
    folder = tmp_path / "stages" / "benchmark" / key
    folder.mkdir(parents=True)
    pq.write_table(table.drop_columns(["question", "choices"]), folder / "items.parquet")
    row = table.to_pylist()[0]
    (text,) = item_texts(tmp_path, key, row["metric"], [row["doc_hash"]]).values()
    assert text.question is None
    assert text.choices == ()
    assert item_texts(tmp_path, "../x", "acc", ["a"]) == {}
    assert item_texts(tmp_path, "0" * 32, "acc", ["a"]) == {}


def test_hostile_items_stay_text(forgetful: Path) -> None:
    from ftlab.decide.view import BenchmarkChange, Estimate, PairedDifference

    flat = Estimate(value=0.5, low=0.4, high=0.6, n=10)
    difference = PairedDifference(estimate=flat, p_value=None, fixed=0, broke=1, dropped=0)
    change = BenchmarkChange(
        task="x", metric="acc", base=flat, arm=flat, difference=difference, within_limit="not shown"
    )
    evil = "<script>alert(1)</script>"
    text = ItemText(evil, (evil, "b"), "0", 0, (-1.0, -2.0))
    html = item_card(ItemPair("h", 1.0, 0.0), text, text, evil, change)
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 4
    assert "script" not in Tags(html).tags


def test_a_measure_knows_its_benchmark() -> None:
    assert task_of("builtin:behaviour/format") == BEHAVIOUR
    assert task_of("builtin:piqa") == "builtin:piqa"
    assert task_of("some/task") == "some/task"
