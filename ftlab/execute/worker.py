"""A worker process: takes attempt directories on stdin, executes them one after the other, answers on stdout.

    python -m ftlab.execute.worker --results DIR --pipeline module:Object --threads N --parent PID

Lines in, JSON:   {"attempt": "<dir>"}   execute it
                  {"cancel": true, "status": "...", "reason": "..."}   stop at the next step, and end so
Lines out, JSON:  {"attempt": "<dir>", "status": "...", "reason": "..."|null, "fatal": bool, "settled": bool}

While a run executes, everything that libraries print goes to the attempt's log.txt: the real stdout is kept aside for
the answers. The process lives no longer than its parent: end of file on stdin ends it at once, and so does the kernel.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from ftlab.errors import FtlabError, StorageError, TrainingError, is_out_of_memory
from ftlab.events import EventType, Reporter, RunCancelled, RunPruned, Status
from ftlab.execute.attempts import hold_lease, number, read_config, read_end
from ftlab.execute.base import CANCELLED_REASON
from ftlab.execute.pipeline import Pipeline
from ftlab.execute.provenance import provenance
from ftlab.execute.pruning import read_verdict, stopped
from ftlab.execute.runner import execute_run
from ftlab.execute.stages import StageStore
from ftlab.plan.run import RunConfig
from ftlab.redaction import clean_file, in_json, known_secrets
from ftlab.store.journal import EventWriter

ERROR_CHARACTERS = 8_000
"""How much of a traceback is kept: its end, which says what happened."""
REASON_CHARACTERS = 500
PR_SET_PDEATHSIG = 1


class Worker:
    """Executes attempts with one pipeline, which is built when the first one comes."""

    def __init__(self, results: Path, pipeline: Callable[[], Pipeline], threads: int) -> None:
        self._stages = StageStore(results)
        self._build = pipeline
        self._pipeline: Pipeline | None = None
        self._threads = threads
        self._asked: tuple[Status, str] | None = None

    def cancel(self, status: Status = Status.CANCELLED, reason: str = CANCELLED_REASON) -> None:
        """Stop at the next step, from any thread: the attempt ends with this status, for this reason."""
        self._asked = status, reason

    def execute(self, attempt: Path) -> dict[str, Any]:
        """Execute one attempt and return the answer; what goes wrong with the run is the answer too."""
        with hold_lease(attempt) as free:
            answer = self._execute(attempt, free)
            with suppress(OSError, FtlabError):  # a full disk has been told of by then
                clean_file(attempt / "log.txt")
            return answer

    def _execute(self, attempt: Path, free: bool) -> dict[str, Any]:
        with _output_to(attempt / "log.txt"):
            if not free or read_end(attempt) is not None:
                return _answer(attempt, Status.FAILED, "another worker has the attempt, or it has ended already", None)
            journal: EventWriter | None = None
            try:
                journal = EventWriter(attempt / "events.jsonl")
                self._run(attempt, journal)
            except BaseException as error:
                traceback.print_exc()
                return self._end(attempt, journal, error)
            return self._end(attempt, journal, None)

    def close(self) -> None:
        """Let go of what the pipeline holds."""
        if self._pipeline is not None:
            self._pipeline.close()

    def _run(self, attempt: Path, journal: EventWriter) -> None:
        config = read_config(attempt)
        journal(
            EventType.ATTEMPT_STARTED,
            run_id=config.run_id,
            attempt=number(attempt),
            pid=os.getpid(),
            host=socket.gethostname(),
            provenance=provenance(Path(config.data.root), self._threads) | _identities(config),
        )
        if self._pipeline is None:
            self._pipeline = self._build()
        execute_run(config, self._stages, self._pipeline, attempt, self._stoppable(attempt, journal))

    def _stoppable(self, attempt: Path, journal: EventWriter) -> Reporter:
        """The journal, made into the place where a run notices that it was asked to stop or is given up.

        A verdict counts while weights are trained: one that comes later would throw away what is paid for.
        """

        def report(type: EventType, **fields: Any) -> None:  # noqa: A002  the journal's own word
            if type is EventType.PROGRESS and fields.get("phase") == "train" and (verdict := read_verdict(attempt)):
                raise RunPruned(stopped(fields["done"], verdict.reason))
            if self._asked is not None and type in (EventType.PROGRESS, EventType.STAGE_STARTED):
                raise RunCancelled
            journal(type, **fields)

        return report

    def _end(self, attempt: Path, journal: EventWriter | None, error: BaseException | None) -> dict[str, Any]:
        status, reason = describe_end(error)
        # Who is given up in the moment of being stopped is given up: nobody takes that back.
        if isinstance(error, RunCancelled) and not isinstance(error, RunPruned) and self._asked is not None:
            status, reason = self._asked
        details = "".join(traceback.format_exception(error))[-ERROR_CHARACTERS:] if error is not None else None
        try:
            if journal is not None:
                journal(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=details)
                journal.close()
        except (OSError, FtlabError) as unwritten:
            # The coordinator writes the end instead, or meets the same full disk and says so.
            return _answer(attempt, Status.FAILED, str(unwritten), unwritten)
        return _answer(attempt, status, reason, error)


def _identities(config: RunConfig) -> dict[str, Any]:
    return {
        "model": {"source": config.model.source, "revision": config.model.revision, "dtype": config.model.dtype},
        "data": {"source": config.data.spec.source, "content": config.data.content},
    }


def describe_end(error: BaseException | None) -> tuple[Status, str | None]:
    """The status and the one-sentence reason of an attempt that ended with `error`."""
    if error is None:
        return Status.COMPLETE, None
    if isinstance(error, RunPruned):
        return Status.PRUNED, _sentence(error, "given up by its search")
    if isinstance(error, (RunCancelled, KeyboardInterrupt)):
        return Status.CANCELLED, CANCELLED_REASON
    if is_out_of_memory(error):
        return Status.OOM, _sentence(error, "the run needed more memory than there is")
    if isinstance(error, FtlabError):
        return Status.FAILED, _sentence(error, type(error).__name__)
    return Status.FAILED, f"{type(error).__name__}: {_sentence(error, 'no message')}"[:REASON_CHARACTERS]


def _sentence(error: BaseException, otherwise: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else otherwise)[:REASON_CHARACTERS]


def _answer(attempt: Path, status: Status, reason: str | None, error: BaseException | None) -> dict[str, Any]:
    kinds = {"fatal": isinstance(error, StorageError), "settled": isinstance(error, TrainingError)}
    return {"attempt": str(attempt), "status": status, "reason": reason, **kinds}


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send file descriptors 1 and 2 to `log` for the block, so that C libraries are heard there too."""
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        for stream, _ in kept:
            os.dup2(target, stream)
        yield
    finally:
        for flushed in (sys.stdout, sys.stderr):
            flushed.flush()
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(target)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process with its parent (Linux). Exits when the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _listen(commands: IO[str], attempts: SimpleQueue[Path], worker: Worker) -> None:
    """Read commands until the parent closes the pipe or dies, and then end the process, working or not."""
    for line in commands:
        command = json.loads(line)
        if command.get("cancel"):
            worker.cancel(Status(command["status"]), command["reason"])
        else:
            attempts.put(Path(command["attempt"]))
    os._exit(0)


def load_pipeline(target: str, threads: int) -> Callable[[], Pipeline]:
    """A function that imports `module:Object` and builds the pipeline."""

    def build() -> Pipeline:
        module, _, name = target.partition(":")
        pipeline: Pipeline = getattr(import_module(module), name)(threads=threads)
        return pipeline

    return build


def main() -> None:
    """Serve until stdin ends."""
    arguments = _arguments()
    die_with_parent(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to answer
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # between runs, too, nothing but answers may reach the pipe
    faulthandler.enable(file=2)
    worker = Worker(arguments.results, load_pipeline(arguments.pipeline, arguments.threads), arguments.threads)
    attempts: SimpleQueue[Path] = SimpleQueue()
    listener = threading.Thread(target=_listen, args=(sys.stdin, attempts, worker), daemon=True)
    listener.start()
    while True:
        answer = json.dumps(worker.execute(attempts.get())).encode()
        answers.write(in_json(answer, known_secrets()).decode() + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Executes runs for `ftlab run`; not meant to be started by hand.")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
