"""A real `ftlab run` beside the open app: the page is fresh, neither disturbs the other, and a kill harms neither."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import app

from ftlab.events import EventType, Status
from ftlab.store.journal import parse_line
from ftlab.testing.tiny import tiny_rows

pytestmark = pytest.mark.browser

ARMS = 16
FRESH = 5.0
"""Seconds within which a page shows what has happened, on a machine that is not busy with something else."""
SPEC = """
version: 1
name: colours
question: Which method?
model: builtin:smollm2-135m-instruct
data: {source: ./rows.jsonl, splits: {validation: 24, test: 6}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  metrics: [accuracy, valid_format]
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [%s]}}
decision: {metric: accuracy}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`ftlab run` of fake runs of about a second and a half each, in `tmp_path`/results."""
    (tmp_path / "spec.yaml").write_text(SPEC % ", ".join(str(r) for r in range(1, ARMS)))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(60)))
    env = {
        **os.environ,
        "FTLAB_PIPELINE": "ftlab.testing.fakes:FakePipeline",
        "FTLAB_FAKE": json.dumps({"*": {"seconds": 0.7}}),
        "FTLAB_CACHE": str(tmp_path / "cache"),
    }
    call = [sys.executable, "-c", "import sys; from ftlab.cli import main; sys.exit(main())"]
    command = [*call, "run", "spec.yaml", "--results", str(tmp_path / "results")]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def completed(results: Path) -> list[float]:
    """When each run that is complete by its journal ended, Unix time, rising."""
    ends = []
    for journal in results.glob("*/runs/*/a*/events.jsonl"):
        last = parse_line((journal.read_bytes().splitlines() or [b""])[-1])
        if last and last.get("type") == EventType.ATTEMPT_FINISHED and last["status"] == Status.COMPLETE:
            ends.append(float(last["ts"]))
    return sorted(ends)


def shown(page: Any) -> int:
    """How many complete runs a page tells of; all when it has no line of progress any more."""
    text = page.inner_text('[data-testid="stMain"]')
    assert page.locator('[data-testid="stException"], [data-testid="stAlert"]').count() == 0
    for trouble in ("A moment, please", "error of ftlab", "cannot be"):
        assert trouble not in text
    found = re.search(r"(\d+) of (\d+) runs complete", text)
    return int(found[1]) if found else ARMS


class Stretch:
    """How many times longer work takes by the wall than by the processor: 1 where nobody else wants the cores."""

    def __init__(self) -> None:
        self.wall = self.work = 0.0

    def sample(self) -> None:
        """Work for 20 ms."""
        wall, work = time.perf_counter(), time.thread_time()
        while time.thread_time() - work < 0.02:
            pass
        self.wall += time.perf_counter() - wall
        self.work += time.thread_time() - work

    @property
    def factor(self) -> float:
        """Of all samples so far."""
        return self.wall / self.work


def wait_for_progress(page: Any, runs: int) -> None:
    """Wait until the page is there and tells of a sweep with `runs` complete ones."""
    deadline = time.monotonic() + 120
    while page.get_by_text(f" of {ARMS} runs complete").count() == 0 or shown(page) < runs:
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def test_an_open_page_follows_a_real_sweep(
    sweep: subprocess.Popen[str], tmp_path: Path, visit: Callable[..., Any]
) -> None:
    results = tmp_path / "results"
    with app(results) as url:
        pages = {name: visit(f"{url}/{path}", heading=False) for name, path in (("Decision", ""), ("Runs", "runs"))}
        for page in pages.values():
            wait_for_progress(page, 0)
        seen: dict[str, set[int]] = {name: set() for name in pages}
        oldest = dict.fromkeys(pages, 0.0)
        stretch = Stretch()
        deadline = time.monotonic() + 240
        while any(ARMS not in numbers for numbers in seen.values()):
            assert time.monotonic() < deadline
            for name, page in pages.items():
                number, now = shown(page), time.time()
                seen[name].add(number)
                # What the page does not tell yet: the oldest of it is how old the page is.
                missed = completed(results)[number:]
                oldest[name] = max(oldest[name], now - missed[0] if missed else 0.0)
                stretch.sample()
                page.wait_for_timeout(150)
        out, err = sweep.communicate(timeout=60)
        assert sweep.returncode == 0, err
        assert f"{ARMS} of {ARMS} runs done" in out
        assert "Traceback" not in err
        print(f"oldest data shown: {oldest}, at {stretch.factor:.2f} times the work's own time; seen: {seen}")
        assert min(len(numbers) for numbers in seen.values()) >= 3, seen
        assert max(oldest.values()) <= FRESH * stretch.factor, oldest


def test_a_page_stays_fine_when_the_sweep_is_killed(
    sweep: subprocess.Popen[str], tmp_path: Path, visit: Callable[..., Any]
) -> None:
    results = tmp_path / "results"
    with app(results) as url:
        page = visit(url, heading=False)
        wait_for_progress(page, 2)
        sweep.send_signal(signal.SIGKILL)
        sweep.wait(10)
        killed = time.monotonic()
        before = len(completed(results))
        # The run that was being worked on is told as one that ended, and nothing as running.
        while "1 ended without a result" not in page.inner_text('[data-testid="stMain"]'):
            assert time.monotonic() - killed < 60
            assert shown(page) <= before
            page.wait_for_timeout(100)
        assert "now: nothing at the moment" in page.inner_text('[data-testid="stMain"]')
        page.wait_for_timeout(3_000)
        assert shown(page) <= before
        runs = visit(f"{url}/runs")
        assert shown(runs) == shown(page)
        assert "killed" in runs.inner_text('[data-testid="stMain"]')
