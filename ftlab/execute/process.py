"""A worker's process as its owner sees it: work handed over by its stdin, answers read from its stdout.

The one worker command, `python -m ftlab.execute.worker`, is started here wherever a run is executed: by the local
executor for many runs, on a cluster's node for one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ftlab.events import Status
from ftlab.execute.base import CANCELLED_REASON, Finished, Handle

CRASH_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""What a process brings upon itself; any other signal came from outside."""


def worker_command(results: Path, pipeline: str, threads: int) -> list[str]:
    """The command of a worker that lives no longer than this process. `pipeline` is the `module:Object` it builds."""
    options = {"results": results.absolute(), "pipeline": pipeline, "threads": threads, "parent": os.getpid()}
    pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "ftlab.execute.worker", *pairs]


class WorkerProcess:
    """One worker process and what it is doing. The leader of a process group of its own."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
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

    def cancel(self, status: Status = Status.CANCELLED, reason: str = CANCELLED_REASON) -> None:
        """Ask for an end at the next step, with this status and for this reason."""
        self._send({"cancel": True, "status": status, "reason": reason})

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
        told = {name: answer[name] for name in ("reason", "fatal", "settled")}
        return Finished(handle, Status(answer["status"]), **told)

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
