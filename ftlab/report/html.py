"""The decision as one HTML file: no script, nothing from outside, readable on a telephone, on paper, in the dark."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ftlab import __version__
from ftlab.decide.view import DecisionView
from ftlab.files import write_atomic
from ftlab.report import charts
from ftlab.report import format as fmt
from ftlab.report.assurance import PRICE_HEAD, assurance, has_prices, price_rows
from ftlab.report.terminal import forgetting_note, method_note

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The page's content security policy: no script of any origin runs, nothing is fetched."""


def write_report(view: DecisionView, path: Path) -> Path:
    """Write the report to `path`, all of it or nothing. Raises StorageError when it cannot be written."""
    write_atomic(path, render_report(view).encode())
    return path


def render_report(view: DecisionView) -> str:
    """The report as HTML text."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            view=view,
            policy=POLICY,
            forest=charts.forest(view),
            scatter=charts.scatter(view),
            baseline=next((arm for arm in view.arms if arm.is_baseline), None),
            labels={arm.arm_id: arm.label for arm in view.arms},
            method_note=method_note(view),
            forgetting_note=forgetting_note(view, fmt.GATE_WORDS),
            forest_most=charts.MOST_ROWS,
            version=__version__,
            origin=_flat(view.provenance),
            assurance=assurance(view),
            price_head=PRICE_HEAD,
            price_rows=price_rows(view, view.arms) if has_prices(view) else [],
        )
    )


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
