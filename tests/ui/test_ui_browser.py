"""The app in a real browser: what only a browser shows. Any request outside this machine fails the test."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import duckdb
import pytest
from browsing import WAIT, app, free_port, ready, served

from ftlab.execute.hold import hold_results
from ftlab.testing.journals import HOSTILE_TEXTS

pytestmark = pytest.mark.browser

PAGES = ("", "forgetting", "sweep", "runs", "run", "examples")


@pytest.fixture(scope="module")
def site(finished: Path) -> Iterator[str]:
    with app(finished) as url:
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path or "decision")
def test_a_page_stands(site: str, visit: Callable[..., Any], path: str, scheme: str) -> None:
    """No error, the theme's own colours, no serious barrier, and no sideways scrolling on a phone."""
    page = visit(f"{site}/{path}", scheme=scheme)
    assert page.locator('[data-testid="stException"], [data-testid="stAlert"]').count() == 0
    assert "error of ftlab" not in page.inner_text("body")
    assert page.get_by_text("Deploy").count() == 0
    ground = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 21, 28)"}[scheme]
    if not path:
        page.wait_for_selector("canvas.marks, svg.marks")
        tone = page.evaluate("getComputedStyle(document.querySelector('.ft-note')).color")
        assert tone == {"light": "rgb(86, 97, 111)", "dark": "rgb(163, 174, 188)"}[scheme]
    assert barriers(page) == []
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_timeout(700)
    widths = page.evaluate(
        "[document.documentElement, document.querySelector('[data-testid=stMain]')].map(part => part.scrollWidth)"
    )
    assert max(widths) <= 400


def barriers(page: Any) -> list[tuple[str, str, str]]:
    """What axe calls serious or critical: the rule, the element, and why."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (violation["id"], node["html"][:200], node.get("failureSummary", "")[:300])
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def test_hostile_results_do_nothing(hostile: Path, visit: Callable[..., Any]) -> None:
    with app(hostile) as url:
        for path in ("", "forgetting?items=all", "sweep", "runs", "run", "examples?show=all"):
            page = visit(f"{url}/{path}")
            main = page.locator('[data-testid="stMain"]')
            assert main.locator("script, iframe, object, embed, img[src='x'], [onerror]").count() == 0
            assert main.locator("a[href^='javascript:']").count() == 0
            assert main.locator(".katex").count() == 0
        assert "<script>alert('ftlab')</script>" in page.inner_text('[data-testid="stMain"]')


def test_labels_made_safe_read_as_they_are_written(tmp_path: Path, visit: Callable[..., Any]) -> None:
    """The one place that proves `safe_markdown`: Streamlit's own reading of it."""
    texts = [
        *HOSTILE_TEXTS,
        "https://example.org www.example.org someone@example.org",
        ":material/home: :smile: :red[alarm] :blue-badge[x]",
        "**bold** _it_ `code` $x^2$ ~~no~~ a -> b --- (c)",
    ]
    script = tmp_path / "labels.py"
    script.write_text(
        "import streamlit as st\nfrom ftlab.ui.parts import safe_markdown\n"
        f"texts = {texts!r}\nst.html('<h1>labels</h1>')\n"
        "st.pills('Pick', range(len(texts)), format_func=lambda i: safe_markdown(texts[i]))\n"
        "for i, text in enumerate(texts):\n    st.checkbox(safe_markdown(text), key=str(i))\n",
        encoding="utf-8",
    )
    port = free_port()
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    with served("-m", "streamlit", "run", str(script), *options, port=port, HOME=str(tmp_path)) as url:
        page = visit(url)
        for kind in ("stCheckbox", "stButtonGroup"):
            labels = page.locator(f'[data-testid="{kind}"] [data-testid="stMarkdownContainer"]')
            assert (
                labels.locator("a, img, code, strong, em, del, .katex, [data-testid='stIconMaterial'], [style]").count()
                == 0
            )
        shown = [text.replace("\u2060", "") for text in page.locator('[data-testid="stCheckbox"]').all_inner_texts()]
        from ftlab.ui.parts import plain

        assert [" ".join(text.split()) for text in shown] == [" ".join(plain(text).split()) for text in texts]


