"""Ask a model every example of a split and keep each output with its tokens and its time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.data.prompts import few_shot_messages, shots_for
from ftlab.errors import DataError
from ftlab.evaluate.latency import measure_latency
from ftlab.evaluate.metrics.make import need_targets
from ftlab.evaluate.sameness import one_answer
from ftlab.events import EventType, Reporter, ignore
from ftlab.plan.opening import TEST
from ftlab.plan.run import RunConfig

if TYPE_CHECKING:
    from ftlab.data.dataset import Dataset, Example
    from ftlab.models.branching import Way
    from ftlab.models.load import LoadedModel

MARGIN = 8
"""Tokens beyond the longest label (or, for free text, the longest target of train) that an answer may have when the
spec sets no limit: room for `Answer:` and the like."""
MOST_NEW_TOKENS = 1024
"""The longest answer when the spec sets no limit, whatever the targets: one monstrous row must not slow every other."""


DEFAULT_REQUESTS = 20
"""Requests timed alone on the test rows, where the spec says nothing: enough for a median."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of predictions.parquet."""

    example_id: str
    output: str
    prompt_tokens: int
    output_tokens: int
    """Without the end token when generated, with it when chosen."""
    seconds: float
    finish: str
    """`stop`, `length` (cut off at the longest allowed answer) or `choice`."""
    label_logprobs: str | None
    """JSON {label: summed log-likelihood in nats} when the label was chosen."""
    target_logprob: float | None = None
    """The summed log-likelihood of the target in nats, where a metric needs it."""
    target_tokens: int | None = None
    """Tokens of the target, the end token included, where a metric needs them."""


def predict(
    model: Any, loaded: LoadedModel, dataset: Dataset, config: RunConfig, split: str, out: Path, report: Reporter
) -> dict[str, Any]:
    """Predict every example of `split`, write predictions.parquet and summary.json to `out`, and return the summary.

    `model` is the adapted model, `loaded` the base that brings tokenizer and device. Prompts longer than the model's
    context lose their beginning, which is counted and warned of. Raises DataError when the split is empty, or when more
    shots are asked for than there are training rows.
    """
    examples = dataset.splits.get(split, [])
    if not examples:
        raise DataError(f"the data set has no rows in split '{split}'; give it rows under data.splits")
    started = time.perf_counter()
    shots = shots_for(dataset.splits["train"], dataset.labels, config.method.get("shots", 0), config.seed)
    chats = [_chat(config, dataset, shots, example) for example in examples]
    heard = _Hearing(report)
    limit = 0
    if config.decode == "choose":
        predictions = _choose(model, loaded, dataset.labels, examples, chats, config, heard)
    else:
        limit = config.task.max_new_tokens or _longest_answer(loaded.tokenizer, dataset, chats[0])
        predictions = _generate(model, loaded, limit, examples, chats, config, heard)
    # What serving costs ends here: targets are scored for the metrics alone.
    summary = _summary(predictions, time.perf_counter() - started, shots)
    if wanted := _requests_timed(config, split):

        def tell(done: int) -> None:
            report(EventType.PROGRESS, phase="latency", done=done, total=wanted, unit="requests")

        one = partial(_answer_alone, model, loaded, dataset.labels, limit, examples, chats, config, heard.way)
        summary["latency_ms"] = measure_latency(one, len(chats), wanted, tell)
    if need_targets(config.task.metrics):
        predictions = _with_targets(predictions, model, loaded, examples, chats, config, report)
    same = one_answer([one.output for one in predictions], [example.target for example in examples])
    if same is not None:
        warning = {"code": "predictions_all_the_same", "message": same, "step": None}
        report(EventType.WARNING, **warning)
        summary["warnings"] = [warning]
    _write(predictions, out / "predictions.parquet")
    (out / "summary.json").write_text(json.dumps(summary, allow_nan=False), encoding="utf-8")
    return summary


def _requests_timed(config: RunConfig, split: str) -> int:
    """How many requests are answered alone for their latency."""
    if config.execute.latency_requests is not None:
        return config.execute.latency_requests
    return DEFAULT_REQUESTS if split == TEST else 0


