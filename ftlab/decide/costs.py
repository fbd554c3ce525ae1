"""What each arm costs, from the summaries of its stages: as measured, mean over its seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from ftlab.decide.facts import ArmFacts
from ftlab.decide.view import Cost, Estimate

Summaries = Mapping[tuple[str, str], Mapping[str, Any]]
"""Stage summaries by (kind, key)."""


def read_summaries(cursor: duckdb.DuckDBPyConnection, arms: Iterable[ArmFacts]) -> Summaries:
    """The summaries of every complete stage of these arms."""
    keys = {run.stages[stage] for arm in arms for run in arm.runs for stage in run.done}
    rows = cursor.execute(
        "SELECT kind, key, summary_json FROM stages WHERE key IN (SELECT unnest(?::VARCHAR[]))", [sorted(keys)]
    ).fetchall()
    return {(kind, key): json.loads(text) for kind, key, text in rows}


def cost_of(arm: ArmFacts, split: str, summaries: Summaries) -> Cost:
    """An arm's cost. A prompting arm trains nothing: its training figures are zero, not missing."""
    predictions = [
        summaries[stage] for key in arm.keys("predictions", split) if (stage := ("predictions", key)) in summaries
    ]
    serving = {
        "prediction_tokens_per_second": _mean(predictions, "tokens_per_second"),
        "seconds_per_1k_requests": _mean(predictions, "seconds_per_1k"),
        "prompt_tokens_per_request": _mean_share(predictions, "prompt_tokens", "examples"),
        "output_tokens_per_request": _mean_share(predictions, "output_tokens", "examples"),
    }
    latency = _latencies(predictions)
    memory = _whole(_mean(predictions, "serving_memory_bytes"))
    if arm.family == "prompt":
        return Cost(
            train_seconds=0.0,
            train_tokens=0,
            trainable_parameters=0,
            artifact_bytes=0,
            serving_memory_bytes=memory,
            **serving,
            **latency,
        )
    weights = [summaries[stage] for key in arm.keys("weights") if (stage := ("weights", key)) in summaries]
    weights += spent_for_nothing(arm)
    return Cost(
        train_seconds=_mean(weights, "train_seconds"),
        train_tokens=_whole(_mean(weights, "train_tokens")),
        peak_memory_bytes=_whole(_mean(weights, "peak_memory_bytes")),
        trainable_parameters=_whole(_mean(weights, "trainable_parameters")),
        artifact_bytes=_whole(_mean(weights, "artifact_bytes")),
        serving_memory_bytes=memory,
        **serving,
        **latency,
    )


def spent_for_nothing(arm: ArmFacts) -> list[Mapping[str, Any]]:
    """What trainings took that were given up, one summary for each."""
    return [run.spent for run in arm.runs if run.spent and run.key("weights") is None]


def _latencies(summaries: list[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Both percentiles over the requests of all seeds; empty where none was timed alone."""
    taken = [float(value) for summary in summaries for value in summary.get("latency_ms") or []]
    if not taken:
        return {}
    from ftlab.statistics.level import confidence
    from ftlab.statistics.quantiles import quantile

    found = {name: quantile(taken, p) for name, p in (("latency_p50", 0.5), ("latency_p95", 0.95))}
    return {
        name: Estimate(value=one.value, low=one.low, high=one.high, n=one.n, method=one.method, confidence=confidence())
        for name, one in found.items()
        if one.value is not None
    }


def _mean(summaries: list[Mapping[str, Any]], name: str) -> float | None:
    values = [float(value) for summary in summaries if (value := summary.get(name)) is not None]
    return sum(values) / len(values) if values else None


def _mean_share(summaries: list[Mapping[str, Any]], part: str, whole: str) -> float | None:
    shares = [summary[part] / summary[whole] for summary in summaries if part in summary and summary.get(whole)]
    return sum(shares) / len(shares) if shares else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