def test_the_examples_filters_live_in_the_url_and_survive_a_visit_elsewhere(
    site: str, visit: Callable[..., Any]
) -> None:
    page = visit(f"{site}/examples")
    page.get_by_role("radio", name=re.compile("^All")).or_(
        page.get_by_role("button", name=re.compile("^All"))
    ).first.click()
    page.wait_for_url(re.compile("show=all"), timeout=WAIT)
    page.get_by_label("Find in question, answer or output").fill("sign 1")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("search=sign"), timeout=WAIT)
    ready(page)
    note = page.locator(".ft-note").first.inner_text()
    link = page.url
    assert parse_qs(urlparse(link).query)["show"] == ["all"]

    other = visit(link)
    assert other.locator(".ft-note").first.inner_text() == note
    assert other.get_by_label("Find in question, answer or output").input_value() == "sign 1"

    page.get_by_role("link", name="Decision", exact=True).first.click()
    page.wait_for_selector(".ft-verdict", timeout=WAIT)
    page.get_by_role("link", name="Examples", exact=True).first.click()
    page.wait_for_url(re.compile("search=sign"), timeout=WAIT)
    ready(page)
    assert page.locator(".ft-note").first.inner_text() == note


def test_a_page_turns_and_a_link_opens_it_there(site: str, visit: Callable[..., Any]) -> None:
    page = visit(f"{site}/examples?show=all")
    page.get_by_role("button", name=re.compile(r"^(Page )?2$")).first.click()
    page.wait_for_url(re.compile("page=2"), timeout=WAIT)
    ready(page)
    assert "21 to 40 here" in page.inner_text('[data-testid="stMain"]')
    assert "21 to 40 here" in visit(page.url).inner_text('[data-testid="stMain"]')


def test_a_button_in_the_runs_table_opens_the_run_it_names(
    site: str, finished: Path, visit: Callable[..., Any]
) -> None:
    page = visit(f"{site}/runs")
    table = page.locator('[data-testid="stDataFrame"] canvas').first
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = table.bounding_box()
    # Header and rows are 35 px high: the third row.
    page.mouse.click(box["x"] + 50, box["y"] + 35 * 3 + 17)
    page.wait_for_url(re.compile(r"/run\?"), timeout=WAIT)
    ready(page)
    [run] = parse_qs(urlparse(page.url).query)["run"]
    with duckdb.connect(str(finished / "snapshots" / "1.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT run_id FROM runs WHERE current ORDER BY position, run_id").fetchall()
    assert run == rows[2][0]
    assert run in page.inner_text('[data-testid="stMain"]')


def test_an_open_page_follows_a_sweep(finished: Path, tmp_path: Path, visit: Callable[..., Any]) -> None:
    """A snapshot a second for 15 s, only the newest three kept: the page shows no error and no data older than 5 s."""
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    published: dict[int, float] = {1: time.monotonic()}
    stop = threading.Event()

    def write() -> None:
        folder = results / "snapshots"
        for number in range(2, 17):
            target = folder / f"{number}.duckdb"
            shutil.copy(finished / "snapshots" / "1.duckdb", target.with_suffix(".tmp"))
            with duckdb.connect(str(target.with_suffix(".tmp"))) as connection:
                connection.execute("UPDATE experiments SET question = ?", [f"Question number {number}?"])
            target.with_suffix(".tmp").rename(target)
            (folder / "CURRENT.tmp").write_text(f"{number}\n")
            (folder / "CURRENT.tmp").rename(folder / "CURRENT")
            published[number] = time.monotonic()
            (folder / f"{number - 3}.duckdb").unlink(missing_ok=True)
            if stop.wait(1.0):
                return

    with hold_results(results), app(results) as url:
        page = visit(url)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            oldest, seen = 0.0, set()
            while writer.is_alive() or "number 16" not in page.inner_text("h1"):
                found = re.search(r"number (\d+)", page.inner_text("h1"))
                number = int(found[1]) if found else 1
                seen.add(number)
                overtaken = published.get(number + 1)
                if overtaken is not None:
                    oldest = max(oldest, time.monotonic() - overtaken)
                assert page.locator('[data-testid="stException"]').count() == 0
                assert "A moment, please" not in page.inner_text("body")
                assert oldest < 5, f"the page showed data that was {oldest:.1f} s old"
                page.wait_for_timeout(150)
        finally:
            stop.set()
            writer.join()
        assert len(seen) >= 6, f"the page moved only {len(seen)} times in 15 s"