class _Hearing:
    """Passes every event on, and remembers whether the model's cache could be branched."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self.way: Way = "branch"

    def __call__(self, type: EventType, **fields: Any) -> None:  # noqa: A002  the journal's own word
        if type is EventType.WARNING and fields.get("code") == "cache_not_branched":
            self.way = "plain"
        self._report(type, **fields)


def _answer_alone(
    model: Any,
    loaded: LoadedModel,
    labels: Sequence[str],
    limit: int,
    examples: Sequence[Example],
    chats: Sequence[list[dict[str, str]]],
    config: RunConfig,
    way: Way,
    place: int,
) -> list[Prediction]:
    """The answer to one example from its chat on, as a server of single requests would give it."""
    one = slice(place, place + 1)
    if config.decode == "choose":
        return _choose(model, loaded, labels, examples[one], chats[one], config, ignore, way)
    return _generate(model, loaded, limit, examples[one], chats[one], config, ignore, way)


def _chat(config: RunConfig, dataset: Dataset, shots: Sequence[Example], example: Example) -> list[dict[str, str]]:
    return few_shot_messages(config.messages, shots, example.fields, dataset.labels)


def _generate(
    model: Any,
    loaded: LoadedModel,
    limit: int,
    examples: Sequence[Example],
    chats: Sequence[list[dict[str, str]]],
    config: RunConfig,
    report: Reporter,
    way: Way = "check",
) -> list[Prediction]:
    from ftlab.models.chat import render_chat
    from ftlab.models.generate import generate

    tokenizer = loaded.tokenizer
    prompts = [render_chat(tokenizer, chat).prompt_ids for chat in chats]
    prompts = _fit(prompts, model, limit, report)
    generations = generate(model, tokenizer, prompts, limit, config.execute.eval_batch_tokens, report, way=way)
    return [
        Prediction(
            example_id=example.example_id,
            output=generation.text,
            prompt_tokens=len(prompt),
            output_tokens=len(generation.output_ids),
            seconds=generation.seconds,
            finish=generation.finish,
            label_logprobs=None,
        )
        for example, prompt, generation in zip(examples, prompts, generations, strict=True)
    ]


def _longest_answer(tokenizer: Any, dataset: Dataset, chat: list[dict[str, str]]) -> int:
    """How many tokens an answer may have when the spec does not say: as many as a right one, and some more.

    Targets of test and validation are not looked at: how long the answers are is part of what is to be found out.
    """
    if dataset.labels:
        return max(len(ids) for ids in _answers(tokenizer, chat, dataset.labels)) - 1 + MARGIN  # without the end token
    targets = list(dict.fromkeys(example.target for example in dataset.splits["train"]))
    lengths = [len(ids) for ids in tokenizer(targets, add_special_tokens=False)["input_ids"]] if targets else [0]
    return min(max(lengths) + MARGIN, MOST_NEW_TOKENS)


def _choose(
    model: Any,
    loaded: LoadedModel,
    labels: Sequence[str],
    examples: Sequence[Example],
    chats: Sequence[list[dict[str, str]]],
    config: RunConfig,
    report: Reporter,
    way: Way = "check",
) -> list[Prediction]:
    """The label whose tokens, the end of the turn included, are likeliest in sum; the first of equals.

    The end token is what makes `Surgery` and `Surgery, general` comparable: without it the shorter would always win,
    being a part of the longer. The sum is not divided by the length: it is the probability of saying exactly this
    label.
    """
    from ftlab.models.chat import render_chat
    from ftlab.models.loglikelihood import score_choices

    tokenizer = loaded.tokenizer
    choices = _all_answers(tokenizer, chats, labels)
    prompts = [render_chat(tokenizer, chat).prompt_ids for chat in chats]
    room = max(len(ids) for answers in choices for ids in answers)
    prompts = _fit(prompts, model, room, report)
    started = time.perf_counter()
    items = list(zip(prompts, choices, strict=True))
    scored = score_choices(model, items, config.execute.eval_batch_tokens, report, phase="predict", way=way)
    spent = time.perf_counter() - started
    sizes = [len(prompt) + sum(map(len, answers)) for prompt, answers in items]
    predictions = []
    for example, (prompt, answers), scores, size in zip(examples, items, scored, sizes, strict=True):
        best = max(range(len(labels)), key=lambda index: scores[index].logprob)
        logprobs = {label: score.logprob for label, score in zip(labels, scores, strict=True)}
        predictions.append(
            Prediction(
                example_id=example.example_id,
                output=labels[best],
                prompt_tokens=len(prompt),
                output_tokens=len(answers[best]),
                seconds=spent * size / sum(sizes),
                finish="choice",
                label_logprobs=json.dumps(logprobs, ensure_ascii=False, allow_nan=False),
            )
        )
    return predictions


def _answers(tokenizer: Any, chat: list[dict[str, str]], labels: Sequence[str]) -> list[list[int]]:
    from ftlab.models.chat import render_chat

    return [render_chat(tokenizer, chat, label).answer_ids for label in labels]


def _with_targets(
    predictions: Sequence[Prediction],
    model: Any,
    loaded: LoadedModel,
    examples: Sequence[Example],
    chats: Sequence[list[dict[str, str]]],
    config: RunConfig,
    report: Reporter,
) -> list[Prediction]:
    """The same with how likely the model finds each target after its prompt, the end of the turn included."""
    from ftlab.models.chat import render_chat
    from ftlab.models.loglikelihood import score_choices

    asked = [render_chat(loaded.tokenizer, chat, example.target) for chat, example in zip(chats, examples, strict=True)]
    prompts = _fit([ids.prompt_ids for ids in asked], model, max(len(ids.answer_ids) for ids in asked), report)
    items = [(prompt, [ids.answer_ids]) for prompt, ids in zip(prompts, asked, strict=True)]
    scored = score_choices(model, items, config.execute.eval_batch_tokens, report, phase="predict")
    return [
        replace(prediction, target_logprob=score.logprob, target_tokens=len(ids.answer_ids))
        for prediction, (score,), ids in zip(predictions, scored, asked, strict=True)
    ]


def _all_answers(tokenizer: Any, chats: Sequence[list[dict[str, str]]], labels: Sequence[str]) -> list[list[list[int]]]:
    """The token ids of every label after every chat.

    Where two chats agree on all labels the template keeps answer and question apart, and one rendering serves all; that
    saves a template run per example and label, which otherwise takes longer than a small model's forward.
    """
    first = _answers(tokenizer, chats[0], labels)
    if first == _answers(tokenizer, chats[-1], labels):
        return [first] * len(chats)
    return [_answers(tokenizer, chat, labels) for chat in chats]


def _fit(prompts: list[list[int]], model: Any, room: int, report: Reporter) -> list[list[int]]:
    """Cut prompts on the left so that `room` more tokens fit into the model's context."""
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is None or all(len(prompt) + room <= context for prompt in prompts):
        return prompts
    most = context - room
    if most < 1:
        raise DataError(
            f"an answer of {room} tokens leaves no room for a prompt in the model's context of {context} tokens; lower "
            "task.max_new_tokens, or shorten the right answers"
        )
    cut = sum(len(prompt) > most for prompt in prompts)
    report(
        EventType.WARNING,
        code="prompt_truncated",
        message=f"{cut} of {len(prompts)} prompts are longer than the model's context of {context} tokens and lost "
        "their beginning; use fewer shots or shorter texts",
        step=None,
    )
    return [prompt[-most:] for prompt in prompts]


def _summary(predictions: Sequence[Prediction], seconds: float, shots: Sequence[Example]) -> dict[str, Any]:
    prompt_tokens = sum(prediction.prompt_tokens for prediction in predictions)
    output_tokens = sum(prediction.output_tokens for prediction in predictions)
    return {
        "examples": len(predictions),
        "seconds": seconds,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "tokens_per_second": (prompt_tokens + output_tokens) / seconds,
        "seconds_per_1k": 1000 * seconds / len(predictions),
        "shot_ids": [shot.example_id for shot in shots],
        "truncated": sum(prediction.finish == "length" for prediction in predictions),
    }


def _write(predictions: Sequence[Prediction], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("example_id", pa.string()),
            ("output", pa.string()),
            ("prompt_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("seconds", pa.float64()),
            ("finish", pa.string()),
            ("label_logprobs", pa.string()),
        ]
    )
    if any(prediction.target_tokens is not None for prediction in predictions):
        schema = schema.append(pa.field("target_logprob", pa.float64()))
        schema = schema.append(pa.field("target_tokens", pa.int64()))
    columns = {name: [getattr(prediction, name) for prediction in predictions] for name in schema.names}
    pq.write_table(pa.table(columns, schema=schema), path)
