"""A results folder by hand, for the store's tests: plans of any runs, and attempts that say what a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftlab.events import EventType
from ftlab.files import write_atomic
from ftlab.plan.run import Plan
from ftlab.store.journal import EventWriter
from ftlab.testing.invented_plan import ARMS, FakeArm, InventedSweep


def plan_of(arms: Sequence[FakeArm] = ARMS[:2], name: str = "exp") -> Plan:
    """A plan with one run per arm."""
    return InventedSweep(tuple(arms), 6, ("builtin:piqa",), 4, 4, False, name, 0).plan((0,))


def put_plan(results: Path, plan: Plan) -> None:
    """Make `plan` the experiment's present one."""
    home = results / plan.experiment_id
    home.mkdir(parents=True, exist_ok=True)
    write_atomic(home / "resolved.json", plan.model_dump_json().encode())


def attempt(
    results: Path, plan: Plan, run: int = 0, number: int = 1, start: bool = True, clock: Any = None
) -> EventWriter:
    """Open the journal of an attempt of the plan's run, with its config in place."""
    config = plan.runs[run]
    folder = results / plan.experiment_id / "runs" / config.run_id / f"a{number}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "config.json", config.model_dump_json().encode())
    writer = EventWriter(folder / "events.jsonl", **({"clock": clock} if clock else {}))
    if start:
        writer(
            EventType.ATTEMPT_STARTED,
            run_id=config.run_id,
            attempt=number,
            pid=number,
            host="h",
            provenance={"n": number},
        )
    return writer


def stage(writer: EventWriter, kind: str, key: str, name: str = "", **fields: Any) -> None:
    """Report a stage as complete."""
    event = {"cached": False, "seconds": 1.0, "bytes": 10, "summary": {}, **fields}
    writer(EventType.STAGE, kind=kind, name=name, key=key, **event)
