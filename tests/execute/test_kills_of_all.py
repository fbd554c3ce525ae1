"""Every process of a whole `ftlab run` killed at random instants, a search and the open app included.

`python -m benchmarks.kills` is the same at full size, and with real training.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ftlab.execute.experiments import find_plan
from ftlab.testing.kills import App, KilledSweep, fake_environment, write_fake_spec
from ftlab.testing.soundness import unsound

KILLS = 20
SEED = 20261125
GRID, ARMS = 16, 8


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a sweep that was killed, resumed and finished."""
    folder = tmp_path_factory.mktemp("killed") / "x"
    spec, results, environment = write_fake_spec(folder, GRID, ARMS), folder / "results", fake_environment(0.3)
    app = App(results, environment)
    try:
        with KilledSweep(spec, results, random.Random(SEED), environment, 0.8, app) as sweep:
            sweep.kill_until(KILLS)
            sweep.finish()
        app.settle()
    finally:
        print(app.said())
        app.close()
    print(f"killed: {dict(sweep.kills)} in {sweep.sessions} sessions")
    assert app.errors == []
    assert sum(sweep.kills[victim] for victim in ("coordinator", "ingester")) >= 4
    assert sweep.kills["worker"] >= 2
    return results


def test_every_promise_holds_when_all_that_can_be_killed_was(killed: Path) -> None:
    assert len(find_plan(killed).runs) == 1 + GRID + ARMS
    assert unsound(killed) == []


def test_a_broken_promise_is_found(killed: Path) -> None:
    """The judge of the kills sees what it is there to see."""
    (journal, *others) = sorted(killed.glob("*/runs/*/a*/events.jsonl"))
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    computed = next(
        line
        for other in others
        for line in other.read_bytes().splitlines(keepends=True)
        if (event := json.loads(line))["type"] == "stage" and not event["cached"]
    )
    try:
        journal.write_bytes(b"".join(lines[:-1]))
        said = " ".join(unsound(killed))
        assert "is not done" in said
        assert "ended as" in said
        journal.write_bytes(whole + computed)
        said = " ".join(unsound(killed))
        assert "was computed 2 times" in said
        assert "the ledger took in" in said
    finally:
        journal.write_bytes(whole)
