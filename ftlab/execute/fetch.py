"""Bring what a sweep needs from outside before its first worker starts: models, and rows of benchmarks.

A missing network or a wrong checksum is then one sentence at the start and no failed run. Converting a model takes
torch and gigabytes, so it happens in a process of its own that is gone when the sweep begins. Task names are looked up
there too: `ftlab resume` takes a plan that may have been made with another version of lm-eval.

    python -m ftlab.execute.fetch
    stdin:   {"models": [ModelRef, ...], "benchmarks": [["builtin:piqa", null], ["our_faq", "/its/folder"], ...]}
    stdout:  {"phase": ..., "done": ..., "total": ..., "unit": ...} per progress, or {"error": ..., "class": ...,
             "at": the part of the spec that names what is missing}
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ftlab.errors
from ftlab.catalog import BENCHMARKS
from ftlab.errors import FetchError, FtlabError, UsageError, blame
from ftlab.evaluate.own_tasks import OwnTask, own_task
from ftlab.events import EventType
from ftlab.plan.run import ModelRef, RunConfig

BUILTIN = "builtin:"


def fetch_all(runs: Iterable[RunConfig], on_progress: Callable[[dict[str, Any]], None]) -> None:
    """Fetch and convert what these runs need and this machine lacks.

    `on_progress` is given the fields of each progress event. Raises FetchError, ModelError, StorageError, or
    UnknownNameError for a benchmark that does not exist.
    """
    models, benchmarks = _missing(runs)
    if not models and not benchmarks:
        return
    request = {"models": [model.model_dump(mode="json") for model in models], "benchmarks": benchmarks}
    # A file takes whatever libraries have to say; a pipe that nobody reads would stop them once it is full.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
        subprocess.Popen(
            [sys.executable, "-m", "ftlab.execute.fetch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                _hear(json.loads(line), on_progress)
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            complaints.seek(0)
            words = complaints.read().strip()[-500:]
            raise FtlabError(f"fetching models ended with exit code {process.returncode}: {words}")


def _missing(runs: Iterable[RunConfig]) -> tuple[list[ModelRef], list[tuple[str, str | None]]]:
    """The models without a folder on this machine, and the benchmarks with the folders of the user's own; each once."""
    models: dict[tuple[str, str], ModelRef] = {}
    benchmarks: dict[tuple[str, str | None], None] = {}
    for config in runs:
        if config.model.folder is None:
            models[config.model.source, config.model.revision] = config.model
        for task in config.benchmarks.tasks:
            own = own_task(task, config.benchmarks, Path(config.data.root))
            benchmarks[task, str(own.folder) if own else None] = None
    return list(models.values()), list(benchmarks)


def _hear(message: dict[str, Any], on_progress: Callable[[dict[str, Any]], None]) -> None:
    if "error" in message:
        kind = getattr(ftlab.errors, message["class"], FetchError)
        raise kind(message["error"], at=tuple(message["at"]))
    on_progress(message)


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _report(type: EventType, **fields: Any) -> None:  # noqa: A002  the journal's own word
    if type is EventType.PROGRESS:
        _say(fields)


def main() -> None:
    """Fetch what stdin asks for."""
    from ftlab.evaluate.benchmarks import check_task, load_tasks
    from ftlab.models.sources import fetch_model

    request = json.load(sys.stdin)
    sys.stdout = sys.stderr  # libraries print; stdout is for messages
    try:
        for model in request["models"]:
            with blame("model"):
                fetch_model(ModelRef.model_validate(model), _report)
        for index, (task, folder) in enumerate(request["benchmarks"]):
            own = OwnTask(task, Path(folder)) if folder else None
            with blame("benchmarks", "tasks", index):
                check_task(task, own)
                if task.startswith(BUILTIN):
                    BENCHMARKS.load(task.removeprefix(BUILTIN)).fetch(_report)
                else:
                    _say({"phase": "fetch", "done": 0, "total": 1, "unit": "benchmarks", "name": task})
                    load_tasks(task, None, _report, own)
    except FtlabError as error:
        at = error.faults[0].at if isinstance(error, UsageError) else ()
        _say({"error": str(error), "class": type(error).__name__, "at": at})


if __name__ == "__main__":
    main()
