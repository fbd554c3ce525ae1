"""A ledger in memory, filled by hand: every number in it is known to the test that made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from ftlab.store.migrations import migrate

EXPERIMENT = "exp-000001"
BASE = "builtin:tiny"


@dataclass
class FakeArm:
    """One arm: per-example results of each seed (True, False, or None for no score), and its benchmark items."""

    name: str
    family: str
    results: Sequence[Sequence[bool | None]]
    items: dict[str, Sequence[float]] = field(default_factory=dict)
    status: str = "complete"
    reason: str | None = None
    train_seconds: float = 100.0
    seconds_per_1k: float = 10.0
    invalid: int = 0
    """The first so many outputs are no label."""
    label: str = ""


class SmallLedger:
    """An open ledger with one experiment."""

    def __init__(
        self,
        arms: Sequence[FakeArm],
        *,
        benchmarks: Sequence[str] = (),
        metrics: Sequence[str] = ("accuracy", "macro_f1", "valid_format"),
        chance: float | None = None,
        folds: int | None = None,
        **decision: Any,
    ) -> None:
        self.connection = duckdb.connect()
        migrate(self.connection, "memory")
        self.benchmarks = tuple(benchmarks)
        self.metrics = tuple(metrics)
        self.chance = chance
        self.folds = folds
        self.decision = {
            "metric": "accuracy",
            "min_gain": 0.02,
            "max_forgetting": 0.02,
            "min_valid_format": None,
        } | decision
        self._benchmarked: set[str] = set()
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._experiment(arms)
        size = max(len(seed) for arm in arms for seed in arm.results)
        for row in range(size):
            target = "yes" if row % 2 else "no"
            dataset = "d" if folds is None else f"d{row % folds}"
            self.insert("examples", dataset, "validation", row, f"e{row:04d}", f"text {row}", "{}", target)
        for position, arm in enumerate(arms):
            self.add(arm, position)
        self.flush()

    def insert(self, table: str, *values: Any) -> None:
        """One row, its first columns in order; `flush` writes it."""
        self._rows.setdefault(table, []).append(values)

    def flush(self) -> None:
        """Write what was inserted, a table at a time: single inserts are slow."""
        for table, rows in self._rows.items():
            described = self.connection.execute(f"SELECT * FROM {table} LIMIT 0").description[: len(rows[0])]
            columns = {name[0]: list(values) for name, values in zip(described, zip(*rows, strict=True), strict=True)}
            self.connection.register("inserted", pa.table(columns))
            self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM inserted")
            self.connection.unregister("inserted")
        self._rows = {}

    def add(self, arm: FakeArm, position: int) -> None:
        """One more arm with all its runs."""
        label = arm.label or arm.name
        self.insert(
            "arms", f"a-{arm.name}", EXPERIMENT, position, arm.name, arm.family, label, BASE, "rev", '{"type": "x"}',
            "{}", "spec.yaml:1:1", True,
        )  # fmt: skip
        for seed, results in enumerate(arm.results):
            if self.folds is None:
                self._run(arm, position, seed, results)
            for fold in range(self.folds or 0):
                held_out = [result if row % (self.folds or 1) == fold else None for row, result in enumerate(results)]
                self._run(arm, position, seed, held_out, fold)
        self.flush()

    def rows(self) -> list[tuple[Any, ...]]:
        """Every comparison, ordered."""
        return self.connection.execute("SELECT * FROM comparisons ORDER BY ALL").fetchall()

    def _experiment(self, arms: Sequence[FakeArm]) -> None:
        model = {"source": BASE, "revision": "rev", "dtype": "float32", "folder": None}
        data = {"source": "builtin:rows", "files": None, "splits": {"folds": self.folds}}
        plan = {
            "task": {"metrics": list(self.metrics), "labels": None},
            "decision": self.decision,
            "benchmarks": {"tasks": list(self.benchmarks)},
            "arms": [{"model": model} for _ in arms],
            "runs": [{"data": {"spec": data, "content": "c0ffee"}, "stages": []}],
        }
        self.insert("experiments", EXPERIMENT, "exp", "Which?", "name: exp", "hash", json.dumps(plan), 1_000.0)

    def _run(
        self, arm: FakeArm, position: int, seed: int, results: Sequence[bool | None], fold: int | None = None
    ) -> None:
        run_id = f"r-{arm.name}-{seed}" if fold is None else f"r-{arm.name}-{seed}-{fold}"
        done = bool(results)
        self.insert(
            "runs", run_id, EXPERIMENT, f"a-{arm.name}", seed, position, arm.status, arm.reason, 1, 1_100.0, 1_200.0,
            json.dumps({"fold": fold}), True,
        )  # fmt: skip
        self.insert("attempts", run_id, 1, arm.status, arm.reason, None, 1, "host", 1_100.0, 1_200.0 + position)
        trained = arm.family != "prompt"
        keys = {
            ("dataset", ""): "d" if fold is None else f"d{fold}",
            ("predictions", "validation"): f"p-{run_id}",
            ("scores", "validation"): f"s-{run_id}",
        }
        if trained:
            keys["weights", ""] = f"w-{run_id}"
        for task in self.benchmarks:
            keys["benchmark", task] = f"b-{run_id}-{task}" if trained else f"b-base-{task}"
        for place, ((kind, name), key) in enumerate(keys.items()):
            complete = done and (kind != "benchmark" or not trained or task_done(arm, name))
            self.insert(
                "run_stages", run_id, place, kind, name, key, "complete" if complete else "planned", False, 1.0, 1
            )
        if done:
            self._results(arm, run_id, results, trained)

    def _results(self, arm: FakeArm, run_id: str, results: Sequence[bool | None], trained: bool) -> None:
        known = [result for result in results if result is not None]
        values = {"accuracy": sum(known) / len(known), "valid_format": 1 - arm.invalid / len(results), "macro_f1": 0.5}
        for metric in self.metrics:
            value = values[metric]
            self.insert(
                "metrics", run_id, "validation", metric, value, max(0.0, value - 0.05), min(1.0, value + 0.05),
                len(known), "share", "higher", "Wilson", 1, 0,
            )  # fmt: skip
        for row, result in enumerate(results):
            target, other = ("yes", "no") if row % 2 else ("no", "yes")
            output = "?" if row < arm.invalid else target if result else other
            parsed = None if output == "?" else output
            self.insert("predictions", f"p-{run_id}", f"e{row:04d}", output, 10, 1, 0.01, "stop")
            if result is None:
                continue
            for metric in self.metrics:
                score = {"accuracy": float(result), "valid_format": float(parsed is not None)}.get(metric)
                self.insert("scores", f"s-{run_id}", f"e{row:04d}", metric, score, parsed)
        served = {"tokens_per_second": 500.0, "serving_memory_bytes": 6 * 10**8}
        self.stage("predictions", f"p-{run_id}", served | {"seconds_per_1k": arm.seconds_per_1k})
        if trained:
            weights = {"train_seconds": arm.train_seconds, "train_tokens": 1000, "peak_memory_bytes": 10**9}
            self.stage(
                "weights", f"w-{run_id}", weights | {"trainable_parameters": 921_600, "artifact_bytes": 3_700_000}
            )
        for task in self.benchmarks:
            self._benchmark(task, f"b-{run_id}-{task}" if trained else f"b-base-{task}", arm.items.get(task, ()))

    def _benchmark(self, task: str, key: str, items: Sequence[float]) -> None:
        if not items or key in self._benchmarked:
            return
        self._benchmarked.add(key)
        value = sum(items) / len(items)
        summary: dict[str, Any] = {
            "metrics": {"acc": {"value": value, "low": value - 0.1, "high": value + 0.1, "n": len(items)}}
        }
        if self.chance is not None:
            summary["chance"] = self.chance
        self.stage("benchmark", key, summary)
        for item, score in enumerate(items):
            self.insert("bench_items", key, task, f"doc{item:04d}", item, "acc", float(score))

    def stage(self, kind: str, key: str, summary: dict[str, Any]) -> None:
        """One complete stage."""
        self.insert("stages", kind, key, 1.0, 100, json.dumps(summary), 1_150.0, True)


def task_done(arm: FakeArm, task: str) -> bool:
    """Whether the arm's benchmark was measured."""
    return task in arm.items


def outcomes(n: int, right: int, *, shift: int = 0) -> list[bool]:
    """`right` of `n` examples right: the first ones, moved by `shift`."""
    return [(row - shift) % n < right for row in range(n)]
