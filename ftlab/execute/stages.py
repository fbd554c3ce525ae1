"""Stages on disk: each is computed once, by whoever comes first, and is there for every experiment of a results folder.

stages/<kind>/<key>/            the artifact; complete when its COMPLETE.json, written last, agrees with the files
stages/<kind>/<key>.lock        flock of whoever computes it
stages/<kind>/<key>.tmp-<x>/    being computed; left over when its process died, and removed by the next
stages/<kind>/<key>.torn-<x>/   stood in the artifact's place and did not verify; kept for people to look at
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.files import WRITE_ERRORS, file_lock, fsync_dir, fsync_file, sha256_file, storage_errors, write_atomic

MANIFEST = "COMPLETE.json"
SUMMARY = "summary.json"
MANIFEST_VERSION = 1

_IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A stage that stands complete on disk."""

    kind: str
    key: str
    path: Path
    cached: bool
    """Whether it was there already: False only for the one who computed it."""
    seconds: float
    """How long the computation took, whoever did it and whenever."""
    bytes: int
    """The size of all its files, without the manifest."""
    summary: dict[str, Any]
    """What the computation returned."""
    collected: bool = False
    """Whether its large files were removed to save space: what is known of it stands, what it made is gone."""


def is_identifier(word: str) -> bool:
    """Whether `word` may name a kind or a key of a stage: 1 to 64 of a-z, 0-9 and -, so that names never become
    paths."""
    return _IDENTIFIER.fullmatch(word) is not None


