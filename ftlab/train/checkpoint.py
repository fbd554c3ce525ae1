"""Checkpoints that verify.

The trainer's own checkpoints are not atomic, and it resumes without a word from one whose optimizer, scheduler or
generator state is missing, which changes the result. So a checkpoint counts only with a manifest of every file, written
last and in one rename, and nothing in it is opened before its sha256 has been compared.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ftlab.files import fsync_file, sha256_file, storage_errors, write_atomic

MANIFEST = "COMPLETE.json"
WEIGHTS = "trainable.safetensors"
PROGRESS = "progress.json"
BEST = "best.safetensors"
REQUIRED = frozenset({WEIGHTS, PROGRESS, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"})

_OS_ERROR = re.compile(r"os error (\d+)")
_FOLDER = re.compile(r"checkpoint-(\d+)")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a StorageError naming `path`, however the library that writes puts it."""
    with storage_errors(path):
        try:
            yield
        except SafetensorError as error:
            if code := _OS_ERROR.search(str(error)):
                raise OSError(int(code.group(1)), str(error), str(path)) from error
            raise
        except RuntimeError as error:
            if "PytorchStreamWriter" in str(error):
                # torch does not say why; by far the commonest reason is the one to name.
                raise OSError(errno.ENOSPC, str(error), str(path)) from error
            raise


def seal(folder: Path, identity: str) -> None:
    """Write the manifest of `folder`. `identity` says which training it belongs to.

    Raises FileNotFoundError when a required file is missing, and StorageError when the disk is full.
    """
    missing = sorted(name for name in REQUIRED if not (folder / name).is_file())
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}")
    files = {}
    with storage_errors(folder):
        for path in sorted(folder.iterdir()):
            if path.name == MANIFEST:
                continue
            fsync_file(path)
            files[path.name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    manifest = {"version": 1, "step": step_of(folder), "identity": identity, "files": files}
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())


def newest(checkpoints: Path, identity: str) -> Path | None:
    """The latest checkpoint that verifies and belongs to `identity`, or None. Later ones are renamed to `.partial`."""
    if not checkpoints.is_dir():
        return None
    for folder in sorted(_folders(checkpoints), key=step_of, reverse=True):
        if verifies(folder, identity):
            return folder
        aside = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    return None


def verifies(folder: Path, identity: str) -> bool:
    """Whether every file is what the manifest says: none missing, none changed, none that it does not know."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files: dict[str, dict[str, Any]] = manifest["files"]
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
        return (
            manifest["version"] == 1
            and manifest["identity"] == identity
            and manifest["step"] == step_of(folder)
            and set(files) == present
            and present >= REQUIRED
            and all((folder / name).stat().st_size == entry["size"] for name, entry in files.items())
            and all(sha256_file(folder / name) == entry["sha256"] for name, entry in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove_older(folder: Path) -> None:
    """Remove every checkpoint beside `folder` and what is left of broken ones; called once `folder` is sealed."""
    for path in folder.parent.glob("checkpoint-*"):
        if path != folder:
            shutil.rmtree(path, ignore_errors=True)


def step_of(folder: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    found = _FOLDER.fullmatch(folder.name)
    if found is None:
        raise ValueError(f"{folder} is not named like a checkpoint")
    return int(found.group(1))


def _folders(checkpoints: Path) -> list[Path]:
    return [path for path in checkpoints.iterdir() if path.is_dir() and _FOLDER.fullmatch(path.name)]
