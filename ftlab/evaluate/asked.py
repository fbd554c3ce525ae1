"""Benchmarks that ftlab asks itself, without lm-eval: what they have in common, and the summary that each leaves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ftlab.events import Reporter
from ftlab.plan.identity import digest
from ftlab.spec.measures import MEASURES, Measure
from ftlab.text import SHARE

if TYPE_CHECKING:
    from ftlab.evaluate.bench_items import Item
    from ftlab.models.load import LoadedModel


@runtime_checkable
class AskedBenchmark(Protocol):
    """A benchmark whose measures `ftlab.spec.measures` lists under its task's name."""

    @property
    def task(self) -> str:
        """Its name in a spec, `builtin:` included."""

    def version(self) -> str:
        """What the result depends on besides the model. Light: no torch."""

    def fetch(self, report: Reporter = ...) -> Any:
        """Bring what it needs from outside. Raises FetchError."""

    def ask(
        self, model: Any, loaded: LoadedModel, limit: int | None, out: Path, report: Reporter, batch_tokens: int
    ) -> list[Item]:
        """The scores of the first `limit` items (all when None), one row for each item and measure that it has.

        More files may be written to `out`. Equal weights give equal rows.
        """


def run_asked(
    benchmark: AskedBenchmark,
    model: Any,
    loaded: LoadedModel,
    limit: int | None,
    out: Path,
    report: Reporter,
    batch_tokens: int,
) -> dict[str, Any]:
    """Ask a benchmark, write items.parquet and summary.json to `out`, and return the summary."""
    from ftlab.evaluate.bench_items import write_items

    started = time.perf_counter()
    items = benchmark.ask(model, loaded, limit, out, report, batch_tokens)
    write_items(items, out / "items.parquet")
    measures = MEASURES[benchmark.task]
    summary = {
        "task": benchmark.task,
        "version": benchmark.version(),
        "metrics": {measure.metric: figures(measure, items) for measure in measures},
        "primary": measures[0].metric,
        "samples": len({item["doc_hash"] for item in items}),
        "group": " and ".join(dict.fromkeys(measure.group for measure in measures if measure.gated)),
        "chance": None,
        "rows_dropped": 0,
        "seconds": time.perf_counter() - started,
    }
    (out / "summary.json").write_text(json.dumps(summary, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return summary


def figures(measure: Measure, items: Sequence[Item]) -> dict[str, Any]:
    """The mean of a measure over the items that have it, with its interval over the choice of items."""
    from ftlab.evaluate.bench_items import SEED
    from ftlab.statistics.intervals import bootstrap_mean, wilson

    scores = [item["score"] for item in items if item["metric"] == measure.metric]
    whole = measure.unit == SHARE and all(score in (0.0, 1.0) for score in scores)
    found = wilson(int(sum(scores)), len(scores)) if whole else bootstrap_mean(scores, SEED)
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": len(scores) or None,
        "unit": measure.unit,
        "direction": measure.direction,
        "interval": found.method,
    }


def item_rows(texts: Sequence[str], scores: Iterable[dict[str, float | None]]) -> list[Item]:
    """The rows of items.parquet: an item is known by the hash of its text; a score that is None has no row."""
    return [
        {
            "doc_hash": doc_hash(text),
            "doc_id": index,
            "metric": metric,
            "score": score,
            "logliks": None,
            "target": "",
            "choice": None,
            "question": text,
            "choices": None,
        }
        for index, (text, found) in enumerate(zip(texts, scores, strict=True))
        for metric, score in found.items()
        if score is not None and math.isfinite(score)
    ]


def doc_hash(text: str) -> str:
    """What an item is joined by between two models."""
    return digest(text)
