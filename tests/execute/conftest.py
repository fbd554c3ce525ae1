"""Sweeps of fakes as processes: started, waited for, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from ftlab.execute.attempts import list_attempts, read_end
from ftlab.testing.fake_pipeline import read_work

SWEEP = Path(__file__).with_name("sweep.py")


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


@dataclass
class Sweep:
    """A results folder and the options of the sweep in it."""

    results: Path
    options: dict[str, Any]
    process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, str(SWEEP), str(self.results), json.dumps(self.options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def run(self) -> tuple[int, dict[str, Any]]:
        """Run to the end: the exit code and the outcome."""
        process = self.start()
        out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if out else {"error": err}

    def workers(self) -> list[psutil.Process]:
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """kill -9 of the coordinator alone."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def work(self, what: str = "begin") -> list[dict[str, Any]]:
        return [line for line in read_work(self.results) if line["what"] == what]

    def attempts(self) -> dict[Path, str | None]:
        """Every attempt and the status it ended with."""
        runs = [run for run in self.results.glob("*/runs/*") if run.is_dir()]
        ends = {attempt: read_end(attempt) for run in runs for attempt in list_attempts(run)}
        return {attempt: str(end.status) if end is not None else None for attempt, end in ends.items()}

    def stages(self) -> dict[str, Path]:
        """The manifest of every complete stage by its key."""
        return {
            path.parent.name: path
            for path in self.results.glob("stages/*/*/COMPLETE.json")
            if "." not in path.parent.name
        }


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Makes sweeps in one results folder; ends what a failed test leaves running."""
    made: list[Sweep] = []

    def make(methods: dict[str, dict[str, Any]], **options: Any) -> Sweep:
        made.append(Sweep(tmp_path / "results", {"methods": methods, **options}))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a webhook was told; its address is in HOOK. It refuses everything at /no."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(403 if self.path.startswith("/no") else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}/yes/secret-token")
    monkeypatch.setenv("REFUSING", f"http://127.0.0.1:{server.server_port}/no/secret-token")
    yield heard
    server.shutdown()
    server.server_close()
