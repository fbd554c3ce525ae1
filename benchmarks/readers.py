"""Eight readers for a minute while four workers write: no error on either side, fast pages, fresh data.

    python -m benchmarks.readers [--seconds 60]

Six sessions ask the app's server for a page every second, as tabs do whose snapshot moves; two more are tabs of a real
browser, of Debian's chromium by playwright. A session's seconds run from its question to the end of the page's script,
with all its queries and the way over the socket. How old a page is: the age of the oldest run that had ended by its
journal and that the page did not count yet. Beside other work everything takes longer, so what a fixed piece of work
took by the wall against the processor is printed, too.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftlab.events import EventType, Status
from ftlab.store.journal import parse_line
from ftlab.testing.app_session import AppSession
from ftlab.testing.kills import App, KilledSweep, fake_environment, write_fake_spec

WORKERS = 4
SESSIONS = ("", "runs", "examples", "", "runs", "forgetting")
GRID, ARMS = 60, 20
SECONDS_OF_A_STAGE = 2.0
LIMITS = {"p99": 1.0, "age": 5.0}
_SHOWN = re.compile(r"(\d+) of \d+ runs complete")


class Journals:
    """When runs ended, by their journals."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._ends: dict[Path, float] = {}

    def ends(self) -> list[float]:
        """The ends of all complete runs, Unix time, rising."""
        for journal in self._results.glob("*/runs/*/a*/events.jsonl"):
            if journal not in self._ends:
                last = parse_line((journal.read_bytes().splitlines() or [b""])[-1])
                if last and last.get("type") == EventType.ATTEMPT_FINISHED and last["status"] == Status.COMPLETE:
                    self._ends[journal] = float(last["ts"])
        return sorted(self._ends.values())


class Reader(threading.Thread):
    """One session that draws its page every second."""

    def __init__(self, url: str, page: str, until: float, journals: Journals) -> None:
        super().__init__(name=f"reader of {page or 'decision'}", daemon=True)
        self.seconds: list[float] = []
        self.ages: list[float] = []
        self.errors: list[str] = []
        self._asked = (url, page, until)
        self._journals = journals

    def run(self) -> None:
        """Draw until the time is up. The first page of a session is what loads the app's modules; it counts, too."""
        url, page, until = self._asked
        try:
            with AppSession(url, page) as session:
                while time.monotonic() < until:
                    asked = time.time()
                    answer = session.run()
                    self.seconds.append(answer.seconds)
                    self.errors += answer.errors
                    if found := _SHOWN.search(" ".join(answer.texts)):
                        self.ages.append(age(self._journals.ends(), int(found[1]), asked))
                    time.sleep(1.0)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")


def age(ends: list[float], shown: int, now: float) -> float:
    """How old a page is that counts `shown` complete runs at `now`."""
    missed = [end for end in ends[shown:] if end < now]
    return now - missed[0] if missed else 0.0


@contextmanager
def tabs(url: str) -> Iterator[list[Any]]:
    """The first page and the runs in a real browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        pages = [browser.new_page() for _ in range(2)]
        for page, path in zip(pages, ("", "runs"), strict=True):
            page.goto(f"{url}/{path}")
        yield pages
        browser.close()


def watch(pages: list[Any], until: float, journals: Journals) -> tuple[list[float], list[str]]:
    """Look at the tabs until the time is up: how old they were, and what was wrong on them."""
    ages, errors = [], []
    while time.monotonic() < until:
        for page in pages:
            now = time.time()
            text = page.inner_text("body")
            if page.locator('[data-testid="stException"], [data-testid="stAlert"]').count():
                errors.append(text[:300])
            if found := _SHOWN.search(text):
                ages.append(age(journals.ends(), int(found[1]), now))
            page.wait_for_timeout(300)
    return ages, errors


def stretch() -> float:
    """How many times longer a piece of work takes by the wall than by the processor."""
    wall, work = time.perf_counter(), time.thread_time()
    while time.thread_time() - work < 0.05:
        pass
    return (time.perf_counter() - wall) / (time.thread_time() - work)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie, by the nearest rank; 0 where there are none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def measured(folder: Path, seconds: float) -> bool:
    """Run it, print the figures, and say whether nobody met an error."""
    spec, results = write_fake_spec(folder, GRID, ARMS), folder / "results"
    spec.write_text(spec.read_text().replace("workers: 2", f"workers: {WORKERS}"))
    environment = fake_environment(SECONDS_OF_A_STAGE)
    journals = Journals(results)
    app = App(results, environment, pages=())
    stretched: list[float] = []
    try:
        with KilledSweep(spec, results, random.Random(0), environment, 0.0) as sweep:
            sweep.begin()
            app.wait_until_up()
            until = time.monotonic() + seconds
            readers = [Reader(app.url, page, until, journals) for page in SESSIONS]
            with tabs(app.url) as pages:
                for reader in readers:
                    reader.start()
                ages, errors = watch(pages, until, journals)
                stretched.append(stretch())
                for reader in readers:
                    reader.join()
            alive = sweep.alive
        said = app.said()
    finally:
        app.close()
    drawn = [one for reader in readers for one in reader.seconds]
    errors += [error for reader in readers for error in reader.errors] + app.errors
    session_ages = [one for reader in readers for one in reader.ages]
    print(f"{len(readers)} sessions drew {len(drawn)} pages in {seconds:.0f} s; {len(journals.ends())} runs ended")
    print(
        f"script run with its queries: median {statistics.median(drawn):.2f} s, p99 {percentile(drawn, 0.99):.2f} s"
        f"   (promised: below {LIMITS['p99']:g} s)"
    )
    for name, found in (("sessions", session_ages), ("tabs of the browser", ages)):
        print(f"age of what {name} show: median {percentile(found, 0.5):.1f} s, most {max(found, default=0.0):.1f} s")
    print(
        f"   (promised: at most {LIMITS['age']:g} s); other work stretched time {statistics.fmean(stretched):.1f} times"
    )
    print(f"errors of readers: {len(errors)}; the sweep {'still works' if alive else 'has ended'}")
    for error in dict.fromkeys(errors):
        print(f"  {error[:300]}")
    if errors:
        print(said)
    return not errors and alive


def main() -> None:
    """Read and write side by side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        fine = measured(Path(folder) / "x", options.seconds)
    if not fine:
        sys.exit(1)


if __name__ == "__main__":
    main()
