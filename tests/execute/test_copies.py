"""Results folders that were copied, restored, or taken from another machine while a sweep was writing in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from conftest import Sweep, wait_until

from ftlab.execute.hold import LOCK_FILE, holder
from ftlab.testing.soundness import unsound

MakeSweep = Callable[..., Sweep]
METHODS = {f"arm{n}": {"type": "fake_trained", "seconds": 0.3, "learning_rate": 0.1 / (n + 1)} for n in range(6)}


def copied(sweep: Sweep, where: Path) -> Sweep:
    """A copy of the folder as it is now, signed by a process of another machine, as a backup of a live one would be."""
    shutil.copytree(sweep.results, where, ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns("*.tmp-*"))
    (where / LOCK_FILE).write_text(json.dumps({"pid": 1, "host": "elsewhere.example.org"}))
    return Sweep(where, sweep.options)


def test_a_copy_of_a_folder_in_use_is_nobody_s_and_goes_on_by_itself(sweep: MakeSweep, tmp_path: Path) -> None:
    live = sweep(METHODS, workers=2)
    live.start()
    wait_until(lambda: len(live.work("end")) > 8)
    copy = copied(live, tmp_path / "elsewhere" / "results")
    assert holder(live.results) is not None
    assert holder(copy.results) is None, "the lock went with the process, not with the file"
    code, outcome = copy.run()
    assert (code, outcome["total"]) == (0, 6)
    # Files are copied one by one: what a journal tells as computed, and a run as complete, may have come too late for
    # the copy, which then does it again.
    late = ("was computed", "ended as ['complete', 'complete']")
    assert [sentence for sentence in unsound(copy.results) if not any(words in sentence for words in late)] == []
    assert live.process is not None
    live.process.communicate(timeout=120)
    assert live.process.returncode == 0, "the copy did not disturb the one that it was taken from"
    assert unsound(live.results) == []


def test_a_finished_folder_that_was_moved_has_nothing_left_to_do(sweep: MakeSweep, tmp_path: Path) -> None:
    whole = sweep(METHODS)
    assert whole.run()[0] == 0
    work = len(whole.work())
    moved = tmp_path / "moved"
    whole.results.rename(moved)
    code, outcome = Sweep(moved, whole.options).run()
    assert (code, outcome["already_done"], outcome["ends"]) == (0, 6, {})
    assert len(Sweep(moved, whole.options).work()) == work
    assert unsound(moved) == []
