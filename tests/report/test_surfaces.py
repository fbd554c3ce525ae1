"""One view, four surfaces: every number of the view stands in each, written alike."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from ftlab.decide.view import ArmView, DecisionView
from ftlab.report import format as fmt
from ftlab.report.html import render_report
from ftlab.report.markdown import render_markdown
from ftlab.report.terminal import print_view


class Cells(HTMLParser):
    """The text of every cell of the report, by (table row, field)."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: dict[tuple[str, str], str] = {}
        self._row = ""
        self._open: tuple[str, str] | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "tr":
            self._row = next((f"{key[5:]} {known[key]}" for key in known if key.startswith("data-")), "")
        if "data-field" in known and tag in ("td", "p"):
            self._open = (self._row if tag == "td" else "", known["data-field"] or "")
            self.cells[self._open] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "p"):
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[self._open] += data


def _html(view: DecisionView) -> dict[tuple[str, str], str]:
    parser = Cells()
    parser.feed(render_report(view))
    return {place: " ".join(words.split()) for place, words in parser.cells.items()}


def _terminal(view: DecisionView, width: int = 200) -> str:
    out = io.StringIO()
    print_view(view, Console(file=out, width=width))
    return out.getvalue()


def _line_of(text: str, label: str) -> str:
    """The line of the method table: the first that begins with the label."""
    return next(line for line in text.splitlines() if line.lstrip("| *").startswith(label))


@pytest.fixture
def view(ordinary) -> DecisionView:
    return ordinary.view


def _measured(view: DecisionView) -> list[ArmView]:
    return [arm for arm in view.arms if arm.metrics]


def test_the_fixture_has_something_of_everything(view: DecisionView):
    assert len(_measured(view)) >= 6
    assert {arm.status for arm in view.arms} >= {"complete", "failed", "running"}
    assert any(arm.difference for arm in view.arms)
    assert any(arm.benchmarks and arm.family != "prompt" for arm in view.arms)
    assert view.regressions


def test_html_shows_every_number_of_the_view(view: DecisionView):
    cells = _html(view)
    assert cells["", "sentence"] == view.conclusion.sentence
    assert cells["", "caveat"] == view.conclusion.caveat
    for arm in view.arms:
        row = f"arm {arm.arm_id}"
        assert cells[row, "metric"] == fmt.estimate(arm.metrics.get("accuracy"))
        if not arm.is_baseline:
            assert cells[row, "difference"] == fmt.difference_short(arm.difference)
        assert cells[row, "flips"] == fmt.flips(arm.difference)
        assert cells[row, "train_seconds"] == fmt.duration(arm.cost.train_seconds)
        assert cells[row, "seconds_per_1k"] == fmt.duration(arm.cost.seconds_per_1k_requests)
    for arm in _measured(view):
        for name, unit in view.metric_units.items():
            assert cells[f"metrics {arm.arm_id}", name] == fmt.estimate(arm.metrics.get(name), unit)
        row = f"cost {arm.arm_id}"
        assert cells[row, "peak_memory_bytes"] == fmt.size(arm.cost.peak_memory_bytes)
        assert cells[row, "serving_memory_bytes"] == fmt.size(arm.cost.serving_memory_bytes)
        assert arm.cost.serving_memory_bytes
        assert cells[row, "artifact_bytes"] == fmt.size(arm.cost.artifact_bytes)
        assert cells[row, "trainable_parameters"] == fmt.compact(arm.cost.trainable_parameters)
        assert cells[row, "tokens_per_second"] == fmt.rate(arm.cost.prediction_tokens_per_second)
        if arm.family == "prompt":
            continue
        for change in arm.benchmarks:
            shown = cells[f"forgetting {arm.arm_id}", change.task]
            assert fmt.difference_short(change.difference) in shown
            assert f"{fmt.short_estimate(change.base)} → {fmt.short_estimate(change.arm)}" in shown
            assert fmt.gate(change.within_limit) in shown


