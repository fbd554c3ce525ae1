"""Worker processes on this machine, kept from run to run.

Importing torch and loading a base model cost more than many a run, so a worker that did its run well is given the next
one. One that failed, ran out of memory or died is not trusted again: a fresh process takes its place. Processes are
spawned, never forked, each the leader of a process group of its own, so that Ctrl-C reaches the coordinator alone.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ftlab.events import Status
from ftlab.execute.base import Finished, Handle
from ftlab.execute.provenance import usable_cores, visible_gpus

CRASH_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""What a process brings upon itself; any other signal came from outside."""


SPINS = "2000"
"""How often a thread of libgomp looks again before it sleeps: some ten microseconds, which most waits are shorter than.

On two cores a LoRA step took 1.8 s by this, 1.7 s by 200,000, and 2.6 s by sleeping at once; beside two busy processes
3.1 s by this and 4.4 s by sleeping (`GOMP_SPINCOUNT=... python -m benchmarks.training_step --methods lora`).
"""


class LocalExecutor:
    """Up to `workers` processes, started when there is work for them."""

    def __init__(self, results: Path, pipeline: str, workers: int, env: Mapping[str, str] | None = None) -> None:
        """`pipeline` is the `module:Object` that workers build; `env` is added to their environment."""
        self._results = results.absolute()
        self._pipeline = pipeline
        self._slots: list[_Process | None] = [None] * workers
        self._threads = max(1, usable_cores() // workers)
        self._env = dict(env or {})
        self._selector = selectors.DefaultSelector()

    @property
    def capacity(self) -> int:
        return len(self._slots)

    @property
    def warm(self) -> Sequence[str]:
        return [slot.base for slot in self._slots if slot is not None and slot.handle is None and slot.base is not None]

    def submit(self, attempt: Path, base: str) -> Handle:
        handle = Handle(attempt, base)
        self._place(base).start(handle)
        return handle

    def poll(self, timeout: float) -> list[Finished]:
        finished = []
        for key, _ in self._selector.select(timeout):
            process: _Process = key.data
            news = process.read()
            if news is not None:
                finished.append(news)
            if process.ended or (news is not None and news.status is not Status.COMPLETE):
                self._remove(process)
        return finished

    def cancel(self) -> None:
        for process in self._slots:
            if process is not None and process.handle is not None:
                process.cancel()

    def close(self) -> None:
        for process in self._slots:
            if process is not None:
                self._remove(process)

    def _place(self, base: str) -> _Process:
        """The idle worker that suits best: one that has the base loaded, a fresh one, or else any."""
        idle = [process for process in self._slots if process is not None and process.handle is None]
        for process in idle:
            if process.base == base:
                return process
        if None in self._slots:
            return self._spawn(self._slots.index(None))
        if not idle:
            raise RuntimeError(f"all {self.capacity} workers are busy")
        return idle[0]

    def _spawn(self, slot: int) -> _Process:
        process = _Process(self._command(), self._environment(slot))
        self._slots[slot] = process
        self._selector.register(process.answers, selectors.EVENT_READ, process)
        return process

    def _command(self) -> list[str]:
        options = {"results": self._results, "pipeline": self._pipeline, "threads": self._threads}
        pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [sys.executable, "-m", "ftlab.execute.worker", *pairs, "--parent", str(os.getpid())]

    def _environment(self, slot: int) -> dict[str, str]:
        """This process's environment, with its share of the CPU and, where there are GPUs, one of them per worker."""
        env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
        env.update({name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
        # A thread that spins long while it waits for its peers keeps them off the core that they wait for, beside any
        # other busy process; one that sleeps at once takes half as long again on a quiet machine. So: spin briefly.
        if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & env.keys():
            env["GOMP_SPINCOUNT"] = SPINS
        if gpus := visible_gpus():
            env["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        return env | self._env

    def _remove(self, process: _Process) -> None:
        self._selector.unregister(process.answers)
        self._slots[self._slots.index(process)] = None
        process.kill()


class _Process:
    """One worker process and what it is doing."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by kill
        self._oom_kills: int | None = None
        self._popen = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
        )
        self._buffer = b""
        self.handle: Handle | None = None
        self.base: str | None = None
        self.ended = False

    @property
    def answers(self) -> IO[bytes]:
        """The process's stdout."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    def start(self, handle: Handle) -> None:
        """Hand an attempt over. A process that is dead already says so at the next `read`."""
        self.handle = handle
        self.base = handle.base
        self._oom_kills = _oom_kills()
        self._send({"attempt": str(handle.attempt.absolute())})

    def cancel(self) -> None:
        """Ask for an end at the next step."""
        self._send({"cancel": True})

    def read(self) -> Finished | None:
        """What the process has to say now that its stdout is readable: an answer, its death, or nothing whole yet."""
        chunk = os.read(self.answers.fileno(), 65536)
        if not chunk:
            self.ended = True
            return self._death()
        self._buffer += chunk
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline or self.handle is None:
            return None
        self._buffer = rest
        answer = json.loads(line)
        handle, self.handle = self.handle, None
        return Finished(handle, Status(answer["status"]), answer["reason"], fatal=answer["fatal"])

    def kill(self) -> None:
        """End the process and all it may have started, and reap it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _send(self, command: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        with suppress(BrokenPipeError):
            self._popen.stdin.write(json.dumps(command).encode() + b"\n")
            self._popen.stdin.flush()

    def _death(self) -> Finished | None:
        code = self._popen.wait()
        if self.handle is None:
            return None
        handle, self.handle = self.handle, None
        status, reason = describe_death(code, oom_killed=_oom_kills() != self._oom_kills)
        if last := self._last_words():
            reason = f"{reason}: {last}"
        return Finished(handle, status, reason, died=True)

    def _last_words(self) -> str:
        """The last line on stderr outside of a run: why a worker could not even start."""
        self._errors.seek(0)
        lines = self._errors.read()[-4096:].decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]


def describe_death(code: int, *, oom_killed: bool) -> tuple[Status, str]:
    """The status and reason of a run whose process ended by itself with return code `code` (negative: a signal)."""
    if code >= 0:
        return Status.FAILED, f"the worker process ended with exit code {code} in the middle of the run"
    name = signal.Signals(-code).name
    if -code in CRASH_SIGNALS:
        return Status.FAILED, f"the worker process crashed with {name}; its log.txt may say where"
    if -code == signal.SIGKILL and oom_killed:
        return Status.OOM, f"the worker process was killed by {name} when the machine's memory ran out"
    hint = " (possibly out of memory)" if -code == signal.SIGKILL else ""
    return Status.KILLED, f"the worker process was killed by {name}{hint}"


def _oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since it started; None where it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return None
