"""One sweep per results folder."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from ftlab.errors import StorageError, StoreBusyError
from ftlab.execute.hold import LOCK_FILE, Holder, hold_results, holder, refuse_if_held


def test_the_holder_is_known_to_others_and_gone_afterwards(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert holder(results) is None
    with hold_results(results):
        assert holder(results) == Holder(os.getpid(), socket.gethostname())
    assert holder(results) is None
    refuse_if_held(results)


def test_a_second_one_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    with hold_results(tmp_path):
        with (
            pytest.raises(StoreBusyError, match=f"process {os.getpid()} on {socket.gethostname()}"),
            hold_results(tmp_path),
        ):
            pass
        with pytest.raises(StoreBusyError, match="ftlab status"):
            refuse_if_held(tmp_path)


def test_looking_does_not_take_the_lock(tmp_path: Path) -> None:
    with hold_results(tmp_path):
        pass
    assert holder(tmp_path) is None
    with hold_results(tmp_path):
        assert holder(tmp_path) is not None


def test_a_holder_that_has_not_signed_yet_is_still_one(tmp_path: Path) -> None:
    with hold_results(tmp_path):
        (tmp_path / ".lock").write_text("")
        assert holder(tmp_path) == Holder(None, "an unknown host")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"), hold_results(tmp_path / "file" / "results"):
        pass


def test_a_glance_at_the_holder_refuses_nobody(tmp_path: Path) -> None:
    """An open app asks every second who works in the folder, and each time has the lock for an instant."""
    (tmp_path / LOCK_FILE).touch()
    with (tmp_path / LOCK_FILE).open() as glance:
        fcntl.flock(glance, fcntl.LOCK_SH)
        timer = threading.Timer(0.02, lambda: fcntl.flock(glance, fcntl.LOCK_UN))
        timer.start()
        with hold_results(tmp_path):
            pass
        timer.join()