class StageStore:
    """The stages of one results folder. Safe among threads and processes of one machine."""

    def __init__(self, results: Path) -> None:
        self.root = results / "stages"

    def path(self, kind: str, key: str) -> Path:
        """Where the stage is or will be. Raises ValueError for a kind or key that is not made of a-z, 0-9 and -."""
        for word in (kind, key):
            if not is_identifier(word):
                raise ValueError(f"expected at most 64 of a-z, 0-9 and '-' as a stage's kind and key, found '{word}'")
        return self.root / kind / key

    def complete(self, kind: str, key: str, verify: bool = False) -> StageRecord | None:
        """The stage if it stands complete: every file of the manifest there with its size, and with its sha256 if
        `verify`.

        None when it does not, whatever is there instead.
        """
        folder = self.path(kind, key)
        # Asked for every stage of every run when a session starts: plain strings are twice as fast as paths.
        place = str(folder)
        try:
            with open(f"{place}/{MANIFEST}", "rb") as file:
                manifest = json.loads(file.read())
            if (manifest["version"], manifest["kind"], manifest["key"]) != (MANIFEST_VERSION, kind, key):
                return None
            for name, entry in manifest["files"].items():
                if os.stat(f"{place}/{name}").st_size != entry["bytes"]:
                    return None
                if verify and sha256_file(folder / name) != entry["sha256"]:
                    return None
            return StageRecord(
                kind,
                key,
                folder,
                True,
                float(manifest["seconds"]),
                int(manifest["bytes"]),
                dict(manifest["summary"]),
                bool(manifest.get("collected", False)),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def produce(
        self,
        kind: str,
        key: str,
        compute: Callable[[Path], dict[str, Any]],
        on_wait: Callable[[], None] = lambda: None,
        whole: bool = True,
    ) -> StageRecord:
        """The stage, computed by `compute(empty folder) -> summary` unless it stands complete already.

        One whose large files were collected is computed again if they are needed, which `whole` says.

        When somebody else computes it now, `on_wait` is called once and the finished stage is returned; if that one
        dies, the next in line computes. What `compute` raises goes through and leaves nothing behind. Raises
        StorageError when the disk is full or read-only.
        """
        record = self._ready(kind, key, whole)
        if record is not None:
            return record
        folder = self.path(kind, key)
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with _turn(folder.with_name(f"{key}.lock"), on_wait):
            record = self._ready(kind, key, whole)
            return record if record is not None else self._compute(kind, key, folder, compute)

    def collect(self, kind: str, key: str, keep: Collection[str]) -> int:
        """Remove every file of a complete stage but those in `keep` and its summary; returns the bytes that are free.

        The manifest is written first: whoever is killed in between leaves a stage that counts as collected, with files
        that nobody refers to. Raises StorageError. The caller sees to it that nobody works in the results folder.
        """
        folder = self.path(kind, key)
        freed = 0
        with _turn(folder.with_name(f"{key}.lock"), lambda: None), storage_errors(folder):
            manifest = json.loads((folder / MANIFEST).read_bytes())
            kept = {name: entry for name, entry in manifest["files"].items() if name in {*keep, SUMMARY}}
            size = sum(entry["bytes"] for entry in kept.values())
            shrunk = {**manifest, "files": kept, "bytes": size, "collected": True}
            write_atomic(folder / MANIFEST, json.dumps(shrunk, indent=1, allow_nan=False).encode())
            for file in [path for path in folder.rglob("*") if path.is_file()]:
                if file.relative_to(folder).as_posix() not in {*kept, MANIFEST}:
                    freed += file.stat().st_size
                    file.unlink()
        return freed

    def forget(self, kind: str, key: str) -> None:
        """Remove a stage, so that it is computed again. Raises StorageError."""
        folder = self.path(kind, key)
        with _turn(folder.with_name(f"{key}.lock"), lambda: None), storage_errors(folder):
            shutil.rmtree(folder, ignore_errors=False)

    def _ready(self, kind: str, key: str, whole: bool) -> StageRecord | None:
        record = self.complete(kind, key)
        return None if record is None or (whole and record.collected) else record

    def _compute(self, kind: str, key: str, folder: Path, compute: Callable[[Path], dict[str, Any]]) -> StageRecord:
        """Compute under the lock: whatever else of this key lies about was left by the dead."""
        temporary = folder.with_name(f"{key}.tmp-{secrets.token_hex(4)}")
        with storage_errors(folder):
            for leftover in folder.parent.glob(f"{key}.tmp-*"):
                shutil.rmtree(leftover)
            if (stands := self.complete(kind, key)) is not None and stands.collected:
                shutil.rmtree(folder)
            elif os.path.lexists(folder):
                os.rename(folder, folder.with_name(f"{key}.torn-{secrets.token_hex(4)}"))
            temporary.mkdir()
        try:
            started = time.perf_counter()
            with storage_errors(folder, WRITE_ERRORS):
                summary = compute(temporary)
            seconds = time.perf_counter() - started
            with storage_errors(folder):
                size = _seal(temporary, kind, key, seconds, summary)
                os.rename(temporary, folder)
                fsync_dir(folder.parent)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(temporary)
            raise
        return StageRecord(kind, key, folder, False, seconds, size, summary)


@contextmanager
def _turn(lock: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the stage's lock, telling `on_wait` when that takes waiting."""
    try:
        held = file_lock(lock, blocking=False)
        held.__enter__()
    except BlockingIOError:
        on_wait()
        held = file_lock(lock)
        held.__enter__()
    try:
        yield
    finally:
        held.__exit__(None, None, None)


def _seal(folder: Path, kind: str, key: str, seconds: float, summary: dict[str, Any]) -> int:
    """Write the summary and, last, the manifest, everything durable; returns the size of the files in bytes."""
    text = json.dumps(summary, allow_nan=False)
    (folder / SUMMARY).write_text(text)
    files: dict[str, dict[str, Any]] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        fsync_file(file)
        files[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
    for subfolder in sorted(path for path in folder.rglob("*") if path.is_dir()):
        fsync_dir(subfolder)
    size = sum(entry["bytes"] for entry in files.values())
    manifest = {
        "version": MANIFEST_VERSION,
        "kind": kind,
        "key": key,
        "seconds": seconds,
        "bytes": size,
        "summary": json.loads(text),
        "files": files,
    }
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False).encode())
    return size
