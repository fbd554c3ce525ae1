"""The course of a training: weights that were kept at several points of it, and the benchmarks that are asked there.

A `candidates` stage holds the weights of every point, the result among them. The `weights` stage of such a run takes
the result out of it, so that whatever reads weights need not know; and where two points fell on the same step, what was
measured on the one holds for the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ftlab.execute.stages import StageRecord, StageStore
from ftlab.files import storage_errors
from ftlab.plan.run import RunConfig, StageKey

CURVES_FILE = "curves.parquet"


def take_result(config: RunConfig, stages: StageStore, out: Path) -> dict[str, Any]:
    """Make the result of the run's training an artifact of its own in `out`; returns the summary of the training."""
    record = _candidates(config, stages)
    folder = point_folder(config, stages, config.method["keep"])
    with storage_errors(out):
        for file in [*folder.iterdir(), record.path / CURVES_FILE]:
            shutil.copy2(file, out)
    return record.summary


def point_folder(config: RunConfig, stages: StageStore, point: str) -> Path:
    """Where the weights of one point are."""
    record = _candidates(config, stages)
    return record.path / str(record.summary["points"][point]["folder"])


def measured_already(config: RunConfig, stage: StageKey, stages: StageStore) -> StageRecord | None:
    """A benchmark of the run that was asked on the same weights as `stage`, at another point; None where there is none.

    Looks among those before it in the plan, the result's first.
    """
    points = _candidates(config, stages).summary["points"]
    step = points[stage.point]["step"]
    for other in config.stages[: config.stages.index(stage)]:
        if other.kind != "benchmark" or other.benchmark != stage.benchmark:
            continue
        if points[other.point or config.method["keep"]]["step"] == step:
            record = stages.complete("benchmark", other.key)
            if record is not None:
                return record
    return None


def copy_benchmark(record: StageRecord, out: Path) -> dict[str, Any]:
    """Take over what was measured, files and summary."""
    with storage_errors(out):
        for name in ("items.parquet", "outputs.parquet", "results.json"):
            if (record.path / name).is_file():
                shutil.copy2(record.path / name, out)
    return record.summary


def _candidates(config: RunConfig, stages: StageStore) -> StageRecord:
    record = stages.complete("candidates", config.key("candidates") or "")
    if record is None:
        raise ValueError(f"run {config.run_id} has no weights of a training's course")
    return record
