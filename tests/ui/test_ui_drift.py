"""The part of the decision page on default behaviour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import publish
from test_ui_pages import markup
from test_ui_parts import Tags

from ftlab.decide.view import ChangedAnswer, Drift, Estimate, PairedDifference
from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT
from ftlab.testing.journals import HOSTILE_TEXTS, FakeArm, make_results
from ftlab.ui.pages.drift import _look, changed_case

ARMS = (
    FakeArm("zero_shot", "prompt", accuracy=0.2),
    FakeArm("lora", "lora", accuracy=0.7, forgetting=0.02),
    FakeArm("full", "full", accuracy=0.7, forgetting=0.1),
)


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drifted")
    make_results(folder, arms=ARMS, benchmarks=("builtin:piqa", BEHAVIOUR, NEUTRAL_TEXT), items=48, hostile=True)
    publish(folder)
    return folder


def moved(value: float, low: float, high: float, direction: Any = "none") -> Drift:
    found = PairedDifference(
        estimate=Estimate(value=value, low=low, high=high, n=48), p_value=None, fixed=5, broke=31, dropped=0
    )
    flat = Estimate(value=30.0, n=48)
    return Drift(task="builtin:x/y", unit="tokens", direction=direction, base=flat, arm=flat, difference=found)


@pytest.mark.parametrize(
    ("drift", "look"),
    [
        (moved(-2.0, -5.0, 1.0), ("ft-flat", "≈")),
        (moved(-2.0, -5.0, -1.0), ("ft-main", "↓")),
        (moved(2.0, 1.0, 5.0), ("ft-main", "↑")),
        (moved(2.0, 1.0, 5.0, "lower"), ("ft-down", "↑")),
        (moved(-2.0, -5.0, -1.0, "lower"), ("ft-up", "↓")),
    ],
)
def test_a_drift_is_good_or_bad_only_where_one_side_is_better(drift: Drift, look: tuple[str, str]) -> None:
    assert _look(drift) == look


def test_the_page_shows_habits_and_the_answers_beside_the_bases(drifted: Path, open_app: Callable[..., Any]) -> None:
    app = open_app(drifted, "")
    assert not app.exception
    html = markup(app)
    assert "How it behaves unasked" in html
    assert "behaviour/length" in html
    assert "neutral-text" in html
    assert "nats" in html
    assert "instruction following" in html
    assert "base model" in html
    assert "tokens shorter" in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, ""])
def test_answers_stay_text(text: str) -> None:
    case = ChangedAnswer(arm_id="a", prompt=text, before=f"before {text}", after=text, changes=[text])
    tags = Tags(changed_case(case, text))
    assert set(tags.tags) <= {"article", "header", "div", "span", "del", "ins"}
