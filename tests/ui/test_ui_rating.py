"""The rating mode of the Examples page: blind, kept in a file, counted, and off where it must be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import publish
from test_ui_pages import markup

from ftlab.testing.journals import make_results
from ftlab.ui.pages.rating import shuffled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_results(tmp_path, examples=30)
    publish(tmp_path)
    return tmp_path


def rating(folder: Path, open_app: Callable[..., Any], name: str = "Anna") -> Any:
    app = open_app(folder, "examples")
    next(toggle for toggle in app.toggle if toggle.label == "Rate answers").set_value(True).run()
    next(box for box in app.text_input if box.label == "Your name").input(name).run()
    assert not app.exception
    return app


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("*/ratings/*.jsonl") for line in file.read_text().splitlines()]


def press(app: Any, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def test_a_click_is_a_line_of_the_rater_s_file_and_the_next_example_comes(
    folder: Path, open_app: Callable[..., Any]
) -> None:
    app = rating(folder, open_app)
    html = markup(app)
    assert "Answer A" in html
    assert "Answer B" in html
    assert "0 of " in html
    shown = html[html.index("Answer A") :]
    assert "lora" not in shown, "answers come without names"
    press(app, "A is better")
    (line,) = lines(folder)
    assert (line["rater"], line["kind"], line["choice"], line["split"]) == ("Anna", "pair", "a", "validation")
    assert line["key_a"] != line["key_b"]
    assert "1 of " in markup(app)
    press(app, "Tie")
    assert [line["choice"] for line in lines(folder)] == ["a", "tie"]
    assert len({line["example_id"] for line in lines(folder)}) == 2
    press(app, "Skip")
    assert len(lines(folder)) == 2


def test_what_was_rated_shows_on_the_decision_page(folder: Path, open_app: Callable[..., Any]) -> None:
    app = rating(folder, open_app)
    for _ in range(3):
        press(app, "B is better")
    decision = open_app(folder, "")
    assert "3 pairs and 0 single answers by 1 rater" in markup(decision)


def test_one_answer_is_scored_alone(folder: Path, open_app: Callable[..., Any]) -> None:
    app = rating(folder, open_app)
    next(box for box in app.segmented_control if box.label == "Rate").set_value("How good is one").run()
    press(app, "Acceptable")
    (line,) = lines(folder)
    assert (line["kind"], line["score"]) == ("score", 0.5)


def test_a_name_is_needed_and_a_hostile_one_is_only_a_name(folder: Path, open_app: Callable[..., Any]) -> None:
    app = rating(folder, open_app, "   ")
    assert "Who rates?" in markup(app)
    app = rating(folder, open_app, "../../etc/<script>")
    press(app, "Tie")
    (file,) = folder.glob("*/ratings/*")
    assert file.name.startswith("etc-script-")


def test_it_is_off_where_the_app_is_told_so_and_where_nothing_can_be_written(
    folder: Path, open_app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTLAB_RATINGS", "off")
    assert not [toggle for toggle in open_app(folder, "examples").toggle if toggle.label == "Rate answers"]
    monkeypatch.delenv("FTLAB_RATINGS")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert not [toggle for toggle in open_app(folder, "examples").toggle if toggle.label == "Rate answers"]


def test_the_order_is_by_rater_and_example_and_is_no_order() -> None:
    orders = {(rater, example): shuffled(rater, example, 2) for rater in "ab" for example in map(str, range(200))}
    assert orders == {key: shuffled(*key, 2) for key in orders}
    first = sum(order[0] == 0 for order in orders.values())
    assert 150 < first < 250
