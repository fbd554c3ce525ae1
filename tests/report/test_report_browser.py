"""The report in a real browser: fits every width, follows the colour scheme, asks for nothing, prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftlab.report.html import write_report

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["ordinary", "hostile"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    published = request.getfixturevalue(request.param)
    return write_report(published.view, tmp_path_factory.mktemp(request.param) / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_and_asks_for_nothing(browser, report: Path, width: int, scheme: str):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    troubles: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.goto(report.as_uri())
    assert asked == [report.as_uri()]
    assert troubles == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shown, hidden = (".narrow", ".wide") if width < 760 else (".wide", ".narrow")
    assert page.locator(f"{shown} svg").first.is_visible()
    assert not page.locator(f"{hidden} svg").first.is_visible()
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(red, green, blue) < 60) == (scheme == "dark")
    # Labels of the charts stay readable: no smaller than 10 px on any screen.
    smallest = page.evaluate(
        """shown => Math.min(...[...document.querySelectorAll(shown + ' svg text')].map(t =>
            t.getBoundingClientRect().height))""",
        shown,
    )
    assert smallest >= 10
    page.close()


def test_no_label_of_the_forest_runs_into_the_plot(browser, ordinary, tmp_path: Path):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(write_report(ordinary.view, tmp_path / "r.html").as_uri())
    overlap = page.evaluate(
        """() => {
            const svg = document.querySelector('.wide svg');
            const left = Math.min(...[...svg.querySelectorAll('.grid')].map(l => l.getBoundingClientRect().left));
            return [...svg.querySelectorAll('text.label')].filter(t => t.getBoundingClientRect().right > left).length;
        }"""
    )
    assert overlap == 0
    page.close()


def test_serious_accessibility_faults_are_none(browser, report: Path):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": 1400, "height": 900}, bypass_csp=True)
    page.goto(report.as_uri())
    found = Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    page.close()


def test_it_prints_on_a4(browser, report: Path, tmp_path: Path):
    page = browser.new_page()
    page.goto(report.as_uri())
    pdf = page.pdf(prefer_css_page_size=True, path=tmp_path / "report.pdf")
    assert pdf.startswith(b"%PDF")
    assert b"/MediaBox [0 0 595" in pdf or b"/MediaBox [0 0 594" in pdf
    page.close()
