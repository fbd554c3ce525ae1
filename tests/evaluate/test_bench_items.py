"""What a run of lm-eval comes to: the unit and the direction of each metric."""

from __future__ import annotations

from typing import Any

from ftlab.evaluate.bench_items import summarize


def found(metric: str, scores: list[float], higher: bool | None) -> dict[str, Any]:
    items = [{"doc_hash": str(i), "doc_id": i, "metric": metric, "score": score} for i, score in enumerate(scores)]
    results = {
        "results": {"task": {f"{metric},none": sum(scores) / len(scores) if scores else 7.5}},
        "higher_is_better": {"task": {metric: higher}},
    }
    return summarize("task", {"tasks": {"task": None}}, results, items)["metrics"][metric]


def test_scores_from_0_to_1_are_shares_and_others_are_not() -> None:
    assert found("acc", [0.0, 1.0], True)["unit"] == "share"
    assert found("bleu", [12.5, 40.0], True)["unit"] == "score"
    assert found("word_perplexity", [], False)["unit"] == "score"


def test_the_direction_is_lm_evals() -> None:
    assert found("acc", [0.0, 1.0], True)["direction"] == "higher"
    assert found("acc", [0.0, 1.0], None)["direction"] == "higher"
    assert found("wer", [0.2, 0.4], False)["direction"] == "lower"


def test_a_result_without_directions_is_read() -> None:
    scores = {"results": {"task": {"acc,none": 0.5}}}
    row = summarize("task", {"tasks": {"task": None}}, scores, [])["metrics"]["acc"]
    assert row["direction"] == "higher"
