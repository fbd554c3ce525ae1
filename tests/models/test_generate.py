"""Batched generation against one prompt at a time."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest
import torch

from ftlab.events import EventType
from ftlab.models import generate as module
from ftlab.models.generate import Generation, generate
from ftlab.models.load import LoadedModel

NEW = 12


def prompts_of(seed: int, shared: int, count: int = 15) -> list[list[int]]:
    chance = random.Random(seed)
    beginning = [chance.randrange(3, 250) for _ in range(shared)]
    return [beginning + [chance.randrange(3, 250) for _ in range(chance.randint(1, 30))] for _ in range(count)]


@pytest.fixture
def lively(tiny: LoadedModel) -> LoadedModel:
    """The tiny model with attention so strong that what it says depends on the whole prompt."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in tiny.model.named_parameters():
            if "layers" in name and parameter.dim() == 2:
                parameter.copy_(torch.randn_like(parameter) * 0.4)
    tiny.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(tiny.model.lm_head.weight))
    return tiny


def alone(model: Any, prompt: list[int], stops: set[int]) -> tuple[list[int], str]:
    """What transformers' own greedy generation says to one prompt."""
    ids = torch.tensor([prompt])
    row = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, eos_token_id=-1, pad_token_id=0
    )[0, len(prompt) :].tolist()
    end = next((place for place, token in enumerate(row) if token in stops), None)
    return (row, "length") if end is None else (row[:end], "stop")


def said(generations: list[Generation]) -> list[tuple[list[int], str]]:
    return [(generation.output_ids, generation.finish) for generation in generations]


@pytest.mark.parametrize("shared", [0, 5, 60])
@pytest.mark.parametrize("batch_tokens", [100, 700, 8192])
def test_batches_say_what_each_prompt_says_alone(
    lively: LoadedModel, monkeypatch: pytest.MonkeyPatch, shared: int, batch_tokens: int
) -> None:
    prompts = prompts_of(shared, shared)
    outputs = [alone(lively.model, prompt, set())[0] for prompt in prompts]
    # Tokens that end some answers early, at different steps, so that rows leave the batch.
    stops = {outputs[0][2], outputs[4][5], outputs[9][0]}
    monkeypatch.setattr(module, "end_token_ids", lambda tokenizer: stops)
    expected = [alone(lively.model, prompt, stops) for prompt in prompts]
    assert len({tuple(ids) for ids, _ in expected}) > len(prompts) / 2, (
        "the outputs must differ for this to show anything"
    )
    assert {finish for _, finish in expected} == {"stop", "length"}
    assert said(generate(lively.model, lively.tokenizer, prompts, NEW, batch_tokens)) == expected


def test_the_shared_beginning_is_computed_once(lively: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(2, shared=200)
    seen: list[int] = []
    forward = lively.model.forward

    @functools.wraps(forward)
    def counting(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(lively.model, "forward", counting)
    generate(lively.model, lively.tokenizer, prompts, 1, 100_000)
    check = 2 * 230 + 2 * 30
    assert sum(seen) <= 200 + len(prompts) * 30 + check
    assert sum(map(len, prompts)) > 2 * sum(seen), "the test shows nothing unless the prompts are much longer"


def test_text_leaves_special_tokens_out_and_seconds_add_up(lively: LoadedModel) -> None:
    prompts = prompts_of(3, shared=20)
    generations = generate(lively.model, lively.tokenizer, prompts, NEW)
    for generation in generations:
        assert generation.text == lively.tokenizer.decode(generation.output_ids, skip_special_tokens=True)
        assert generation.seconds > 0
        assert len(generation.output_ids) <= NEW


def test_a_stop_text_ends_an_answer_and_stays_in_it(lively: LoadedModel) -> None:
    prompts = prompts_of(4, shared=20, count=4)
    free = generate(lively.model, lively.tokenizer, prompts, NEW)
    stop = lively.tokenizer.decode(free[0].output_ids[3:5])
    cut = generate(lively.model, lively.tokenizer, prompts, NEW, stop_texts=[stop])
    assert stop in cut[0].text
    assert len(cut[0].output_ids) <= 5
    assert cut[0].finish == "stop"
    assert free[0].text.startswith(cut[0].text)


def test_progress_counts_examples_and_speed(lively: LoadedModel) -> None:
    events: list[tuple[EventType, dict[str, Any]]] = []
    prompts = prompts_of(5, shared=20)
    generate(lively.model, lively.tokenizer, prompts, 2, 150, lambda event, **fields: events.append((event, fields)))
    assert {type_ for type_, _ in events} == {EventType.PROGRESS}
    done = [fields["done"] for _, fields in events]
    assert done == sorted(done)
    assert done[-1] == len(prompts)
    assert events[-1][1]["tokens_per_second"] > 0


def test_a_recurrent_model_is_asked_whole_prompts_and_says_so(tiny: LoadedModel) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)).eval()
    prompts = prompts_of(6, shared=20, count=5)
    codes: list[str] = []

    def listen(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.WARNING:
            codes.append(fields["code"])

    generations = generate(model, tiny.tokenizer, prompts, NEW, 4096, listen)
    assert codes == ["cache_not_branched"]
    stops = set(module.end_token_ids(tiny.tokenizer))
    assert said(generations) == [alone(model, prompt, stops) for prompt in prompts]


def test_empty_prompts_are_refused(tiny: LoadedModel) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(tiny.model, tiny.tokenizer, [[1], []], 4)


def test_nothing_in_nothing_out(tiny: LoadedModel) -> None:
    assert generate(tiny.model, tiny.tokenizer, [], 4) == []


@pytest.mark.real
def test_smollm2_answers_a_batch_as_it_answers_alone(smollm2: LoadedModel) -> None:
    from ftlab.models.chat import end_token_ids, render_chat

    questions = ["Name the capital of France.", "What is 2 + 2?", "Which organ pumps the blood through the body?"]
    system = {"role": "system", "content": "Answer in one short sentence."}
    prompts = [
        render_chat(smollm2.tokenizer, [system, {"role": "user", "content": question}]).prompt_ids
        for question in questions
    ]
    stops = set(end_token_ids(smollm2.tokenizer))
    assert said(generate(smollm2.model, smollm2.tokenizer, prompts, NEW)) == [
        alone(smollm2.model, prompt, stops) for prompt in prompts
    ]
