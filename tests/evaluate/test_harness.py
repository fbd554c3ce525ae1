"""ftlab's lm-eval model against lm-eval's own, on the same requests."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from ftlab.catalog import BENCHMARKS
from ftlab.errors import UsageError
from ftlab.evaluate.benchmarks import load_tasks
from ftlab.evaluate.harness import LoadedLM
from ftlab.events import EventType, ignore
from ftlab.models.load import LoadedModel
from ftlab.testing.benchmark_contract import HARNESS_NAMES


def reference(loaded: LoadedModel) -> HFLM:
    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4, backend="causal")


def instances(kind: Any, arguments: list[Any]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=argument, idx=0, metadata=("task", index, 1))
        for index, argument in enumerate(arguments)
    ]


def requests_of(task: str, limit: int, shots: int, chat: LoadedLM | None = None) -> list[Instance]:
    """The requests of a task's first items, in the chat template of `chat` where one is given."""
    (one,) = load_tasks(task, shots, ignore)["tasks"].values()
    template = (
        {}
        if chat is None
        else {
            "apply_chat_template": True,
            "fewshot_as_multiturn": True,
            "chat_template": chat.apply_chat_template,
            "tokenizer_name": chat.tokenizer_name,
        }
    )
    one.build_all_requests(limit=limit, rank=0, world_size=1, **template)
    return one.instances


def assert_same(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_benchmarks_are_scored_as_lm_eval_scores_them(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], name: str, shots: int
) -> None:
    synthetic_benchmarks(8)
    requests = requests_of(f"builtin:{name}", 8, shots)
    assert len(requests) == 8 * BENCHMARKS.load(name).choices
    ours = LoadedLM(tiny.model, tiny.tokenizer).loglikelihood(requests)
    assert_same(ours, reference(tiny).loglikelihood(requests, disable_tqdm=True))


def sliding_mistral(vocabulary: int) -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return MistralForCausalLM(MistralConfig(vocab_size=vocabulary, sliding_window=8, **shape, **heads))


def sliding_gemma(vocabulary: int) -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return Gemma3ForCausalLM(Gemma3TextConfig(vocab_size=vocabulary, sliding_window=8, **shape, **heads))


def mamba(vocabulary: int) -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, state_size=4))


@pytest.mark.parametrize("build", [sliding_mistral, sliding_gemma, mamba])
def test_a_model_whose_cache_cannot_be_branched_is_left_to_lm_eval_and_says_so(
    tiny: LoadedModel, synthetic_benchmarks: Callable[[int], None], build: Callable[[int], Any]
) -> None:
    synthetic_benchmarks(6)
    torch.manual_seed(0)
    model = build(len(tiny.tokenizer)).eval()
    with torch.no_grad():  # make distant tokens matter, as they do in a trained model
        for parameter in model.parameters():
            parameter.mul_(4)
    warnings: list[dict[str, Any]] = []

    def listen(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.WARNING:
            warnings.append(fields)

    requests = requests_of("builtin:openbookqa", 6, 2)
    ours = LoadedLM(model, tiny.tokenizer, 512, listen).loglikelihood(requests)
    (warning,) = warnings
    assert warning["code"] == "cache_not_branched"
    assert "lm-eval scores each by itself" in warning["message"]
    theirs = HFLM(pretrained=model, tokenizer=tiny.tokenizer, batch_size=1, backend="causal")
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in expected], rel=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]


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
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", HARNESS_NAMES)
def test_smollm2_is_scored_as_lm_eval_scores_it(smollm2: LoadedModel, name: str, chat: bool) -> None:
    """Log-likelihoods within 1e-4, and right and wrong to the last item."""
    shots = 2 if name == "mmlu" else 0
    limit = 3 if name in ("mmlu", "boolq") else 6
    ours = LoadedLM(smollm2.model, smollm2.tokenizer)
    requests = requests_of(f"builtin:{name}", limit, shots, ours if chat else None)
    assert chat == ("<|im_start|>user" in requests[0].args[0])
    scores = ours.loglikelihood(requests)
    expected = reference(smollm2).loglikelihood(requests, disable_tqdm=True)
    assert_same(scores, expected)
    for start in range(0, len(requests), BENCHMARKS.load(name).choices):
        choices = range(start, start + BENCHMARKS.load(name).choices)
        assert max(choices, key=lambda i: scores[i][0]) == max(choices, key=lambda i: expected[i][0])


@pytest.mark.real
def test_in_bfloat16_the_scores_are_as_near_to_the_truth_as_lm_evals(smollm2: LoadedModel) -> None:
    """Rounding to 8 bits gives every order of computation errors of its own, so two ways of computing one number differ
    by more than one way with two batch sizes does. What counts is how far each is from the float32 scores.
    """
    requests = requests_of("builtin:openbookqa", 8, 0)
    truth = [score for score, _ in LoadedLM(smollm2.model, smollm2.tokenizer).loglikelihood(requests)]
    coarse = replace(smollm2, model=copy.deepcopy(smollm2.model).to(torch.bfloat16))
    ours = LoadedLM(coarse.model, coarse.tokenizer).loglikelihood(requests)
    theirs = reference(coarse).loglikelihood(requests, disable_tqdm=True)

    def error(scores: list[tuple[float, bool]]) -> float:
        return statistics.fmean(abs(score - true) for (score, _), true in zip(scores, truth, strict=True))

    assert 0 < error(ours) <= 2 * error(theirs)
    assert max(abs(a - b) for (a, _), (b, _) in zip(ours, theirs, strict=True)) < 1.0
