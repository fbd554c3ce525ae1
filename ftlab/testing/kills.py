"""SIGKILL at random, seeded instants, over every process of a sweep: coordinator, ingester, workers, and the open app.

A sweep is `ftlab run` of a whole spec in a process of its own, gone on with by `ftlab resume` after each kill until
nothing is left; what then must hold is `ftlab.testing.soundness.unsound`. The ingester is a thread of the coordinator:
it is killed by killing the coordinator at an instant when the ledger or a snapshot is being written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import psutil
from websockets.exceptions import WebSocketException

from ftlab.testing.app_session import AppSession
from ftlab.testing.tiny import tiny_rows

Victim = Literal["coordinator", "ingester", "worker", "app"]
SHARES: Mapping[Victim, int] = {"coordinator": 4, "ingester": 2, "worker": 4, "app": 2}
"""How often each is drawn."""
PATIENCE = 120.0
"""Seconds for what must happen on a busy machine: a process starts, ends, answers."""
CALL = "import sys; from ftlab.cli import main; sys.exit(main())"

FAKE_SPEC = """
version: 1
name: killed
question: Is anything lost?
model: ./model
data: {{source: ./rows.jsonl, splits: {{validation: 8, test: 3}}}}
task:
  type: classification
  prompt: [{{role: user, content: "{{{{ question }}}}"}}]
  target: "{{{{ label }}}}"
methods:
  zero_shot: {{type: prompt}}
  lora: {{type: lora, r: {{grid: [{grid}]}}}}
  searched:
    type: lora
    learning_rate: {{low: 1e-5, high: 1e-2, log: true}}
    search: {{sampler: tpe, arms: {arms}}}
benchmarks: {{tasks: [builtin:piqa], limit: 4}}
execute: {{workers: 2, retries: 1}}
"""
"""A grid beside a search, whose arms are proposed between the kills."""


def write_fake_spec(folder: Path, grid: int, arms: int) -> Path:
    """A spec of `grid` fixed and `arms` proposed arms with rows and a model that only fakes can load."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model" / "tokenizer.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(60)))
    spec = folder / "spec.yaml"
    spec.write_text(FAKE_SPEC.format(grid=", ".join(str(r) for r in range(1, grid + 1)), arms=arms))
    return spec


def fake_environment(seconds: float) -> dict[str, str]:
    """What makes every stage of a sweep a fake that takes `seconds`."""
    return {
        "FTLAB_PIPELINE": "ftlab.testing.fakes:FakePipeline",
        "FTLAB_FAKE": json.dumps({"*": {"seconds": seconds}}),
    }


