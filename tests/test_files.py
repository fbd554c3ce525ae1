"""Files: old or new and never half, whole locks, and disks that say no."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftlab.errors import StorageError
from ftlab.files import WRITE_ERRORS, file_lock, sha256_file, storage_errors, write_atomic


def test_write_atomic_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomic(target, b"a long first version")
    write_atomic(target, b"second")
    assert target.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EDQUOT, "quota"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, call: str
) -> None:
    target = tmp_path / "a.json"
    write_atomic(target, b"old")

    def refuse(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StorageError, match=words) as caught:
        write_atomic(target, b"new")
    monkeypatch.undo()
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_other_errors_keep_their_type(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "a", b"")
    with pytest.raises(PermissionError), storage_errors(tmp_path, WRITE_ERRORS):
        raise PermissionError(errno.EACCES, "reading is not writing")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_a_lock_excludes_a_second_holder_even_in_the_same_process(tmp_path: Path) -> None:
    with file_lock(tmp_path / "l"), pytest.raises(BlockingIOError), file_lock(tmp_path / "l", blocking=False):
        pass
    with file_lock(tmp_path / "l", blocking=False):
        pass


def test_a_lock_goes_with_a_killed_process_though_its_forked_child_lives(tmp_path: Path) -> None:
    code = (
        "import os, sys, time, pathlib\n"
        "from ftlab.files import file_lock\n"
        "with file_lock(pathlib.Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(60)\n"
        "    print(child, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "l")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        with pytest.raises(BlockingIOError), file_lock(tmp_path / "l", blocking=False):
            pass
        holder.kill()
        holder.wait()
        try:
            os.kill(orphan, 0)
            started = time.monotonic()
            with file_lock(tmp_path / "l"):
                assert time.monotonic() - started < 5
        finally:
            os.kill(orphan, 9)
