"""Stages: computed once among threads and processes, complete or absent, whatever died on the way."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftlab.errors import StorageError
from ftlab.execute.stages import StageStore


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path)


def write_two(folder: Path) -> dict[str, int]:
    (folder / "a.bin").write_bytes(b"a" * 1000)
    (folder / "deep").mkdir()
    (folder / "deep" / "b.bin").write_bytes(b"b" * 10)
    return {"rows": 3}


def names(store: StageStore, kind: str = "dataset") -> list[str]:
    return sorted(path.name for path in (store.root / kind).iterdir())


def test_a_stage_is_computed_once_and_found_again(store: StageStore) -> None:
    first = store.produce("dataset", "k1", write_two)
    second = store.produce("dataset", "k1", lambda folder: pytest.fail("computed twice"))
    assert not first.cached
    assert second.cached
    assert (second.summary, second.seconds, second.bytes) == (first.summary, first.seconds, first.bytes)
    assert first.bytes == 1010 + len(json.dumps({"rows": 3}))
    assert json.loads((first.path / "summary.json").read_text()) == {"rows": 3}
    assert names(store) == ["k1", "k1.lock"]


@pytest.mark.parametrize("word", ["", "..", "a/b", "A", "a_b", "k\n", "x" * 65, "a.lock", "\0"])
def test_names_never_become_paths(store: StageStore, word: str) -> None:
    for kind, key in ((word, "k"), ("dataset", word)):
        with pytest.raises(ValueError, match="a-z, 0-9"):
            store.produce(kind, key, write_two)
    assert not store.root.exists()


def test_a_failure_leaves_nothing_and_the_next_try_computes(store: StageStore) -> None:
    def fail(folder: Path) -> dict[str, int]:
        write_two(folder)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        store.produce("dataset", "k1", fail)
    assert names(store) == ["k1.lock"]
    assert not store.produce("dataset", "k1", write_two).cached


def test_a_summary_that_json_cannot_hold_is_refused(store: StageStore) -> None:
    with pytest.raises(ValueError, match=r"nan|JSON"):
        store.produce("dataset", "k1", lambda folder: {"loss": float("nan")})
    assert names(store) == ["k1.lock"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "COMPLETE.json").unlink(),
        lambda folder: (folder / "COMPLETE.json").write_text("{"),
        lambda folder: (folder / "COMPLETE.json").write_text("[]"),
        lambda folder: (folder / "a.bin").write_bytes(b"short"),
        lambda folder: (folder / "deep" / "b.bin").unlink(),
    ],
)
def test_a_torn_stage_is_put_aside_and_computed_again(store: StageStore, harm: object) -> None:
    harm(store.produce("dataset", "k1", write_two).path)  # type: ignore[operator]
    assert store.complete("dataset", "k1") is None
    assert not store.produce("dataset", "k1", write_two).cached
    assert store.complete("dataset", "k1", verify=True) is not None
    assert [name.split("-")[0] for name in names(store)] == ["k1", "k1.lock", "k1.torn"]


def test_a_file_of_the_same_size_is_caught_by_its_sha256_only(store: StageStore) -> None:
    folder = store.produce("dataset", "k1", write_two).path
    (folder / "a.bin").write_bytes(b"x" * 1000)
    assert store.complete("dataset", "k1") is not None
    assert store.complete("dataset", "k1", verify=True) is None


def test_another_stages_manifest_does_not_count(store: StageStore) -> None:
    one = store.produce("dataset", "k1", write_two).path
    os.rename(one, one.with_name("k2"))
    assert store.complete("dataset", "k2") is None


def test_of_many_threads_one_computes_and_each_other_waits_once(store: StageStore) -> None:
    computed, waits, records = [], [], []

    def slow(folder: Path) -> dict[str, int]:
        computed.append(1)
        time.sleep(0.2)
        return write_two(folder)

    def work() -> None:
        records.append(store.produce("dataset", "k1", slow, on_wait=lambda: waits.append(1)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    assert sum(not record.cached for record in records) == 1
    assert len(waits) == 5


def test_a_full_disk_is_one_clear_error(store: StageStore) -> None:
    def full(folder: Path) -> dict[str, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="the disk is full"):
        store.produce("dataset", "k1", full)
    assert names(store) == ["k1.lock"]


PRODUCER = """
import os, pathlib, sys, time
from ftlab.execute.stages import StageStore

def compute(folder):
    os.write(1, b"c")
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(b"x" * 5000)
        time.sleep(0.002)
    return {"files": 20}

while True:
    sys.stdin.readline()
    if os.fork() == 0:
        StageStore(pathlib.Path(sys.argv[1])).produce("weights", "k1", compute)
        os.write(1, b"d")
        os._exit(0)
    os.wait()
"""


def test_killed_at_random_instants_a_stage_is_complete_or_computed_again(store: StageStore, tmp_path: Path) -> None:
    draw = random.Random(5)
    done = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", PRODUCER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            for _kill in range(6):
                parent.stdin.write(b"\n")
                parent.stdin.flush()
                time.sleep(draw.uniform(0.0, 0.09))
                children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
                for child in children:
                    os.kill(int(child), signal.SIGKILL)
            time.sleep(0.1)
            parent.kill()
            parent.wait()
            said = parent.stdout.read()
        record = store.complete("weights", "k1", verify=True)
        if b"d" in said:
            assert record is not None
        if record is not None:
            done += 1
            assert len(list(record.path.glob("*.bin"))) == 20
            (record.path / "0.bin").unlink()
    final = store.produce("weights", "k1", write_two)
    assert not final.cached
    assert not [name for name in names(store, "weights") if ".tmp-" in name]
    assert sum(".torn-" in name for name in names(store, "weights")) == done
