"""The decision page of an experiment whose test rows were opened, and the costs that a reader changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Open = Callable[..., Any]


def markup(app: Any) -> str:
    return "\n".join(block.body for block in app.get("html") if not block.body.startswith("<style>"))


def widget(app: Any, kind: str, name: str) -> Any:
    return next(found for found in app.get(kind) if found.key == f"choice.{name}")


def test_the_sealed_rows_are_judged_by_first_and_validation_is_a_link_away(decided: Path, open_app: Open) -> None:
    test = open_app(decided)
    assert not test.exception
    body = markup(test)
    assert "<span>test rows</span> opened once" in body
    assert "60 of test" in body
    assert "played no part in the choice, opened once" in body
    assert body.count("ft-chosen") <= 1
    assert "labels_listed" not in body.split("ft-methods")[1].split("</table>")[0], "only opened arms are shown"

    validation = open_app(decided, split="validation")
    assert not validation.exception
    assert widget(validation, "button_group", "split").value == "validation"
    assert "60 of validation" in markup(validation)
    assert "labels_listed" in markup(validation)


def test_how_sure_it_is_names_the_opening_and_what_became_of_the_gain(decided: Path, open_app: Open) -> None:
    body = markup(open_app(decided))
    assert "by someone@testhost, because: the sweep is done" in body
    assert "lora r=16 learning_rate=0.0005, validation to test" in body
    assert "lora 3 arms (1 without a result)" in body


def test_prices_recompute_at_once_and_live_in_the_url(decided: Path, open_app: Open) -> None:
    app = open_app(decided)
    table = markup(app).split("Costs of each method")[-1]
    assert set(re.findall(r"\$[0-9.,]+", table.split("</table>")[0])) == {"$0"}, (
        "only training nothing has a known price"
    )
    widget(app, "number_input", "hour").set_value(36.0)
    app.run()
    assert not app.exception
    table = markup(app).split("Costs of each method")[-1].split("</table>")[0]
    assert "$0.92" in table, "92 s of training at a hundredth of the currency for a second"
    assert app.query_params["hour"] in ("36", ["36"])
    widget(app, "number_input", "requests").set_value(1_000_000.0)
    app.run()
    assert markup(app).split("Costs of each method")[-1] != table

    linked = open_app(decided, hour="36", requests="nonsense")
    assert not linked.exception
    assert "$0.92" in markup(linked)
    assert widget(linked, "number_input", "requests").value is None
