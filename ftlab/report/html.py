"""The decision as one HTML file: no script, nothing from outside, readable on a telephone, on paper, in the dark."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ftlab import __version__
from ftlab.decide.view import ArmView, DecisionView
from ftlab.files import write_atomic
from ftlab.report import charts
from ftlab.report import format as fmt
from ftlab.report.assurance import PRICE_HEAD, assurance, has_prices, price_rows
from ftlab.report.course import COURSE_NOTE, course_rows
from ftlab.report.leading import leading, left_out
from ftlab.report.terminal import drift_note, drift_words, forgetting_note, method_note

MOST_ARMS = 1000
"""Rows of its tables: a browser scrolls through no more with ease."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The page's content security policy: no script of any origin runs, nothing is fetched."""


def write_report(view: DecisionView, path: Path) -> Path:
    """Write the report to `path`, all of it or nothing. Raises StorageError when it cannot be written."""
    write_atomic(path, render_report(view).encode())
    return path


def render_report(view: DecisionView) -> str:
    """The report as HTML text."""
    labels = {arm.arm_id: arm.label for arm in view.arms}
    view, missing = leading(view, MOST_ARMS)
    return (
        _environment()
        .get_template("report.html")
        .render(
            view=view,
            policy=POLICY,
            forest=charts.forest(view),
            scatter=charts.scatter(view),
            baseline=next((arm for arm in view.arms if arm.is_baseline), None),
            labelled=_labelled(view),
            labels=labels,
            method_note=f"{method_note(view)} {left_out(missing)}" if missing else method_note(view),
            forgetting_note=forgetting_note(view, fmt.GATE_WORDS),
            course_rows=course_rows(view),
            course_note=COURSE_NOTE,
            drift_note=drift_note(view),
            forest_most=charts.MOST_ROWS,
            version=__version__,
            origin=_flat(view.provenance),
            assurance=assurance(view),
            price_head=PRICE_HEAD,
            price_rows=price_rows(view, view.arms) if has_prices(view) else [],
        )
    )


def _labelled(view: DecisionView) -> list[ArmView]:
    """The arms of the table by label: the best prompt and the best arm of each trained method."""
    return [
        arm
        for arm in view.arms
        if arm.labels and (arm.is_baseline or (arm.is_best_of_method and arm.family != "prompt"))
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ftlab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.globals["fmt"] = fmt
    environment.globals["drift_words"] = drift_words
    return environment


def _clean(value: Any) -> Any:
    """Every text that a template shows goes through here, and is escaped after."""
    return fmt.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as rows of name and text."""
    rows: list[tuple[str, str]] = []
    for key, item in value.items():
        name = f"{prefix}{key}".replace("_", " ") if not prefix else f"{prefix}{key}"
        if isinstance(item, dict):
            rows += _flat(item, f"{name} / ")
        elif isinstance(item, list) and item and all(isinstance(entry, dict) for entry in item):
            for entry in item:
                rows += _flat(entry, f"{name} / ")
        elif item not in (None, [], ""):
            rows.append((name, item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)))
    return rows
