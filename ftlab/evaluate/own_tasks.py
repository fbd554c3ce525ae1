"""lm-eval tasks of a user's own: found, checked and hashed without running anything of theirs.

A task file may name Python code (`!function`), which lm-eval runs as it reads the file, with the rights of whoever
started the sweep. So a folder is only read by lm-eval when the spec names it under `benchmarks.own`; its contents are
part of every key made from it, and each run that used it says so in its record.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ftlab.catalog import suggest
from ftlab.errors import UnknownNameError, UsageError
from ftlab.evaluate.registry import scan_tasks
from ftlab.spec.schema import BenchmarkSpec
from ftlab.text import one_line

MAX_FILES = 1_000
MAX_BYTES = 64 * 2**20
"""A folder of tasks is read whole for its hash; one beyond these is no folder of tasks."""
_IGNORED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})


@dataclass(frozen=True)
class OwnTask:
    """A task that the spec allows by name, and the folder whose files define it."""

    name: str
    folder: Path

    @cached_property
    def sha256(self) -> str:
        """The hash of every file of the folder, names included: any of them may change what the task gives.

        Raises UsageError for a folder that cannot be read or is too large.
        """
        whole = hashlib.sha256()
        try:
            for path in self._files():
                whole.update(f"{path.relative_to(self.folder).as_posix()}\0{path.stat().st_size}\0".encode())
                whole.update(path.read_bytes())
        except OSError as error:
            raise UsageError(f"benchmark '{self.name}': {error.filename} cannot be read: {error.strerror}") from error
        return whole.hexdigest()

    @property
    def version(self) -> str:
        """What stands for the files in keys and on pages."""
        return f"own {self.sha256[:16]}"

    def check(self) -> None:
        """Raise UsageError, UnknownNameError for a name that no file of the folder defines."""
        if not self.folder.is_dir():
            raise UsageError(f"benchmark '{self.name}': there is no folder {self.folder}")
        self._files()
        if self.name not in (names := scan_tasks(self.folder)):
            known = ", ".join(one_line(name) for name in sorted(names)[:12])
            near = suggest(self.name, sorted(names))
            found = f"its files define {known}" if known else "it holds no lm-eval task file (*.yaml)"
            raise UnknownNameError(f"no task '{self.name}' in {self.folder}{near} ({found})")

    def _files(self) -> list[Path]:
        """Every file below the folder in a fixed order. Raises UsageError for too many or too much."""
        files: list[Path] = []
        size = 0
        for folder, below, names in os.walk(self.folder):
            below[:] = sorted(set(below) - _IGNORED)
            here = [path for name in sorted(names) if (path := Path(folder, name)).is_file()]
            files += here
            size += sum(path.stat().st_size for path in here)
            if len(files) > MAX_FILES or size > MAX_BYTES:
                raise UsageError(
                    f"benchmark '{self.name}': {self.folder} holds more than {MAX_FILES:,} files or "
                    f"{MAX_BYTES // 2**20} MB; name a folder with the task's files alone"
                )
        return files


def own_task(name: str, benchmarks: BenchmarkSpec, root: Path) -> OwnTask | None:
    """The user's own task of that name, or None when the spec names none. `root`: where relative folders start."""
    folder = benchmarks.own.get(name)
    return None if folder is None else OwnTask(name, (root / Path(folder).expanduser()).resolve())
