"""ftlab's lm-eval model against lm-eval's own, on the same requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from ftlab.catalog import BENCHMARKS
from ftlab.errors import UsageError
from ftlab.evaluate.benchmarks import load_tasks
from ftlab.evaluate.harness import LoadedLM
from ftlab.events import ignore
from ftlab.models.load import LoadedModel


def reference(loaded: LoadedModel) -> HFLM:
    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4, backend="causal")


def instances(kind: Any, arguments: list[Any]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=argument, idx=0, metadata=("task", index, 1))
        for index, argument in enumerate(arguments)
    ]


def requests_of(task: str, limit: int, shots: int) -> list[Instance]:
    (one,) = load_tasks(task, shots, ignore)["tasks"].values()
    one.build_all_requests(limit=limit, rank=0, world_size=1)
    return one.instances


def assert_same(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_benchmarks_are_scored_as_lm_eval_scores_them(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], name: str, shots: int
) -> None:
    synthetic_benchmarks(8)
    requests = requests_of(f"builtin:{name}", 8, shots)
    assert len(requests) == 8 * BENCHMARKS.load(name).choices
    ours = LoadedLM(tiny.model, tiny.tokenizer).loglikelihood(requests)
    assert_same(ours, reference(tiny).loglikelihood(requests, disable_tqdm=True))


@pytest.mark.parametrize(
    ("context", "continuation"),
    [
        ("", "the heart"),
        ("the heart ", "and lungs"),
        ("the heart  \n", " and"),
        ("the hea", "rt"),
        ("<|im_start|>user\nthe<|im_end|>", " heart"),
        ("the " * 2500, "heart and lungs"),
    ],
)
def test_context_and_continuation_are_split_as_lm_eval_splits_them(
    tiny: LoadedModel, context: str, continuation: str
) -> None:
    requests = instances("loglikelihood", [(context, continuation), (context, continuation + " red")])
    ours = LoadedLM(tiny.model, tiny.tokenizer)
    theirs = reference(tiny)
    assert ours.max_length == theirs.max_length
    assert_same(ours.loglikelihood(requests), theirs.loglikelihood(requests, disable_tqdm=True))


def test_rolling_log_likelihoods_equal_lm_eval(tiny: LoadedModel) -> None:
    requests = instances("loglikelihood_rolling", [("the heart and the lungs",), ("red green " * 1500,)])
    ours = LoadedLM(tiny.model, tiny.tokenizer).loglikelihood_rolling(requests)
    theirs = reference(tiny).loglikelihood_rolling(requests, disable_tqdm=True)
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_generated_answers_equal_lm_eval(tiny: LoadedModel) -> None:
    settings = {"until": ["\n\n", "white"], "max_gen_toks": 12, "do_sample": False}
    longer = {**settings, "max_gen_toks": 20}
    requests = instances("generate_until", [("the heart", settings), ("red", longer), ("blue and green", settings)])
    ours = LoadedLM(tiny.model, tiny.tokenizer).generate_until(requests)
    assert ours == reference(tiny).generate_until(requests, disable_tqdm=True)


def test_a_task_that_samples_is_refused_by_name(tiny: LoadedModel) -> None:
    requests = instances("generate_until", [("the", {"until": [], "do_sample": True, "temperature": 0.7})])
    with pytest.raises(UsageError, match="benchmark 'task' samples its answers"):
        LoadedLM(tiny.model, tiny.tokenizer).generate_until(requests)


def test_chats_are_rendered_by_the_one_function(tiny: LoadedModel) -> None:
    chat = [{"role": "user", "content": "the heart?"}]
    ours = LoadedLM(tiny.model, tiny.tokenizer)
    theirs = reference(tiny)
    assert ours.apply_chat_template(chat) == theirs.apply_chat_template(chat)
    begun = [*chat, {"role": "assistant", "content": "It is"}]
    assert ours.apply_chat_template(begun, add_generation_prompt=False).endswith("<|im_start|>assistant\nIt is")


@pytest.mark.real
@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_smollm2_is_scored_as_lm_eval_scores_it(smollm2: LoadedModel, name: str) -> None:
    requests = requests_of(f"builtin:{name}", 10, 0)
    ours = LoadedLM(smollm2.model, smollm2.tokenizer).loglikelihood(requests)
    assert_same(ours, reference(smollm2).loglikelihood(requests, disable_tqdm=True))
