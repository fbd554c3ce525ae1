"""Predictions of a tiny model: what is asked, what is stored, and how labels are ranked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ftlab.data.prompts import few_shot_messages, shots_for
from ftlab.data.records import Dataset, Example
from ftlab.errors import DataError
from ftlab.evaluate import predict as predict_module
from ftlab.evaluate.predict import MARGIN, predict
from ftlab.evaluate.score import read_answers
from ftlab.events import EventType
from ftlab.models.chat import render_chat
from ftlab.models.load import LoadedModel
from ftlab.models.loglikelihood import plain_scores
from ftlab.plan.run import DataRef, RunConfig
from ftlab.spec.schema import BenchmarkSpec, DataSpec, ExecuteSpec, TaskSpec
from ftlab.testing.tiny import tiny_rows

LABELS = ["red", "red hot", "green", "blue"]
PROMPT = [
    {"role": "system", "content": "Name the colour: {{ labels | join(', ') }}"},
    {"role": "user", "content": "{{ question }}"},
]


def dataset(count: int = 12) -> Dataset:
    rows = tiny_rows(count, LABELS)
    examples = [Example(f"id{i}", i, row["question"], dict(row), row["label"]) for i, row in enumerate(rows)]
    return Dataset({"train": examples, "validation": examples[:7], "test": []}, LABELS)


def config(loaded: LoadedModel, decode: str = "generate", shots: int = 0, seed: int = 0, **task: Any) -> RunConfig:
    return RunConfig(
        experiment_id="e",
        run_id="r",
        arm_id="a",
        method_name="m",
        seed=seed,
        model=loaded.ref,
        data=DataRef(spec=DataSpec(source="rows.jsonl"), content="c", root="."),
        task=TaskSpec.model_validate(
            {"type": "classification", "prompt": PROMPT, "target": "{{ label }}", "decode": decode, **task}
        ),
        method={"type": "prompt", "shots": shots, "decode": None, "prompt": None},
        benchmarks=BenchmarkSpec(),
        execute=ExecuteSpec(),
        stages=(),
    )


def run(
    loaded: LoadedModel, settings: RunConfig, out: Path, data: Dataset | None = None, split: str = "validation"
) -> tuple[dict[str, Any], list[dict[str, Any]], list[tuple[EventType, dict[str, Any]]]]:
    events: list[tuple[EventType, dict[str, Any]]] = []
    out.mkdir(exist_ok=True)
    summary = predict(
        loaded.model,
        loaded,
        data or dataset(),
        settings,
        split,
        out,
        lambda event, **fields: events.append((event, fields)),
    )
    return summary, pq.read_table(out / "predictions.parquet").to_pylist(), events


@pytest.mark.parametrize("decode", ["generate", "choose"])
def test_every_example_gets_one_row_with_tokens_and_time(tiny: LoadedModel, tmp_path: Path, decode: str) -> None:
    summary, rows, events = run(tiny, config(tiny, decode), tmp_path / "out")
    assert [row["example_id"] for row in rows] == [f"id{index}" for index in range(7)]
    for row, example in zip(rows, dataset().splits["validation"], strict=True):
        chat = [
            {"role": "system", "content": "Name the colour: red, red hot, green, blue"},
            {"role": "user", "content": example.fields["question"]},
        ]
        assert row["prompt_tokens"] == len(render_chat(tiny.tokenizer, chat).prompt_ids)
        assert row["seconds"] > 0
    assert summary["examples"] == 7
    assert summary["prompt_tokens"] == sum(row["prompt_tokens"] for row in rows)
    assert summary["output_tokens"] == sum(row["output_tokens"] for row in rows)
    assert sum(row["seconds"] for row in rows) <= summary["seconds"]
    assert summary["seconds_per_1k"] == pytest.approx(1000 * summary["seconds"] / 7)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    last = [fields for type_, fields in events if type_ is EventType.PROGRESS][-1]
    assert (last["phase"], last["done"], last["total"], last["unit"]) == ("predict", 7, 7, "examples")


@pytest.mark.parametrize("decode", ["generate", "choose"])
def test_single_requests_are_timed_on_test_rows_and_where_the_spec_asks_for_it(
    tiny: LoadedModel, tmp_path: Path, decode: str
) -> None:
    data = dataset()
    data.splits["test"] = data.splits["train"][7:]
    summary, rows, _ = run(tiny, config(tiny, decode), tmp_path / "test", data, "test")
    assert len(summary["latency_ms"]) == 20, "more requests than rows: rows are asked again"
    assert all(taken > 0 for taken in summary["latency_ms"])
    assert len(rows) == 5
    assert "latency_ms" not in run(tiny, config(tiny, decode), tmp_path / "validation")[0]
    asked = config(tiny, decode).model_copy(update={"execute": ExecuteSpec(latency_requests=3)})
    assert len(run(tiny, asked, tmp_path / "asked")[0]["latency_ms"]) == 3


def test_chosen_labels_are_those_of_plain_forwards_with_the_end_token(tiny: LoadedModel, tmp_path: Path) -> None:
    _, rows, _ = run(tiny, config(tiny, "choose"), tmp_path / "out")
    for row, example in zip(rows, dataset().splits["validation"], strict=True):
        chat = [
            {"role": "system", "content": "Name the colour: red, red hot, green, blue"},
            {"role": "user", "content": example.fields["question"]},
        ]
        expected = {}
        for label in LABELS:
            ids = render_chat(tiny.tokenizer, chat, label)
            assert ids.answer_ids[-1] == tiny.tokenizer.eos_token_id
            (score,) = plain_scores(tiny.model, [(ids.prompt_ids, ids.answer_ids)])
            expected[label] = score.logprob
        assert json.loads(row["label_logprobs"]) == pytest.approx(expected, abs=1e-4)
        assert row["output"] == max(expected, key=lambda label: expected[label])
        assert row["finish"] == "choice"


def test_an_answer_may_be_as_long_as_the_longest_label_and_a_margin(tiny: LoadedModel, tmp_path: Path) -> None:
    longest = max(len(tiny.tokenizer.encode(label, add_special_tokens=False)) for label in LABELS)
    _, rows, _ = run(tiny, config(tiny), tmp_path / "a")
    assert max(row["output_tokens"] for row in rows) == longest + MARGIN
    summary, rows, _ = run(tiny, config(tiny, max_new_tokens=3), tmp_path / "b")
    assert {row["output_tokens"] for row in rows if row["finish"] == "length"} == {3}
    assert summary["truncated"] == sum(row["finish"] == "length" for row in rows)


def test_shots_come_from_train_by_seed_and_stand_before_the_question(tiny: LoadedModel, tmp_path: Path) -> None:
    without, bare, _ = run(tiny, config(tiny), tmp_path / "a")
    shown, rows, _ = run(tiny, config(tiny, shots=3), tmp_path / "b")
    again, _, _ = run(tiny, config(tiny, shots=3), tmp_path / "c")
    other, _, _ = run(tiny, config(tiny, shots=3, seed=1), tmp_path / "d")
    assert without["shot_ids"] == []
    assert len(set(shown["shot_ids"])) == 3
    assert set(shown["shot_ids"]) <= {example.example_id for example in dataset().splits["train"]}
    assert again["shot_ids"] == shown["shot_ids"] != other["shot_ids"]
    assert all(row["prompt_tokens"] > short["prompt_tokens"] + 20 for row, short in zip(rows, bare, strict=True))


def test_a_prompt_beyond_the_model_s_context_loses_its_beginning_and_is_warned_of(
    tiny: LoadedModel, tmp_path: Path
) -> None:
    tiny.model.config.max_position_embeddings = 40
    _, rows, events = run(tiny, config(tiny, max_new_tokens=4), tmp_path / "out")
    assert {row["prompt_tokens"] for row in rows} == {36}
    (warning,) = [fields for type_, fields in events if type_ is EventType.WARNING]
    assert warning["code"] == "prompt_truncated"
    assert "7 of 7 prompts" in warning["message"]


def test_a_limit_that_leaves_no_room_for_a_prompt_is_refused(tiny: LoadedModel, tmp_path: Path) -> None:
    tiny.model.config.max_position_embeddings = 40
    with pytest.raises(DataError, match="no room for a prompt"):
        run(tiny, config(tiny, max_new_tokens=40), tmp_path / "out")


def test_an_empty_split_is_refused(tiny: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in split 'test'"):
        run(tiny, config(tiny), tmp_path / "out", split="test")
    assert list((tmp_path / "out").iterdir()) == []


def test_hostile_text_is_asked_and_stored_as_it_is(tiny: LoadedModel, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> {{ 7 * 7 }} \x1b[31m =SUM(A1)"
    data = dataset()
    example = Example("id0", 0, nasty, {"question": nasty, "label": "red"}, "red")
    data.splits["validation"] = [example]
    _, rows, _ = run(tiny, config(tiny), tmp_path / "out", data)
    plain = render_chat(
        tiny.tokenizer,
        [
            {"role": "system", "content": "Name the colour: red, red hot, green, blue"},
            {"role": "user", "content": nasty},
        ],
    )
    assert rows[0]["prompt_tokens"] == len(plain.prompt_ids)


@pytest.mark.parametrize("decode", ["generate", "choose"])
def test_how_likely_targets_are_is_stored_where_a_metric_asks(tiny: LoadedModel, tmp_path: Path, decode: str) -> None:
    asked = config(tiny, decode, shots=2, metrics=["accuracy", "perplexity"])
    _, plain, _ = run(tiny, config(tiny, decode, shots=2), tmp_path / "plain")
    _, rows, _ = run(tiny, asked, tmp_path / "asked")
    assert "target_logprob" not in plain[0]
    assert [row["output"] for row in rows] == [row["output"] for row in plain]
    shots = shots_for(dataset().splits["train"], LABELS, 2, 0)
    for row, example in zip(rows, dataset().splits["validation"], strict=True):
        chat = few_shot_messages(asked.messages, shots, example.fields, LABELS)
        ids = render_chat(tiny.tokenizer, chat, example.target)
        (score,) = plain_scores(tiny.model, [(ids.prompt_ids, ids.answer_ids)])
        assert row["target_logprob"] == pytest.approx(score.logprob, abs=1e-4)
        assert row["target_tokens"] == len(ids.answer_ids)
    answers = read_answers(dataset(), tmp_path / "asked")
    nats = [-row["target_logprob"] / row["target_tokens"] for row in rows]
    assert [answer.target_nats for answer in answers] == pytest.approx(nats)
    assert {answer.target_nats for answer in read_answers(dataset(), tmp_path / "plain")} == {None}


def test_a_model_that_gives_one_answer_only_is_warned_of(
    tiny: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied = dataset(24)
    data = Dataset({**varied.splits, "validation": varied.splits["train"]}, LABELS)
    outputs = {"a": "red", "b": None}
    for name, output in outputs.items():

        def answer(*arguments: Any, output: str | None = output, real: Any = predict_module._choose) -> Any:
            return [replace(one, output=output or f"{place}") for place, one in enumerate(real(*arguments))]

        with monkeypatch.context() as patched:
            patched.setattr(predict_module, "_choose", answer)
            _, _, events = run(tiny, config(tiny, "choose"), tmp_path / name, data)
        codes = [fields["code"] for kind, fields in events if kind is EventType.WARNING]
        assert codes == (["predictions_all_the_same"] if output else [])
