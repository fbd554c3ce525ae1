"""Execute one run: walk through its stages, compute what is missing, and tell the journal all of it.

A cached stage is reported as fully as a computed one (its curves, its metrics, the seconds it once took), so that the
ledger shows every run whole whoever did the work. A model is loaded by the first stage that must be computed with one,
so a run whose predictions are on disk is rescored without.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ftlab.errors import UsageError
from ftlab.events import EventType, Reporter
from ftlab.execute.course import CURVES_FILE, copy_benchmark, measured_already, point_folder, take_result
from ftlab.execute.pipeline import Pipeline, Summary
from ftlab.execute.stages import StageRecord, StageStore
from ftlab.plan.run import RunConfig, StageKey

METRICS_FILE = "metrics.json"


def execute_run(config: RunConfig, stages: StageStore, pipeline: Pipeline, attempt: Path, report: Reporter) -> None:
    """Bring every stage of `config` to completion, in the plan's order. What a stage raises goes through."""
    for stage in config.stages:
        report(EventType.STAGE_STARTED, kind=stage.kind, name=stage.name, key=stage.key)
        record = stages.produce(
            stage.kind,
            stage.key,
            _computation(config, stage, stages, pipeline, attempt, report),
            on_wait=_waiting(stage, report),
            whole=_files_needed(config, stage, stages),
        )
        folder = stages.path(stage.kind, stage.key)
        _report_curves(config, stage, record, folder, report)
        _report_warnings(config, stage, record, report)
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
            report(EventType.METRICS, split=stage.name, rows=json.loads((folder / METRICS_FILE).read_bytes()))


def _files_needed(config: RunConfig, stage: StageKey, stages: StageStore) -> bool:
    """Whether a later stage of the run has yet to read this one's files. Of weights that were removed to save space,
    what is known suffices as long as nothing new is asked of them."""
    if stage.kind not in ("weights", "candidates"):
        return True
    if stage.kind == "weights":
        readers = [one for one in config.stages if one.kind in ("predictions", "benchmark") and not one.point]
    else:
        readers = [one for one in config.stages if one.kind == "weights" or one.point]
    for reader in readers:
        record = stages.complete(reader.kind, reader.key)
        if record is None or (record.collected and _files_needed(config, reader, stages)):
            return True
    return False


def _computation(
    config: RunConfig, stage: StageKey, stages: StageStore, pipeline: Pipeline, attempt: Path, report: Reporter
) -> Callable[[Path], Summary]:
    """The function of the pipeline that computes `stage`, given the folders of the stages it reads."""

    def folder(kind: str, name: str = "") -> Path:
        return stages.path(kind, _key(config, kind, name))

    def weights() -> Path | None:
        return folder("weights") if config.key("weights") else None

    def start() -> Path | None:
        warm = config.warm_start
        return None if warm is None or config.start is None else whole_weights(stages, config.start, warm.run_id)

    def compute(out: Path) -> Summary:
        match stage.kind:
            case "dataset":
                return pipeline.dataset(config, out, report)
            case "weights" if config.key("candidates"):
                return take_result(config, stages, out)
            case "candidates" | "weights":
                return pipeline.weights(config, folder("dataset"), out, attempt / "checkpoints", report, start())
            case "predictions":
                return pipeline.predictions(config, stage.name, folder("dataset"), weights(), out, report)
            case "scores":
                predictions = folder("predictions", stage.name)
                return pipeline.scores(config, stage.name, folder("dataset"), predictions, out, report)
            case "benchmark" if stage.point:
                if (same := measured_already(config, stage, stages)) is not None:
                    return copy_benchmark(same, out)
                kept = point_folder(config, stages, stage.point)
                return pipeline.benchmark(config, stage.benchmark, kept, out, report)
            case "benchmark":
                return pipeline.benchmark(config, stage.name, weights(), out, report)

    return compute


def whole_weights(stages: StageStore, key: str, run_id: str) -> Path:
    """The folder of a run's weights, every file of it verified. Raises UsageError saying how to get them back."""
    record = stages.complete("weights", key, verify=True)
    if record is None:
        raise UsageError(f"run {run_id} has no whole weights to start from; finish it first: ftlab resume")
    if record.collected:
        raise UsageError(
            f"the weights of run {run_id} were removed by `ftlab gc`; train them again: ftlab retry --run {run_id}"
        )
    return record.path


def _key(config: RunConfig, kind: Any, name: str) -> str:
    key = config.key(kind, name)
    if key is None:
        raise ValueError(f"run {config.run_id} has no stage {kind} {name}".rstrip())
    return key


def _waiting(stage: StageKey, report: Reporter) -> Callable[[], None]:
    def on_wait() -> None:
        report(EventType.PROGRESS, phase="wait", done=0, total=0, unit="", name=f"{stage.kind} {stage.name}".rstrip())

    return on_wait


def _trains(config: RunConfig, stage: StageKey) -> bool:
    """Whether this is the stage in which the run's training happens."""
    return stage.kind == ("candidates" if config.key("candidates") else "weights")


def _report_curves(config: RunConfig, stage: StageKey, record: StageRecord, folder: Path, report: Reporter) -> None:
    """Tell the curve points that this attempt's journal lacks: all of a cached training, or those before a resume."""
    if not _trains(config, stage) or not (folder / CURVES_FILE).exists():
        return
    resumed_from = record.summary.get("resumed_from_step") or 0
    if not record.cached and not resumed_from:
        return
    for step, values in _curve_points(folder / CURVES_FILE):
        if record.cached or step <= resumed_from:
            report(EventType.CURVE, step=step, values=values)


def _report_warnings(config: RunConfig, stage: StageKey, record: StageRecord, report: Reporter) -> None:
    """Tell what went less than well in work that this attempt has not done: its journal is all that is shown of it."""
    if record.cached and (stage.kind == "predictions" or _trains(config, stage)):
        for found in record.summary.get("warnings", []):
            report(EventType.WARNING, code=found["code"], message=found["message"], step=found["step"])


def _curve_points(file: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """The points of a curves file, one dict of values per step, steps rising."""
    import pyarrow.parquet

    points: dict[int, dict[str, float]] = {}
    for row in pyarrow.parquet.read_table(file, columns=["step", "key", "value"]).to_pylist():
        points.setdefault(row["step"], {})[row["key"]] = row["value"]
    yield from sorted(points.items())
