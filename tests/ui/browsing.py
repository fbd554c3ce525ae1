"""A real browser for tests of the app: any request outside this machine fails the test that made it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WAIT = 60_000
"""Milliseconds to wait for a page on a busy machine."""


@contextmanager
def served(*command: str, port: int, **environment: str) -> Iterator[str]:
    """A server until the block ends, and its address."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until_up(process, url, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_up(process: subprocess.Popen[bytes], url: str, log: IO[bytes]) -> None:
    for _ in range(240):
        if process.poll() is not None:
            log.seek(0)
            pytest.fail(f"the server ended: {log.read().decode(errors='replace')}")
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
            return
        except OSError:
            time.sleep(0.25)
    pytest.fail("the server did not come up within a minute")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def app(results: Path) -> Iterator[str]:
    """`ftlab ui` on a results folder, run from a folder without any settings of ours, as after an install."""
    port = free_port()
    call = "import sys; from ftlab.cli import main; sys.exit(main())"
    options = ["--results", str(results), "--port", str(port), "--no-browser"]
    with served("-c", call, "ui", *options, port=port, HOME=str(results.parent)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def open_context(browser: Any) -> Iterator[Callable[[str], Any]]:
    """One context per colour scheme, shared by the tests: Streamlit's own scripts are then loaded once."""
    contexts: dict[str, Any] = {}

    def context(scheme: str) -> Any:
        if scheme not in contexts:
            contexts[scheme] = browser.new_context(color_scheme=scheme)
            contexts[scheme].set_default_timeout(WAIT)
        return contexts[scheme]

    yield context
    for found in contexts.values():
        found.close()


@pytest.fixture
def visit(open_context: Callable[[str], Any]) -> Iterator[Callable[..., Any]]:
    """`visit(url)`: a page of its own; at the end, nothing may have gone wrong on any.

    Waits until the page stands, unless `heading` is false: of an empty results folder it has no heading.
    """
    pages, wrong = [], []

    def watch(request: Any) -> None:
        # The browser resolves no other name, so nothing has left; that something tried is the failure.
        parts = urlparse(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
            wrong.append(f"request to {request.url}")

    def open_page(url: str, width: int = 1400, scheme: str = "light", heading: bool = True) -> Any:
        page = open_context(scheme).new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 900})
        page.on("request", watch)
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: wrong.append(f"error {error}"))
        page.goto(url)
        if heading:
            ready(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not wrong


def ready(page: Any) -> None:
    """Wait for the page's heading, then for its script run to end."""
    page.wait_for_selector("h1", timeout=WAIT)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=WAIT)
    page.wait_for_timeout(300)