class App:
    """`ftlab ui` on a results folder with sessions that draw pages all the time."""

    def __init__(self, results: Path, environment: Mapping[str, str], pages: Sequence[str] = ("", "runs")) -> None:
        self._options = ["ui", "--results", str(results), "--no-browser"]
        self._environment = {**os.environ, **environment}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the app
        self._pages = pages
        self._closed = threading.Event()
        self.errors: list[str] = []
        """What went wrong on a page."""
        self.answers = 0
        """How many pages were drawn whole."""
        self._start()
        self._reader = threading.Thread(target=self._read, name="app sessions", daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """SIGKILL, then a fresh one, which needs some seconds to come up."""
        self._process.kill()
        self._process.wait()
        self._start()

    def wait_until_up(self) -> None:
        """Wait until the server answers."""

        def answers() -> bool:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                return True
            return self._process.poll() is not None

        _wait(answers, "the app to come up")

    def settle(self) -> None:
        """Wait until pages were drawn that show what is there now."""
        wanted = self.answers + 2 * len(self._pages)
        _wait(lambda: self.answers >= wanted or self._process.poll() is not None, "the app to draw its pages")

    def said(self) -> str:
        """What the servers wrote to their terminals, its end."""
        self._log.seek(0)
        return self._log.read()[-6000:].decode(errors="replace")

    def close(self) -> None:
        """End the server and the sessions."""
        self._closed.set()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._log.close()

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._process = subprocess.Popen(
            [sys.executable, "-c", CALL, *self._options, "--port", str(port)],
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.url = f"http://127.0.0.1:{port}"

    def _read(self) -> None:
        """Draw pages; when the server is gone, wait for the next one."""
        while not self._closed.wait(0.2):
            with suppress(OSError, WebSocketException), ExitStack() as stack:
                sessions = [stack.enter_context(AppSession(self.url, page, timeout=PATIENCE)) for page in self._pages]
                while not self._closed.wait(0.5):
                    for session in sessions:
                        self.errors += session.run().errors
                        self.answers += 1


@dataclass
class KilledSweep:
    """One spec in one results folder, run and killed until it is done. Use as a context: it leaves nothing running."""

    spec: Path
    results: Path
    chance: random.Random
    environment: Mapping[str, str]
    pause: float
    """Seconds of work, at most, from one kill to the next."""
    app: App | None = None
    kills: Counter[Victim] = field(default_factory=Counter)
    sessions: int = 0
    """How often `ftlab run` or `ftlab resume` was started."""
    finished: bool = False
    """Whether a session ended by itself with everything done."""
    _process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether a session is at work."""
        return self._process is not None and not self._over()

    def begin(self) -> None:
        """Start the first session and wait until it works."""
        self._start()
        _wait(lambda: self._workers() or self._over(), "the first worker")

    def kill_until(self, kills: int) -> None:
        """Kill until there were `kills` in this sweep, or nothing is left to do."""
        while self.kills.total() < kills and not self.finished:
            if self._process is None:
                self._start()
            self._strike()
            self._reap()

    def finish(self, sessions: int = 6) -> None:
        """Go on until everything is done. A run that was killed beyond its retries is left to the next session.

        Raises AssertionError when it is not done after `sessions` more.
        """
        for _ in range(sessions):
            if self.finished:
                return
            if self._process is None:
                self._start()
            assert self._process is not None
            self._process.wait(PATIENCE * 10)
            self._reap()
        raise AssertionError(f"not done after {sessions} sessions: {self._said()}")

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._log is not None:
            self._log.close()

    def _start(self) -> None:
        planned = any(self.results.glob("*/resolved.json"))
        # Both verbs go on with what is there.
        what = ["resume"] if planned and self.chance.random() < 0.7 else ["run", str(self.spec)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", CALL, "-v", *what, "--results", str(self.results)],
            env={**os.environ, **self.environment},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.sessions += 1
        # Some are killed on the way in, most at work.
        if self.chance.random() < 0.85:
            _wait(lambda: self._workers() or self._over(), "the first worker")

    def _strike(self) -> None:
        assert self._process is not None
        victims = [victim for victim in SHARES if victim != "app" or self.app is not None]
        victim = self.chance.choices(victims, [SHARES[one] for one in victims])[0]
        time.sleep(self.chance.uniform(0, self.pause))
        if self._over():
            return
        match victim:
            case "app":
                assert self.app is not None
                self.app.kill()
                self.kills["app"] += 1
            case "worker":
                workers = self._workers()
                if workers:
                    with suppress(psutil.NoSuchProcess):
                        self.chance.choice(workers).kill()
                        self.kills["worker"] += 1
            case "ingester":
                before = self._books()
                deadline = time.monotonic() + self.pause
                while self._books() == before and not self._over() and time.monotonic() < deadline:
                    time.sleep(0.0005)
                self._kill_coordinator("ingester" if self._books() != before else "coordinator")
            case "coordinator":
                self._kill_coordinator("coordinator")

    def _books(self) -> tuple[int, ...]:
        """What changes while the ingester writes: the ledger, its log, and the snapshot that is being made."""
        sizes = []
        for name in ("ftlab.duckdb.wal", "ftlab.duckdb"):
            try:
                state = (self.results / name).stat()
                sizes += [state.st_size, state.st_mtime_ns]
            except FileNotFoundError:
                sizes.append(0)
        with suppress(FileNotFoundError):
            sizes.append(len(os.listdir(self.results / "snapshots")))
        return tuple(sizes)

    def _kill_coordinator(self, counts_as: Victim) -> None:
        assert self._process is not None
        if self._over():
            return
        workers = self._workers()
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.kills[counts_as] += 1
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert not alive, "a worker outlived its coordinator"

    def _workers(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            return [child for child in psutil.Process(self._process.pid).children() if _is_worker(child)]
        except psutil.NoSuchProcess:
            return []

    def _over(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def _reap(self) -> None:
        """Take note of a session that has ended, killed or by itself."""
        if self._process is None or not self._over():
            return
        code = self._process.returncode
        self._process = None
        assert code in (0, 3, -signal.SIGKILL), f"a session ended with {code}: {self._said()}"
        self.finished = code == 0

    def _said(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read()[-6000:].decode(errors="replace")


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "ftlab.execute.worker" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.02)
