"""Writing files so that a crash leaves the old or the new, never half, and a full disk is one clear sentence."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ftlab.errors import StorageError

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EFBIG: "the file would pass the largest allowed size; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose a folder that you may write",
    errno.EPERM: "not permitted; choose a folder that you may write",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EISDIR: "that is a folder; name a file in it",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "the links of that path lead in a circle; choose another folder",
}


WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What only writing can raise: these tell of a disk even out of code that also reads."""


@contextmanager
def storage_errors(path: Path, codes: Collection[int] = _MENDS) -> Iterator[None]:
    """Turn the OSErrors that a user can mend (disk full, read-only, no permission) into a StorageError naming `path`.

    Other OSErrors go through: they are defects or are handled by the caller (FileNotFoundError, say).
    """
    try:
        yield
    except OSError as error:
        if error.errno in codes and error.errno in _MENDS:
            raise StorageError(f"cannot write {path}: {_MENDS[error.errno]}") from error
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it: readers see the old bytes or the new, and so does a
    crash.

    Raises StorageError when the disk is full or read-only or the folder may not be written; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with storage_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        fsync_dir(path.parent)


def make_folder(folder: Path, asked: Path | None = None) -> None:
    """Make a folder that the user named, with those above it; nothing when it is there.

    Raises StorageError when that cannot be, as where a file has its name; `asked` is what it then names instead.
    """
    asked = asked or folder
    with storage_errors(asked):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise StorageError(f"{folder} is a file, not a folder; choose another folder") from None
        except FileNotFoundError:
            raise StorageError(f"cannot write {asked}: no folder can be made there; choose another folder") from None


def check_user_file(path: Path) -> None:
    """Raise StorageError, before the work for it, when a file that the user named cannot have that name."""
    with storage_errors(path):
        folder = path.absolute().parent
        if not folder.is_dir():
            raise StorageError(f"cannot write {path}: the folder {folder} does not exist; make it first")
        if path.is_dir():
            raise StorageError(f"cannot write {path}: that is a folder; name a file in it")


def write_user_file(path: Path, data: bytes) -> None:
    """`write_atomic` to a place that the user named: whatever is wrong with it is a StorageError."""
    check_user_file(path)
    try:
        write_atomic(path, data)
    except FileNotFoundError:
        # Folders that are no place for files (/proc, say) answer so, and one that was removed in the meantime.
        raise StorageError(f"cannot write {path}: no file can be made there; choose another folder") from None


def fsync_dir(folder: Path) -> None:
    """Make the names in `folder` durable: a rename survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the bytes of `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits. Never for a DuckDB file that this process has open: closing it
    drops its lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def file_lock(path: Path, blocking: bool = True) -> Iterator[int]:
    """Hold an exclusive `flock` on `path` (made if missing, never removed) for the block; yields its descriptor.

    The kernel drops the lock when the process ends, however it ends. It excludes other holders in the same process
    too. Raises BlockingIOError at once when `blocking` is False and somebody else holds it, and StorageError when the
    file cannot be made.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        keep_from_forks(descriptor)
        yield descriptor
    finally:
        release(descriptor)


_held: set[int] = set()


def keep_from_forks(descriptor: int) -> None:
    """Close `descriptor` in every process forked from now on.

    A `flock` belongs to the open file, which a forked child shares: without this, a DataLoader's process that
    outlives a killed worker would go on holding the worker's locks.
    """
    _held.add(descriptor)


def release(descriptor: int) -> None:
    """Close a descriptor, and with it drop its lock."""
    _held.discard(descriptor)
    os.close(descriptor)


def _close_in_child() -> None:
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
