"""Made-up results of the benchmarks that ftlab asks itself: the files of real ones, with invented answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ftlab.evaluate.asked import doc_hash, figures, item_rows
from ftlab.evaluate.behaviour import MOST_TOKENS, OUTPUTS_FILE, prompts
from ftlab.evaluate.bench_items import write_items
from ftlab.spec.measures import BEHAVIOUR, MEASURES, SIZES
from ftlab.testing.invented_plan import HOSTILE_TEXTS, FakeArm, InventedSweep

_WORDS = ("the", "sea", "is", "calm", "and", "bread", "rises", "slowly", "in", "a", "warm", "room", "today")


def write_asked(sweep: InventedSweep, arm: FakeArm, task: str, key: str, out: Path) -> dict[str, Any]:
    """Write the stage of one arm; returns its summary. What `forgetting` takes away shows in every measure."""
    size = min(sweep.items, SIZES[task])
    if task == BEHAVIOUR:
        texts, scores = _behaviour(sweep, arm, key, size, out)
    else:
        texts, scores = _neutral(sweep, arm, task, key, size)
    items = item_rows(texts, scores)
    write_items(items, out / "items.parquet")
    return {
        "task": task,
        "version": "1",
        "metrics": {measure.metric: figures(measure, items) for measure in MEASURES[task]},
        "primary": MEASURES[task][0].metric,
        "seconds": 12.5,
        "samples": size,
        "chance": None,
    }


def _neutral(
    sweep: InventedSweep, arm: FakeArm, task: str, key: str, size: int
) -> tuple[list[str], list[dict[str, float | None]]]:
    texts = [f"passage {item} of {task}" for item in range(size)]
    scores: list[dict[str, float | None]] = []
    for item in range(size):
        loss = sweep.random("item", task, item).uniform(2.5, 3.5)
        if arm.forgetting:
            loss += 4 * arm.forgetting + sweep.random("lost", key, item).uniform(-0.02, 0.02)
        scores.append({"nats_per_token": loss, "nats_per_byte": loss / 4})
    return texts, scores


def _behaviour(
    sweep: InventedSweep, arm: FakeArm, key: str, size: int, out: Path
) -> tuple[list[str], list[dict[str, float | None]]]:
    scores: list[dict[str, float | None]] = []
    answers, asked = [], prompts()[:size]
    for item, each in enumerate(asked):
        before, after = sweep.random("item", BEHAVIOUR, item), sweep.random("lost", key, item)
        able, long = before.random() < 0.6, before.randint(10, MOST_TOKENS)
        lost = after.random() < 5 * arm.forgetting
        words = max(2, long // 3) if lost else long
        text = " ".join(before.choice(_WORDS) for _ in range(words))
        answers.append(f"{text} {HOSTILE_TEXTS[item % len(HOSTILE_TEXTS)]}" if sweep.hostile else text)
        scores.append(
            {
                "instructions": float(able and not lost) if each.instructions else None,
                "format": float(able and not lost) if each.format else None,
                "length": float(words),
                "refusal": float(before.random() < 0.05),
                "repetition": before.uniform(0.0, 0.2) if words > 4 else None,
            }
        )
    texts = [each.prompt for each in asked]
    columns = {
        "doc_hash": pa.array([doc_hash(text) for text in texts], pa.string()),
        "doc_id": pa.array(range(size), pa.int64()),
        "prompt": pa.array(texts, pa.string()),
        "output": pa.array(answers, pa.string()),
        "output_tokens": pa.array([int(score["length"] or 0) for score in scores], pa.int64()),
        "finish": pa.array(["stop"] * size, pa.string()),
    }
    pq.write_table(pa.table(columns), out / OUTPUTS_FILE)
    return texts, scores
