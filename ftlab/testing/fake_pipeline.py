"""A pipeline that sleeps instead of computing, and writes small artifacts of the real form, equal for equal configs.

It takes the fields of a fake method (`ftlab.testing.fakes`) from the run's method, and for any other method from the
environment: FTLAB_FAKE='{"*": {"seconds": 0.1}, "lora": {"fault": "error"}}', by the method's name in the spec.

`loss` adds a validation loss to every step's point, so much above the training loss; the name of a field of the method
stands for that field's value.

Every beginning and end of a computation is a line of `work.log` in the results folder, so that a test can count work:
{"what": "begin"|"end", "kind", "name", "key", "run_id", "pid", "ts"}.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

from ftlab.errors import UsageError
from ftlab.events import EventType, Reporter
from ftlab.execute.pipeline import Summary
from ftlab.plan.run import RunConfig, StageKind
from ftlab.spec.metrics import metric_keys

LABELS = ("red", "green", "blue")
ROWS = {"train": 12, "validation": 24, "test": 6}
ITEMS = 20
STEPS = 5
DAY = 86_400.0
WORK_LOG = "work.log"
ENVIRONMENT = "FTLAB_FAKE"
DEFAULTS = {"seconds": 0.0, "quality": 0.5, "fault": "none", "fault_in": "predictions", "fault_times": 0, "loss": None}


class FakePipeline:
    """See the module. `ftlab.testing.fakes` has the methods it understands."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def dataset(self, config: RunConfig, out: Path, report: Reporter) -> Summary:
        """Three splits of questions whose answers are colours, one fold of the first two held out where there are."""
        self._begin(config, "dataset", "", out)
        splits = {split: [_example(split, position) for position in range(count)] for split, count in ROWS.items()}
        if config.fold is not None:
            pool = splits["train"] + splits["validation"]
            splits["train"] = [row for at, row in enumerate(pool) if at % len(config.folds) != config.fold]
            splits["validation"] = pool[config.fold :: len(config.folds)]
        for split, examples in splits.items():
            _write(out / f"{split}.parquet", examples)
        (out / "labels.json").write_text(json.dumps(LABELS))
        rows = {split: len(examples) for split, examples in splits.items()}
        labels = {label: {split: count // 3 for split, count in rows.items()} for label in LABELS}
        self._end(config, "dataset", "", out)
        return {"rows": rows, "dropped_duplicates": 0, "labels": labels, "warnings": []}

    def weights(
        self,
        config: RunConfig,
        dataset: Path,
        out: Path,
        checkpoints: Path,
        report: Reporter,
        start: Path | None = None,
    ) -> Summary:
        """A falling loss, one point per step; a checkpoint after each, continued from when there is one."""
        self._begin(config, "weights", "", out)
        checkpoints.mkdir(exist_ok=True)
        saved = checkpoints / "step"
        first = int(saved.read_text()) if saved.exists() else 0
        for step in range(first + 1, STEPS + 1):
            time.sleep(fields(config)["seconds"] / STEPS)
            report(EventType.PROGRESS, phase="train", done=step, total=STEPS, unit="steps", loss=_loss(step))
            report(EventType.CURVE, **_point(config, step))
            saved.with_suffix(".tmp").write_text(str(step))
            saved.with_suffix(".tmp").rename(saved)
        points = [{"step": step, "key": "train/loss", "value": _loss(step)} for step in range(1, STEPS + 1)]
        _write(out / "curves.parquet", points)
        (out / "adapter_model.safetensors").write_bytes(_digest(config, "weights"))
        self._end(config, "weights", "", out)
        return {
            "train_seconds": fields(config)["seconds"],
            "train_tokens": 1000,
            "steps": STEPS,
            "trainable_parameters": 100,
            "total_parameters": 1000,
            "peak_memory_bytes": 1_000_000,
            "artifact_bytes": 32,
            "best_step": None,
            "resumed_from_step": first or None,
            "tokens_per_second": 1000.0,
            "stopped_early": False,
            **(self._points(config, out) if config.points else {}),
        }

    def _points(self, config: RunConfig, out: Path) -> Summary:
        """The weights of every point, each of its own, in folders; the result's are those of a run without points."""
        result = out / "adapter_model.safetensors"
        points = {}
        for place, point in enumerate([*config.points, config.method["keep"]]):
            folder = out / f"p{place}"
            folder.mkdir()
            (folder / result.name).write_bytes(_digest(config, f"weights {point}"))
            points[point] = {"folder": folder.name, "step": min(STEPS, place + 1)}
        (folder / result.name).write_bytes(result.read_bytes())
        points[config.method["keep"]]["step"] = STEPS
        result.unlink()
        return {"points": points}

    def predictions(
        self, config: RunConfig, split: str, dataset: Path, weights: Path | None, out: Path, report: Reporter
    ) -> Summary:
        """The right label where the config's digest says so, else a wrong one, else nothing that is a label."""
        self._begin(config, "predictions", split, out)
        self._work(config, "predict", ROWS[split], report)
        rows = [_prediction(config, example) for example in _read(dataset / f"{split}.parquet")]
        _write(out / "predictions.parquet", rows)
        self._end(config, "predictions", split, out)
        return {
            "examples": len(rows),
            "seconds": 0.5,
            "prompt_tokens": 10 * len(rows),
            "output_tokens": 2 * len(rows),
            "tokens_per_second": 24.0 * len(rows),
            "seconds_per_1k": 500.0 / len(rows),
            "shot_ids": [],
            "truncated": 0,
            "serving_memory_bytes": 500_000,
            **_latencies(config, split),
        }

    def scores(
        self, config: RunConfig, split: str, dataset: Path, predictions: Path, out: Path, report: Reporter
    ) -> Summary:
        """accuracy, valid_format, and for any other metric the accuracy again, each with its Wilson interval."""
        self._begin(config, "scores", split, out)
        targets = {row["example_id"]: row["target"] for row in _read(dataset / f"{split}.parquet")}
        metrics = metric_keys(config.task.metrics)
        scored = []
        for row in _read(predictions / "predictions.parquet"):
            parsed = row["output"] if row["output"] in LABELS else None
            hits = {"accuracy": parsed == targets[row["example_id"]], "valid_format": parsed is not None}
            for metric in metrics:
                ids = {"example_id": row["example_id"], "metric": metric}
                scored.append({**ids, "score": float(hits.get(metric, hits["accuracy"])), "parsed": parsed})
        _write(out / "scores.parquet", scored)
        by_metric = {name: [row["score"] for row in scored if row["metric"] == name] for name in metrics}
        rows = [_metric(name, scores) for name, scores in by_metric.items()]
        (out / "metrics.json").write_text(json.dumps(rows))
        (out / "details.json").write_text(json.dumps({"confusion": {"labels": LABELS, "counts": []}, "per_class": {}}))
        self._end(config, "scores", split, out)
        return {"metrics": {row["key"]: row["value"] for row in rows}}

    def benchmark(self, config: RunConfig, task: str, weights: Path | None, out: Path, report: Reporter) -> Summary:
        """Items that are right more often than not."""
        self._begin(config, "benchmark", task, out)
        self._work(config, "benchmark", ITEMS, report)
        seed = "base" if weights is None else json.dumps(config.method, sort_keys=True)
        items = [_item(f"{task} {item}", item, seed) for item in range(ITEMS)]
        _write(out / "items.parquet", items)
        (out / "results.json").write_text("{}")
        figures = _metric("acc", [item["score"] for item in items])
        acc = {"value": figures["value"], "stderr": 0.1, "low": figures["low"], "high": figures["high"], "n": ITEMS}
        self._end(config, "benchmark", task, out)
        return {
            "task": task,
            "version": "fake",
            "metrics": {"acc": acc},
            "primary": "acc",
            "seconds": 0.1,
            "samples": ITEMS,
            "lm_eval": "none",
        }

    def close(self) -> None:
        """Nothing is held."""

    def _work(self, config: RunConfig, phase: str, total: int, report: Reporter) -> None:
        for step in range(STEPS):
            report(EventType.PROGRESS, phase=phase, done=total * step // STEPS, total=total, unit="examples")
            time.sleep(fields(config)["seconds"] / STEPS)

    def _begin(self, config: RunConfig, kind: StageKind, name: str, out: Path) -> None:
        _log(config, "begin", kind, name, out)
        method = fields(config)
        if method["fault"] == "none" or method["fault_in"] != kind:
            return
        if not method["fault_times"] or _times_begun(config, kind, name, out) <= method["fault_times"]:
            _go_wrong(method["fault"])

    def _end(self, config: RunConfig, kind: StageKind, name: str, out: Path) -> None:
        _log(config, "end", kind, name, out)


def fields(config: RunConfig) -> dict[str, Any]:
    """What the fake is told: by the method itself, else by the environment, else the defaults."""
    told = json.loads(os.environ.get(ENVIRONMENT, "{}"))
    own = {name: config.method[name] for name in DEFAULTS if name in config.method}
    return {**DEFAULTS, **told.get("*", {}), **told.get(config.method_name, {}), **own}


def _go_wrong(fault: str) -> None:
    match fault:
        case "error":
            raise RuntimeError("the fake was told to fail")
        case "usage":
            raise UsageError("the fake has no column 'answer'; name one of: question")
        case "oom":
            raise MemoryError
        case "disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(3600)
        case "clock":
            right = time.time
            time.time = lambda: right() - DAY


def _log(config: RunConfig, what: str, kind: StageKind, name: str, out: Path) -> None:
    key = config.key(kind, name)
    line = {"what": what, "kind": kind, "name": name, "key": key, "run_id": config.run_id, "pid": os.getpid()}
    with (_results(out) / WORK_LOG).open("a") as file:
        file.write(json.dumps({**line, "ts": time.time()}) + "\n")


def _times_begun(config: RunConfig, kind: StageKind, name: str, out: Path) -> int:
    """How often this run has begun this stage, now included."""
    wanted = ("begin", config.key(kind, name), config.run_id)
    return sum((line["what"], line["key"], line["run_id"]) == wanted for line in read_work(_results(out)))


def _results(out: Path) -> Path:
    """The results folder that a stage's folder is in: stages/<kind>/<key>.tmp-<x>."""
    return out.parents[2]


def read_work(results: Path) -> list[dict[str, Any]]:
    """The lines of the work log, oldest first."""
    log = results / WORK_LOG
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _latencies(config: RunConfig, split: str) -> Summary:
    """Single requests where a real run would time them: 20 to 29 ms, the same for every arm."""
    wanted = config.execute.latency_requests or (20 if split == "test" else 0)
    return {"latency_ms": [20.0 + place % 10 for place in range(wanted)]} if wanted else {}


def _example(split: str, position: int) -> dict[str, Any]:
    target = LABELS[position % len(LABELS)]
    text = f"{split} question {position}: what colour?"
    example_id = hashlib.sha256(text.encode()).hexdigest()[:16]
    fields = json.dumps({"question": text, "label": target})
    return {"example_id": example_id, "position": position, "text": text, "fields": fields, "target": target}


def _prediction(config: RunConfig, example: dict[str, Any]) -> dict[str, Any]:
    model = f"{config.seed}{'' if config.fold is None else f' {config.fold}'}"
    chance = _chance(example["example_id"], json.dumps(config.method, sort_keys=True), model)
    wrong = LABELS[(LABELS.index(example["target"]) + 1) % len(LABELS)]
    output = example["target"] if chance < fields(config)["quality"] else wrong if chance < 0.95 else "no idea"
    costs = {"prompt_tokens": 10, "output_tokens": 2, "seconds": 0.02, "finish": "stop"}
    return {"example_id": example["example_id"], "output": output, **costs, "label_logprobs": None}


def _item(text: str, doc_id: int, seed: str) -> dict[str, Any]:
    right = _chance(text, seed) < 0.7
    ids = {"doc_hash": hashlib.sha256(text.encode()).hexdigest(), "doc_id": doc_id, "metric": "acc"}
    return {**ids, "score": float(right), "logliks": "[-1.0, -2.0]", "target": "0", "choice": 0 if right else 1}


def _metric(key: str, scores: list[float]) -> dict[str, Any]:
    n, value, z = len(scores), sum(scores) / len(scores), 1.96
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    interval = {"low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": n, "interval": "Wilson"}
    return {"key": key, "value": value, "unit": "share", "direction": "higher", **interval}


def _point(config: RunConfig, step: int) -> dict[str, Any]:
    """A step's point of the curve; a validation loss, and that of every row, where the fake is told one."""
    values, told = {"train/loss": _loss(step)}, fields(config)["loss"]
    if told is None:
        return {"step": step, "values": values}
    loss = float(config.method[told] if isinstance(told, str) else told)
    spent = {"cost/train_tokens": 200.0 * step, "cost/train_seconds": fields(config)["seconds"] * step / STEPS}
    shown = loss + _loss(step)
    rows = [shown + row / 1000 for row in range(ROWS["validation"])]
    return {"step": step, "values": {**values, "validation/loss": shown, **spent}, "scores": rows}


def _loss(step: int) -> float:
    return 2.0 / step


def _digest(config: RunConfig, what: str) -> bytes:
    return hashlib.sha256(f"{what} {config.seed} {json.dumps(config.method, sort_keys=True)}".encode()).digest()


def _chance(*parts: str) -> float:
    """A number in [0, 1) that is the same for the same parts."""
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:6]) / 2**48


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows)
    nulls = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in table.schema]
    pq.write_table(table.cast(pa.schema(nulls)), path)


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows
