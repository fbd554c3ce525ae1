"""Limits of a decision from the spec to every surface, in a sweep of fake stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk import Desk

LIMITS = """
decision: {metric: accuracy, min_gain: 0.01, max_p95_ms: 50, max_cost_per_1k: 0.5, alpha: 0.1}
prices: {machine_hour: 36.0}
"""
GOOD = {"lora": {"quality": 0.95}}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    spec = desk.folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("decision: {metric: accuracy}\n", LIMITS), encoding="utf-8")
    return desk


def test_limits_and_the_level_stand_on_every_surface(desk: Desk) -> None:
    done = desk("run", "spec.yaml", fake=GOOD)
    assert done.returncode == 0, done.stderr
    view = json.loads(desk("show", "--json").stdout)
    assert (view["confidence"], view["max_p95_ms"], view["max_cost_per_1k"]) == (0.9, 50.0, 0.5)
    best = next(arm for arm in view["arms"] if arm["is_best_of_method"] and arm["method_name"] == "lora")
    gates = {gate["name"]: gate for gate in best["gates"]}
    # 80 requests of 20 to 29 ms; 500 / 24 s for 1,000 requests at 36 an hour.
    assert gates["latency"]["state"] == "yes"
    assert gates["latency"]["words"] == "95% of requests within 29 ms (29 to 29), limit 50 ms"
    assert gates["cost"]["words"] == "$0.21 per 1,000 requests, limit $0.50"
    assert best["cost"]["latency_p50"]["n"] == 80
    assert best["difference"]["estimate"]["confidence"] == 0.9

    shown = desk("show").stdout
    assert "✓ latency: 95% of requests within 29 ms (29 to 29), limit 50 ms" in shown
    assert "90% intervals" in shown
    assert "95% intervals" not in shown
    report = next(desk.results.glob("colours-*/report.html")).read_text()
    markdown = desk.folder / "report.md"
    assert desk("report", "-o", str(markdown)).returncode == 0
    for text in (report, markdown.read_text()):
        assert "95% of requests within 29 ms (29 to 29), limit 50 ms" in text
        assert "$0.21 per 1,000 requests, limit $0.50" in text.replace("\\", "")
    assert "its 90% interval" in report


def test_another_level_computes_the_comparisons_again_and_nothing_else(desk: Desk) -> None:
    assert desk("run", "spec.yaml", fake=GOOD).returncode == 0
    first = json.loads(desk("show", "--json").stdout)
    again = desk("run", "spec.yaml", "-s", "decision.alpha=0.01", "--json", fake=GOOD)
    assert json.loads(again.stdout)["ended"] == []
    second = json.loads(desk("show", "--json").stdout)
    assert second["confidence"] == 0.99
    for before, after in zip(first["arms"], second["arms"], strict=True):
        if before["difference"]:
            one, other = before["difference"]["estimate"], after["difference"]["estimate"]
            assert one["value"] == other["value"]
            assert other["low"] < one["low"] < one["high"] < other["high"]


def test_a_limit_on_costs_without_a_price_is_refused(desk: Desk) -> None:
    spec = desk.folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("prices: {machine_hour: 36.0}\n", ""), encoding="utf-8")
    done = desk("validate", "spec.yaml")
    assert done.returncode == 2
    assert "decision.max_cost_per_1k" in done.stderr
    assert "needs a price for zero_shot, lora: prices.machine_hour" in done.stderr


def test_the_rows_of_validation_have_no_latency_without_the_limit(desk: Desk) -> None:
    spec = desk.folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("max_p95_ms: 50, ", ""), encoding="utf-8")
    assert desk("run", "spec.yaml", fake=GOOD).returncode == 0
    assert all(arm["cost"]["latency_p95"] is None for arm in json.loads(desk("show", "--json").stdout)["arms"])
    assert desk("decide", fake=GOOD).returncode == 0
    opened = json.loads(desk("show", "--json").stdout)
    assert opened["split"] == "test"
    assert {arm["cost"]["latency_p50"]["n"] for arm in opened["arms"]} == {20}
    assert all(arm["cost"]["latency_p95"]["high"] is None for arm in opened["arms"])
