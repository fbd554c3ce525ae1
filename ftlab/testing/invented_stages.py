"""The artifacts of an invented sweep: small files with the columns of real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ftlab.data.records import Dataset, Example
from ftlab.evaluate.score import score
from ftlab.execute.stages import StageStore
from ftlab.plan import identity
from ftlab.plan.run import RunConfig, StageKey
from ftlab.spec.measures import MEASURES
from ftlab.testing.invented_asked import write_asked
from ftlab.testing.invented_plan import BASE_SCORES, HOSTILE_TEXTS, FakeArm, InventedSweep


def _parquet(path: Path, rows: Sequence[tuple[Any, ...]], **columns: pa.DataType) -> None:
    schema = pa.schema(list(columns.items()))
    values = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    pq.write_table(pa.table([pa.array(v, f.type) for v, f in zip(values, schema, strict=True)], schema=schema), path)


class InventedStages:
    """Writes the stages of a sweep. Which answers are right follows from the arm's accuracy, by generators of their
    own."""

    def __init__(self, sweep: InventedSweep, stages: StageStore) -> None:
        self.sweep = sweep
        self.stages = stages

    def make(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        """Write one stage's files to the folder `out` and return its summary."""
        makers = {
            "dataset": self._dataset,
            "candidates": self._weights,
            "weights": self._weights,
            "predictions": self._predictions,
            "scores": self._scores,
            "benchmark": self._benchmark,
        }
        return makers[stage.kind](run, arm, stage, out)

    def _dataset(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        text, whole = pa.string(), pa.int64()
        for split, rows in self.sweep.splits.items():
            _parquet(
                out / f"{split}.parquet", rows, example_id=text, position=whole, text=text, fields=text, target=text
            )
        (out / "labels.json").write_text(json.dumps(self.sweep.labels))
        counts = {
            label: {split: sum(row[4] == label for row in rows) for split, rows in self.sweep.splits.items()}
            for label in self.sweep.labels
        }
        sizes = {split: len(rows) for split, rows in self.sweep.splits.items()}
        return {"rows": sizes, "dropped_duplicates": 3, "labels": counts, "warnings": []}

    def curve(self, arm: FakeArm) -> list[tuple[int, dict[str, Any]]]:
        """The curve points of an arm's training, by step."""
        draw = self.sweep.random("curve", arm.label)
        points: list[tuple[int, dict[str, Any]]] = []
        for step in range(1, self.sweep.curve_points + 1):
            share = step / self.sweep.curve_points
            loss = 2.6 * (1 - share) ** 2 + 0.7 + draw.uniform(-0.08, 0.08)
            values = {
                "train/loss": loss,
                "train/learning_rate": 5e-4 * (1 - share),
                "train/grad_norm": draw.uniform(0.5, 1.5),
                "train/tokens_per_second": draw.uniform(800, 900),
                "train/memory_bytes": 1.9e9,
                "train/epoch": 2 * share,
            }
            if step in (self.sweep.curve_points // 2, self.sweep.curve_points):
                values["validation/loss"] = loss + 0.1
            points.append((step, values))
        return points

    def _weights(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        rows = [(step, key, value) for step, values in self.curve(arm) for key, value in values.items()]
        _parquet(out / "curves.parquet", rows, step=pa.int64(), key=pa.string(), value=pa.float64())
        (out / "adapter_model.safetensors").write_bytes(b"\0" * 2048)
        full = arm.type == "full"
        return {
            "train_seconds": 95.0 if full else 60.0 + 2 * arm.values.get("r", 0),
            "train_tokens": 51_200,
            "steps": self.sweep.curve_points,
            "trainable_parameters": 134_515_008 if full else 305_152 * arm.values.get("r", 8),
            "total_parameters": 134_515_008,
            "peak_memory_bytes": 3_900_000_000 if full else 1_900_000_000,
            "artifact_bytes": 538_060_032 if full else 1_220_608 * arm.values.get("r", 8),
            "best_step": None,
            "resumed_from_step": None,
            "tokens_per_second": 850.0,
            "stopped_early": False,
            **({"points": self._points(run)} if run.points else {}),
        }

    def _points(self, run: RunConfig) -> dict[str, dict[str, Any]]:
        """Shares of the training where they are; the best at its half."""
        last = self.sweep.curve_points
        steps = dict(zip(run.points, (round(last * share) for share in run.benchmarks.shares()), strict=False))
        known = {"best": last // 2, "last": last}
        named = [*run.points, run.method["keep"]]
        return {
            point: {"folder": f"p{place}", "step": known.get(point, steps.get(point))}
            for place, point in enumerate(named)
        }

    def _predictions(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        rows = []
        tokens = 400 if arm.values.get("shots") else 90
        for example_id, position, _, _, target in self.sweep.splits[stage.name]:
            # One draw for the example's difficulty, shared by all arms: what one gets right, a better one mostly does
            # too.
            difficulty = self.sweep.random("difficulty", example_id).random()
            draw = self.sweep.random("answer", arm.label, run.seed, example_id)
            right = (difficulty if draw.random() < 0.7 else draw.random()) < arm.accuracy
            output = target if right else draw.choice([label for label in self.sweep.labels if label != target])
            if not right and draw.random() < 0.2:
                output = "I am not sure, it depends." if not self.sweep.hostile else HOSTILE_TEXTS[position % 6]
            chosen = arm.values.get("decode") == "choose"
            logprobs = json.dumps({label: -draw.uniform(0.1, 6) for label in self.sweep.labels}) if chosen else None
            rows.append((example_id, output, tokens, 4, 0.004 * tokens / 90, "choice" if chosen else "stop", logprobs))
        text, whole = pa.string(), pa.int64()
        _parquet(
            out / "predictions.parquet",
            rows,
            example_id=text,
            output=text,
            prompt_tokens=whole,
            output_tokens=whole,
            seconds=pa.float64(),
            finish=text,
            label_logprobs=text,
        )
        seconds = sum(row[4] for row in rows)
        total = sum(row[2] + row[3] for row in rows)
        return {
            "examples": len(rows),
            "seconds": seconds,
            "prompt_tokens": sum(row[2] for row in rows),
            "output_tokens": sum(row[3] for row in rows),
            "tokens_per_second": total / seconds if seconds else 0.0,
            "seconds_per_1k": 1000 * seconds / len(rows) if rows else 0.0,
            "shot_ids": [row[0] for row in self.sweep.splits["train"][: arm.values.get("shots", 0)]],
            "truncated": 0,
            "serving_memory_bytes": 1_300_000_000,
            **(
                {"latency_ms": [4.0 * draw.uniform(0.8, 1.6) * tokens / 90 for _ in range(20)]}
                if stage.name == "test"
                else {}
            ),
        }

    def _scores(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        splits = {
            split: [Example(row[0], row[1], row[2], json.loads(row[3]), row[4]) for row in rows]
            for split, rows in self.sweep.splits.items()
        }
        dataset = Dataset(splits, self.sweep.labels)
        key = run.key("predictions", stage.name)
        assert key is not None
        return score(dataset, self.stages.path("predictions", key), self.sweep.task, out)[0]

    def _benchmark(self, run: RunConfig, arm: FakeArm, stage: StageKey, out: Path) -> dict[str, Any]:
        if stage.benchmark in MEASURES:
            return write_asked(self.sweep, arm, stage.benchmark, stage.key, out)
        rows = []
        base = BASE_SCORES.get(stage.benchmark, 0.5)
        for item in range(self.sweep.items):
            easy = self.sweep.random("item", stage.benchmark, item).random() < base
            lost = easy and self.sweep.random("lost", stage.key, item).random() < arm.forgetting / base
            doc = identity.digest([stage.benchmark, item], 16)
            right = float(easy and not lost)
            asked = HOSTILE_TEXTS[item % len(HOSTILE_TEXTS)] if self.sweep.hostile else f"question {item}"
            made = (
                doc,
                item,
                "[-1.2, -3.4]",
                "0",
                int(not right),
                asked,
                json.dumps([f"right {item}", f"wrong {item}"]),
            )
            rows += [(*made[:2], metric, right, *made[2:]) for metric in ("acc", "acc_norm")]
        text, whole = pa.string(), pa.int64()
        _parquet(
            out / "items.parquet",
            rows,
            doc_hash=text,
            doc_id=whole,
            metric=text,
            score=pa.float64(),
            logliks=text,
            target=text,
            choice=whole,
            question=text,
            choices=text,
        )
        (out / "results.json").write_text("{}")
        value = sum(row[3] for row in rows) / len(rows) if rows else 0.0
        error = (value * (1 - value) / max(1, self.sweep.items)) ** 0.5
        figures = {
            "value": value,
            "stderr": error,
            "low": value - 1.96 * error,
            "high": value + 1.96 * error,
            "n": self.sweep.items,
        }
        return {
            "task": stage.benchmark,
            "version": "1",
            "metrics": {"acc": figures, "acc_norm": figures},
            "primary": "acc_norm",
            "seconds": 12.5,
            "samples": self.sweep.items,
            "lm_eval": "0.4.13",
        }
