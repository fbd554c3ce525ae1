"""A results folder as a real sweep leaves it, made up in a second: for tests of the store, the comparison and the app.

Everything is written by the same code that a sweep uses (stage folders, journals, plan, scores), with invented answers.
Equal arguments give equal files, but for the seconds that making up a stage took.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlab.events import EventType, Status
from ftlab.execute.openings import write_opening
from ftlab.execute.stages import StageStore
from ftlab.files import write_atomic
from ftlab.plan.expand import with_split
from ftlab.plan.opening import TEST, OpenedArm, Opening, Role
from ftlab.plan.run import Plan, RunConfig, StageKey
from ftlab.store.journal import EventWriter
from ftlab.store.plans import keep_plan
from ftlab.testing.invented_plan import (
    ARMS,
    BENCHMARKS,
    HOSTILE_TEXTS,
    LABELS,
    SECRET,
    STARTED,
    FakeArm,
    InventedSweep,
)
from ftlab.testing.invented_stages import InventedStages

__all__ = ["ARMS", "BENCHMARKS", "HOSTILE_TEXTS", "LABELS", "SECRET", "STARTED", "FakeArm", "make_results"]


def make_results(
    folder: Path,
    *,
    arms: Sequence[FakeArm] = ARMS,
    examples: int = 60,
    seeds: Sequence[int] = (0,),
    statuses: Mapping[str, Status] | None = None,
    benchmarks: Sequence[str] = BENCHMARKS,
    items: int = 40,
    curve_points: int = 30,
    hostile: bool = False,
    name: str = "medical-specialty",
    seed: int = 0,
    opened: bool = False,
    at: Sequence[Any] = (),
) -> str:
    """Write a whole results folder, without a ledger; returns the experiment's id.

    `examples` is the size of the validation split, `items` that of each benchmark. `statuses` overrides the status of
    arms by their label. A waiting arm has no attempt; an arm that ended otherwise than complete stops in its first
    costly stage. `hostile` puts HOSTILE_TEXTS into labels, outputs, names and reasons. `opened`: the test rows were
    opened for the arms that are truly the best of their methods. `at`: what the spec's `benchmarks.at` says.
    """
    sweep = InventedSweep(tuple(arms), examples, tuple(benchmarks), items, curve_points, hostile, name, seed, at)
    plan = sweep.plan(tuple(seeds))
    home = folder / plan.experiment_id
    home.mkdir(parents=True, exist_ok=True)
    write_atomic(home / "spec.yaml", plan.spec_text.encode())
    resolved = plan.model_dump_json().encode()
    write_atomic(home / "resolved.json", resolved)
    keep_plan(home, resolved, STARTED)
    clock = _clock()
    by_arm = {planned.arm_id: arm for planned, arm in zip(plan.arms, arms, strict=True)}
    for run in plan.runs:
        arm = by_arm[run.arm_id]
        status = (statuses or {}).get(arm.label, arm.status)
        if status is not Status.WAITING:
            _Attempt(folder, sweep, run, arm).write(status, clock)
    if opened:
        _open(folder, sweep, plan, by_arm, clock)
    return plan.experiment_id


def _open(
    folder: Path, sweep: InventedSweep, plan: Plan, by_arm: Mapping[str, FakeArm], clock: Iterator[float]
) -> None:
    """What `ftlab decide` leaves: the record, and a second attempt of every opened run."""
    roles = _roles({arm_id: arm for arm_id, arm in by_arm.items() if arm.status is Status.COMPLETE})
    runs = [with_split(run, TEST) for run in plan.runs if run.arm_id in roles]
    keys = {arm_id: [run.key("predictions", TEST) or "" for run in runs if run.arm_id == arm_id] for arm_id in roles}
    labels = {arm.arm_id: arm.label for arm in plan.arms}
    arms = [
        OpenedArm(
            arm_id=arm_id,
            method_name=by_arm[arm_id].method_name,
            label=labels[arm_id],
            role=role,
            validation=by_arm[arm_id].accuracy,
            predictions=tuple(keys[arm_id]),
        )
        for arm_id, role in roles.items()
    ]
    write_opening(
        folder,
        Opening(
            experiment_id=plan.experiment_id,
            number=1,
            ts=next(clock),
            who="someone@testhost",
            why=HOSTILE_TEXTS[0] if sweep.hostile else "the sweep is done",
            dataset=sweep.dataset_key,
            content=sweep.data.content,
            spec_hash=plan.spec_hash,
            metric=plan.decision.metric,
            arms=tuple(arms),
            looks=sum(map(len, keys.values())),
        ),
    )
    for run in runs:
        _Attempt(folder, sweep, run, by_arm[run.arm_id], number=2).write(Status.COMPLETE, clock)


def _roles(arms: Mapping[str, FakeArm]) -> dict[str, Role]:
    """By the accuracies that were made up: the best prompt, the bare base, and the best arm of each trained method."""
    prompts = {arm_id: arm for arm_id, arm in arms.items() if arm.family == "prompt"}
    baseline = max(prompts, key=lambda arm_id: prompts[arm_id].accuracy)
    roles: dict[str, Role] = {baseline: "baseline"}
    bare = next((arm_id for arm_id, arm in prompts.items() if not arm.values), None)
    if bare is not None:
        roles.setdefault(bare, "base")
    trained = {arm_id: arm for arm_id, arm in arms.items() if arm.family != "prompt"}
    for method in dict.fromkeys(arm.method_name for arm in trained.values()):
        mine = [arm_id for arm_id, arm in trained.items() if arm.method_name == method]
        roles[max(mine, key=lambda arm_id: trained[arm_id].accuracy)] = "finalist"
    return roles


def _clock() -> Iterator[float]:
    now = STARTED
    while True:
        yield now
        now += 0.75


class _Attempt:
    """One attempt of one run."""

    def __init__(self, folder: Path, sweep: InventedSweep, run: RunConfig, arm: FakeArm, number: int = 1) -> None:
        self.folder = folder
        self.number = number
        self.sweep = sweep
        self.stages = InventedStages(sweep, StageStore(folder))
        self.run = run
        self.arm = arm

    def write(self, status: Status, clock: Iterator[float]) -> None:
        """The folder of the attempt, up to where its status lets it come."""
        run, arm = self.run, self.arm
        folder = self.folder / run.experiment_id / "runs" / run.run_id / f"a{self.number}"
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "config.json", run.model_dump_json().encode())
        (folder / "log.txt").write_text(f"made up for {arm.label}\n")
        with EventWriter(folder / "events.jsonl", clock=lambda: next(clock)) as report:
            report(
                EventType.ATTEMPT_STARTED,
                run_id=run.run_id,
                attempt=self.number,
                pid=4242,
                host="testhost",
                provenance={
                    "ftlab": "0.1.0",
                    "python": "3.11.7",
                    "packages": {"torch": "2.13.0", "tokenizers": "0.23.0"},
                    "device": "cpu",
                    "commit": "0" * 40,
                    "dirty": False,
                    "environment": {"HF_TOKEN": SECRET},
                },
            )
            for stage in run.stages:
                report(EventType.STAGE_STARTED, kind=stage.kind, name=stage.name, key=stage.key)
                if status is not Status.COMPLETE and stage.kind in ("candidates", "weights", "predictions"):
                    self._stop(report, stage, status)
                    return
                self._stage(report, stage)
            report(EventType.ATTEMPT_FINISHED, status=Status.COMPLETE, reason=None, error=None)

    def _stop(self, report: EventWriter, stage: StageKey, status: Status) -> None:
        if stage.kind in ("candidates", "weights"):
            for step, values in self.stages.curve(self.arm)[: self.sweep.curve_points // 2]:
                report(EventType.CURVE, step=step, values=values)
            if status is Status.PRUNED:
                spent = {"cost/train_tokens": 12_800.0, "cost/train_seconds": 19.0}
                report(EventType.CURVE, step=self.sweep.curve_points // 2, values=spent)
        report(EventType.PROGRESS, phase="train", done=9, total=30, unit="steps", loss=1.5, tokens_per_second=850.0)
        if status.is_final:
            reason = self.arm.reason or f"made up: {status}"
            note = f" {HOSTILE_TEXTS[0]}" if self.sweep.hostile else ""
            error = f"Traceback (most recent call last):\nRuntimeError: {reason}{note}"
            report(EventType.ATTEMPT_FINISHED, status=status, reason=reason + note, error=error)

    def _stage(self, report: EventWriter, stage: StageKey) -> None:
        record = self.stages.stages.produce(
            stage.kind, stage.key, lambda out: self.stages.make(self.run, self.arm, stage, out)
        )
        if stage.kind == "weights":
            for step, values in self.stages.curve(self.arm):
                report(EventType.CURVE, step=step, values=values)
        if stage.kind == "weights" and self.sweep.hostile:
            report(EventType.WARNING, code="truncated", message=f"3 rows are cut: {HOSTILE_TEXTS[5]}", step=None)
        report(
            EventType.STAGE,
            kind=stage.kind,
            name=stage.name,
            key=stage.key,
            cached=record.cached,
            seconds=record.seconds,
            bytes=record.bytes,
            summary=record.summary,
        )
        if stage.kind == "scores":
            report(EventType.METRICS, split=stage.name, rows=json.loads((record.path / "metrics.json").read_bytes()))