def test_html_shows_the_best_prompt_and_each_trained_method_label_by_label(view: DecisionView):
    cells = _html(view)
    shown = [arm for arm in _measured(view) if arm.is_baseline or (arm.family != "prompt" and arm.is_best_of_method)]
    assert {arm.family for arm in shown} >= {"prompt", "adapter", "full"}
    assert sum(figures.support for figures in shown[0].labels) == view.examples
    for arm in shown:
        assert arm.labels
        for figures in arm.labels:
            row = f"label-row {figures.label}"
            assert cells[row, "support"] == fmt.count(figures.support)
            words = f"{fmt.estimate(figures.recall)} precision {fmt.estimate(figures.precision)}"
            assert cells[row, arm.arm_id] == words
    others = {arm.arm_id for arm in view.arms} - {arm.arm_id for arm in shown}
    assert not [place for place in cells if place[0].startswith("label-row") and place[1] in others]


def test_terminal_and_markdown_say_the_same(view: DecisionView):
    terminal, markdown = _terminal(view), render_markdown(view).replace("\\", "")
    assert view.conclusion.sentence in " ".join(terminal.split())
    assert view.conclusion.sentence in markdown
    for arm in view.arms:
        for surface in (terminal, markdown):
            line = _line_of(surface, arm.label)
            assert fmt.difference_short(arm.difference) in line or arm.is_baseline
            assert fmt.duration(arm.cost.train_seconds) in line
            assert fmt.duration(arm.cost.seconds_per_1k_requests) in line
            assert fmt.flips(arm.difference) in line
            assert fmt.short_estimate(arm.metrics.get("accuracy")) in line
        for change in arm.benchmarks if arm.family != "prompt" else []:
            assert fmt.signed(change.difference.estimate.value) in terminal
            assert fmt.difference_short(change.difference) in markdown


def test_json_is_the_view(view: DecisionView):
    assert json.loads(view.model_dump_json()) == view.model_dump(mode="json")
    assert json.loads(view.model_dump_json())["schema_version"] == 1


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_terminal_keeps_its_width_and_uses_no_escape(view: DecisionView, width: int):
    out = _terminal(view, width)
    assert max(map(len, out.splitlines())) <= width
    assert "\x1b" not in out
    for arm in _measured(view):
        assert fmt.difference_short(arm.difference) in out or arm.is_baseline


def test_losses_gains_limits_and_chance_are_told_on_every_surface(view: DecisionView):
    tuned = next(arm for arm in view.arms if arm.benchmarks and arm.family != "prompt")
    blind = [tuned.benchmarks[0].model_copy(update={"informative": False}), *tuned.benchmarks[1:]]
    arms = [arm.model_copy(update={"benchmarks": blind}) if arm is tuned else arm for arm in view.arms]
    limits = {**view.forgetting_limits, view.benchmarks[0]: 0.25}
    other = view.model_copy(update={"arms": arms, "forgetting_limits": limits})
    words = fmt.lost_gained(blind[0])
    assert words in _html(other)[f"forgetting {tuned.arm_id}", blind[0].task]
    assert words in render_markdown(other)
    assert "base at chance" in _line_of(_terminal(other).split("forgetting")[-1], tuned.label)
    for surface in (_terminal(other), render_markdown(other), render_report(other)):
        assert f"({fmt.task_name(view.benchmarks[0])}: 25 points)" in " ".join(surface.split())


def test_a_gate_that_is_not_shown_is_never_called_safe(view: DecisionView):
    unclear = [change for arm in view.arms for change in arm.benchmarks if change.within_limit == "not shown"]
    assert unclear
    cells = _html(view)
    for arm in view.arms:
        for change in arm.benchmarks:
            if change.within_limit == "not shown" and arm.family != "prompt":
                assert "within" not in cells[f"forgetting {arm.arm_id}", change.task]


def test_missing_parts_and_their_reasons_are_on_every_surface(view: DecisionView):
    page = re.sub(r"\s+", " ", render_report(view))
    for part in view.missing:
        assert part.why in page
        assert part.why in _terminal(view)
