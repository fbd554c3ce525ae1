"""Packed scoring against plain forwards, and how much it computes."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest
import torch

from ftlab.events import EventType
from ftlab.models.branching import prefix_groups
from ftlab.models.load import LoadedModel
from ftlab.models.loglikelihood import ChoiceScore, Item, plain_scores, score_choices


def ids(chance: random.Random, low: int, high: int, vocabulary: int = 250) -> list[int]:
    return [chance.randrange(3, vocabulary) for _ in range(chance.randint(low, high))]


def mixed_items(seed: int, count: int = 24, vocabulary: int = 250) -> list[Item]:
    """Contexts with and without a common beginning; choices that repeat, share a beginning, and contain each other."""
    chance = random.Random(seed)
    beginning = ids(chance, 40, 40, vocabulary)
    items: list[Item] = []
    for index in range(count):
        context = (beginning if index % 3 else []) + ids(chance, 1, 25, vocabulary)
        choices = [ids(chance, 1, 6, vocabulary) for _ in range(3)]
        choices += [choices[0] + ids(chance, 1, 3, vocabulary), choices[0][:1], choices[1]]
        items.append((context, choices))
    return items


def assert_equal_to_plain(model: Any, items: list[Item], scores: list[list[ChoiceScore]], tolerance: float) -> None:
    for (context, choices), row in zip(items, scores, strict=True):
        for choice, score in zip(choices, row, strict=True):
            (plain,) = plain_scores(model, [(context, choice)])
            assert score.logprob == pytest.approx(plain.logprob, abs=tolerance)
            assert score.is_greedy == plain.is_greedy


class Listener:
    def __init__(self) -> None:
        self.events: list[tuple[EventType, dict[str, Any]]] = []

    def __call__(self, type: EventType, **fields: Any) -> None:  # noqa: A002
        self.events.append((type, fields))

    def warnings(self) -> list[str]:
        return [fields["code"] for type_, fields in self.events if type_ is EventType.WARNING]


def count_tokens(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The list that every later forward of `model` appends its number of tokens to."""
    seen: list[int] = []
    forward = model.forward

    @functools.wraps(forward)
    def counting(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    return seen


@pytest.mark.parametrize("batch_tokens", [64, 200, 4096])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_scores_equal_plain_forwards(tiny: LoadedModel, batch_tokens: int, attention: str) -> None:
    tiny.model.set_attn_implementation(attention)
    items = mixed_items(seed=batch_tokens)
    listener = Listener()
    scores = score_choices(tiny.model, items, batch_tokens, listener)
    assert listener.warnings() == []
    assert_equal_to_plain(tiny.model, items, scores, 1e-4)


def test_greedy_flag_is_true_exactly_for_the_model_s_own_continuation(tiny: LoadedModel) -> None:
    context = [5, 6, 7, 8]
    own = tiny.model.generate(torch.tensor([context]), max_new_tokens=4, do_sample=False, eos_token_id=-1)
    greedy = own[0, len(context) :].tolist()
    wrong_end = [*greedy[:-1], (greedy[-1] + 1) % 250]
    ((first, second),) = score_choices(tiny.model, [(context, [greedy, wrong_end])])
    assert first.is_greedy
    assert not second.is_greedy


def test_each_context_is_computed_once_and_one_token_choices_cost_nothing(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    beginning = ids(chance, 100, 100)
    items: list[Item] = [([*beginning, 200 + index, *ids(chance, 9, 9)], [[3], [4], [5, 6]]) for index in range(20)]
    seen = count_tokens(tiny.model, monkeypatch)
    score_choices(tiny.model, items)
    # The beginning, then 10 tokens of each context and the one choice token that is read; and the check's plain items.
    needed = 100 + 20 * (10 + 1)
    check = 2 * (110 + 1)
    assert sum(seen) <= needed + check
    naive = 20 * 3 * 111
    assert sum(seen) < naive / 8


def test_memory_does_not_grow_with_the_number_of_items(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def most(count: int) -> tuple[int, int]:
        """The most tokens in a cache, and the most rows of logits, while so many items are scored."""
        chance = random.Random(9)
        beginnings = [ids(chance, 100, 100) for _ in range(3)]
        items: list[Item] = [
            ([*beginnings[index % 3], *ids(chance, 10, 20)], [ids(chance, 1, 4) for _ in range(4)])
            for index in range(count)
        ]
        cached: list[int] = []
        logits: list[int] = []
        forward = type(tiny.model).forward

        @functools.wraps(forward)
        def measuring(*args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
            output = forward(tiny.model, *args, past_key_values=past_key_values, **kwargs)
            cached.append(past_key_values.get_seq_length() if past_key_values is not None else 0)
            logits.append(output.logits.numel() // output.logits.shape[-1])
            return output

        with monkeypatch.context() as patch:
            patch.setattr(tiny.model, "forward", measuring)
            score_choices(tiny.model, items, 128)
        return max(cached), max(logits)

    budget = 100 + 128
    few, many = most(30), most(600)
    assert few[0] <= budget
    assert many[0] <= budget
    assert many[1] <= 128 * 4


def test_choices_that_begin_alike_share_what_they_begin_with(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = list(range(10, 30))
    items: list[Item] = [([1, 2, 3], [long, [*long, 40], long[:5]])]
    seen = count_tokens(tiny.model, monkeypatch)
    score_choices(tiny.model, items)
    assert seen[0] == 3 + len(long)


def test_order_and_repeated_items_are_kept(tiny: LoadedModel) -> None:
    items = mixed_items(seed=3, count=6)
    forwards = score_choices(tiny.model, items)
    backwards = score_choices(tiny.model, [*reversed(items), items[0]])
    for one, other in zip(forwards, backwards[-2::-1], strict=True):
        assert [score.logprob for score in one] == pytest.approx([score.logprob for score in other], abs=1e-5)
    assert [score.logprob for score in backwards[-1]] == pytest.approx([s.logprob for s in forwards[0]], abs=1e-5)


def test_a_context_longer_than_a_row_is_scored(tiny: LoadedModel) -> None:
    items: list[Item] = [(ids(random.Random(2), 900, 900), [[4, 5, 6], [7]]), ([3], [[4]])]
    assert_equal_to_plain(tiny.model, items, score_choices(tiny.model, items, 128), 1e-4)


def test_progress_reaches_the_total(tiny: LoadedModel) -> None:
    listener = Listener()
    score_choices(tiny.model, mixed_items(seed=4, count=7), 64, listener, phase="predict")
    progress = [fields for type_, fields in listener.events if type_ is EventType.PROGRESS]
    assert [fields["done"] for fields in progress] == list(range(1, 8))
    assert progress[-1] == {"phase": "predict", "done": 7, "total": 7, "unit": "examples"}


@pytest.mark.parametrize("item", [([], [[1]]), ([1], []), ([1], [[2], []])])
def test_empty_contexts_and_choices_are_refused(tiny: LoadedModel, item: Item) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        score_choices(tiny.model, [item])


def test_nothing_in_nothing_out(tiny: LoadedModel) -> None:
    assert score_choices(tiny.model, []) == []


def mamba() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(vocab_size=260, hidden_size=16, num_hidden_layers=2, state_size=4)
    return MambaForCausalLM(config).eval()


def sliding_window() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
    )
    model = MistralForCausalLM(config).eval()
    with torch.no_grad():  # make distant tokens matter, as they do in a trained model
        for parameter in model.parameters():
            parameter.mul_(4)
    return model


@pytest.mark.parametrize("build", [mamba, sliding_window])
def test_a_model_whose_cache_cannot_be_branched_is_scored_plainly_and_says_so(build: Any) -> None:
    model = build()
    items = mixed_items(seed=5, count=6)
    listener = Listener()
    scores = score_choices(model, items, 256, listener)
    assert listener.warnings() == ["cache_not_branched"]
    assert_equal_to_plain(model, items, scores, 1e-3)


def test_what_scores_instead_is_the_caller_s_choice() -> None:
    model, items = mamba(), mixed_items(seed=5, count=3)
    listener = Listener()

    def scorer(model: Any, items: Any, batch_tokens: int) -> Any:
        return ((index, [ChoiceScore(-float(index), False)]) for index in reversed(range(len(items))))

    scores = score_choices(model, items, 256, listener, otherwise=scorer)
    assert [score.logprob for (score,) in scores] == [0.0, -1.0, -2.0]
    (message,) = (fields["message"] for type_, fields in listener.events if type_ is EventType.WARNING)
    assert "lm-eval scores each by itself" in message


def test_a_model_that_breaks_later_is_an_error_not_a_fallback(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the check is passed, what goes wrong is not about branching."""
    from ftlab.models import loglikelihood

    chance = random.Random(11)
    items: list[Item] = [(ids(chance, 60, 60), [[4]]) for _ in range(6)]
    calls: list[int] = []
    forward = loglikelihood._forward

    def failing(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise RuntimeError("no more")
        return forward(*args)

    monkeypatch.setattr(loglikelihood, "_forward", failing)
    with pytest.raises(RuntimeError, match="no more"):
        score_choices(tiny.model, items, 64)


def test_a_model_that_ignores_positions_is_found_out(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = tiny.model.forward

    @functools.wraps(forward)
    def without_positions(*args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    with torch.no_grad():  # strong enough attention for positions to show
        for parameter in tiny.model.parameters():
            parameter.mul_(5)
    monkeypatch.setattr(tiny.model, "forward", without_positions)
    items = mixed_items(seed=6, count=6)
    listener = Listener()
    scores = score_choices(tiny.model, items, 256, listener)
    assert listener.warnings() == ["cache_not_branched"]
    assert_equal_to_plain(tiny.model, items, scores, 1e-3)


def test_sixteen_bit_weights_are_scored_in_float32_after_the_logits(tiny: LoadedModel) -> None:
    model = tiny.model.to(torch.bfloat16)
    listener = Listener()
    items = mixed_items(seed=7, count=6)
    scores = score_choices(model, items, 256, listener)
    assert listener.warnings() == []
    assert_equal_to_plain_loosely(model, items, scores)


def assert_equal_to_plain_loosely(model: Any, items: list[Item], scores: list[list[ChoiceScore]]) -> None:
    for (context, choices), row in zip(items, scores, strict=True):
        for choice, score in zip(choices, row, strict=True):
            (plain,) = plain_scores(model, [(context, choice)])
            assert score.logprob == pytest.approx(plain.logprob, abs=0.05 * len(choice))


def test_prefix_groups_hold_every_sequence_once_and_what_they_share() -> None:
    chance = random.Random(8)
    subjects = [ids(chance, 50, 80) for _ in range(3)]
    sequences = [subjects[index % 3] + ids(chance, 1, 10) for index in range(30)] + [[7], [8, 9]]
    groups = prefix_groups(sequences, 256)
    assert sorted(member for _, members in groups for member in members) == list(range(len(sequences)))
    for shared, members in groups:
        beginnings = {tuple(sequences[member][:shared]) for member in members}
        assert len(beginnings) == 1
        assert all(len(sequences[member]) > shared for member in members)
    assert sorted(len(members) for _, members in groups) == [2, 10, 10, 10]


@pytest.mark.real
def test_smollm2_scores_equal_plain_forwards(smollm2: LoadedModel) -> None:
    encode = smollm2.tokenizer.encode
    items: list[Item] = [
        (
            encode("Question: How is cheese made?\nAnswer:"),
            [encode(" from milk"), encode(" from iron"), encode(" from")],
        ),
        (encode("Question: How is bread made?\nAnswer:"), [encode(" from flour, in an oven"), encode(" from flour")]),
        (encode("The sky is"), [encode(" blue"), encode(" blue."), encode(" a place where birds fly")]),
    ]
    listener = Listener()
    scores = score_choices(smollm2.model, items, report=listener)
    assert listener.warnings() == []
    assert_equal_to_plain(smollm2.model, items, scores, 1e-4)
