"""What a results folder could do without: weights of losers, checkpoints of finished runs, leavings of the dead.

Predictions, scores and benchmark items stay, all of them: they are small, and the ledger is rebuilt from them. Weights
that are removed leave their summary and their curve behind, so that the run stays done; whatever asks something new of
them trains them again.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ftlab.execute.attempts import list_attempts, run_folder
from ftlab.execute.coordinator import run_is_done
from ftlab.execute.course import CURVES_FILE
from ftlab.execute.stages import StageStore
from ftlab.files import storage_errors
from ftlab.plan.run import Plan, RunConfig, StageKind
from ftlab.search.clones import with_clones

What = Literal["weights", "checkpoints", "leavings"]


@dataclass(frozen=True, slots=True)
class Removal:
    """One thing that can go."""

    what: What
    path: Path
    bytes: int
    label: str
    """Whose it is; empty for leavings."""


def find_removals(results: Path, plans: Sequence[Plan], keep: Collection[str]) -> list[Removal]:
    """All that can go, the largest first. Reads only.

    Args:
        plans: every experiment of the folder: weights that one of them has yet to use, or to start from, are
            not offered.
        keep: keys of weights that stay.
    """
    stages = StageStore(results)
    plans = [with_clones(plan, results) for plan in plans]
    found = [*_weights(results, plans, keep, stages), *_checkpoints(results, plans, stages), *_leavings(results)]
    return sorted(found, key=lambda removal: -removal.bytes)


def remove(results: Path, removals: Sequence[Removal]) -> int:
    """Remove them, and return how many bytes are free. The caller holds the results folder. Raises StorageError."""
    stages = StageStore(results)
    freed = 0
    for removal in removals:
        if removal.what == "weights":
            freed += stages.collect(removal.path.parent.name, removal.path.name, (CURVES_FILE,))
        else:
            with storage_errors(removal.path):
                shutil.rmtree(removal.path)
            freed += removal.bytes
    return freed


def _weights(results: Path, plans: Sequence[Plan], keep: Collection[str], stages: StageStore) -> Iterator[Removal]:
    """Results of trainings, and what was kept of their course: that served its benchmarks, whoever won."""
    labels: dict[tuple[StageKind, str], str] = {}
    needed = {("weights", key) for key in keep}
    kinds: tuple[StageKind, ...] = ("weights", "candidates")
    for plan in plans:
        names = {arm.arm_id: arm.label for arm in plan.arms}
        for config in plan.runs:
            found = [(kind, key) for kind in kinds if (key := config.key(kind)) is not None]
            for one in found:
                labels.setdefault(one, f"{names[config.arm_id]}, seed {config.seed}")
            if found and not run_is_done(config, results, stages):
                needed.update(found)
                needed |= set() if config.start is None else {("weights", config.start)}
    for (kind, key), label in labels.items():
        record = stages.complete(kind, key)
        if record is None or (kind, key) in needed:
            continue
        size = sum(
            path.stat().st_size
            for path in record.path.rglob("*")
            if path.is_file() and path.suffix != ".json" and path.name != CURVES_FILE
        )
        if size:
            yield Removal("weights", record.path, size, label)


def _checkpoints(results: Path, plans: Sequence[Plan], stages: StageStore) -> Iterator[Removal]:
    for plan in plans:
        names = {arm.arm_id: arm.label for arm in plan.arms}
        for config in plan.runs:
            folders = [path for path in _checkpoint_folders(results, config) if any(path.iterdir())]
            if folders and run_is_done(config, results, stages):
                for folder in folders:
                    yield Removal("checkpoints", folder, _size(folder), f"{names[config.arm_id]}, seed {config.seed}")


def _checkpoint_folders(results: Path, config: RunConfig) -> list[Path]:
    attempts = list_attempts(run_folder(results, config))
    return [folder for attempt in attempts if (folder := attempt / "checkpoints").is_dir()]


def _leavings(results: Path) -> Iterator[Removal]:
    """What a process that died in the middle of a stage left, and what did not verify."""
    for mark in ("tmp", "torn"):
        for folder in sorted(results.glob(f"stages/*/*.{mark}-*")):
            if folder.is_dir():
                yield Removal("leavings", folder, _size(folder), "")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
