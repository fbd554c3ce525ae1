"""The one place that applies a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftlab.errors import ModelError
from ftlab.models.chat import ChatIds, chat_text, end_token_ids, render_chat, truncate_left
from ftlab.models.load import LoadedModel, load_tokenizer

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which colour? é 42  7"}]
ANSWERS = ["red", " red ", "Forensic Medicine", "end", "im", "assistant", "ftlab", "", "a\nb", "<|im_end|>", "12 3"]

GEMMA_LIKE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEERED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_folder: Path) -> Any:
    return load_tokenizer(tiny_folder)


def ids_by_template(tokenizer: Any, messages: list[dict[str, str]], generation: bool) -> list[int]:
    """The reference: what transformers makes of the messages by itself."""
    return tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=generation, return_dict=False)


def assert_exact(tokenizer: Any, messages: list[dict[str, str]], answer: str) -> None:
    chat = render_chat(tokenizer, messages, answer)
    whole = ids_by_template(tokenizer, [*messages, {"role": "assistant", "content": answer}], generation=False)
    assert chat.prompt_ids == ids_by_template(tokenizer, messages, generation=True)
    joined = chat.prompt_ids + chat.answer_ids
    assert joined == whole[: len(joined)]
    rest = tokenizer.decode(whole[len(joined) :])
    assert rest.strip() == "", "only blanks may follow the end of the turn"
    assert chat.answer_ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("answer", ANSWERS)
def test_prompt_and_answer_are_the_template_of_the_whole_conversation(tokenizer: Any, answer: str) -> None:
    assert_exact(tokenizer, CHAT, answer)
    assert_exact(tokenizer, CHAT[1:], answer)


def test_without_an_answer_there_is_a_prompt_alone(tokenizer: Any) -> None:
    chat = render_chat(tokenizer, CHAT)
    assert chat.answer_ids == []
    assert len(chat) == len(chat.prompt_ids)
    assert tokenizer.decode(chat.prompt_ids).endswith("<|im_start|>assistant\n")


def test_a_template_that_trims_answers_is_followed(tokenizer: Any) -> None:
    tokenizer.chat_template = GEMMA_LIKE
    assert render_chat(tokenizer, CHAT[1:], "  red \n") == render_chat(tokenizer, CHAT[1:], "red")
    assert_exact(tokenizer, CHAT[1:], "  red ")


@pytest.mark.parametrize("answer", ["red", "think", "</think>", "end"])
def test_what_a_template_writes_before_an_answer_belongs_to_it(tokenizer: Any, answer: str) -> None:
    tokenizer.chat_template = THINKING
    assert_exact(tokenizer, CHAT, answer)
    assert tokenizer.decode(render_chat(tokenizer, CHAT, answer).answer_ids).startswith("<think>\n\n</think>\n\n")


def test_the_prompt_wins_where_the_generation_prompt_differs_from_the_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = STEERED
    chat = render_chat(tokenizer, CHAT, "red")
    assert chat.prompt_ids == ids_by_template(tokenizer, CHAT, generation=True)
    assert tokenizer.decode(chat.answer_ids) == "red<|im_end|>"


def test_a_refused_role_is_a_model_error_that_names_the_roles(tokenizer: Any) -> None:
    tokenizer.chat_template = GEMMA_LIKE
    with pytest.raises(ModelError, match=r"refuses a chat of the roles system, user \(System role not supported\)"):
        render_chat(tokenizer, CHAT)


def test_without_a_template_messages_are_plain_lines(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    chat = render_chat(tokenizer, CHAT, "red")
    assert tokenizer.decode(chat.prompt_ids) == "system: Be brief.\nuser: Which colour? é 42  7\nassistant:"
    assert tokenizer.decode(chat.answer_ids) == " red<|im_end|>"
    assert chat_text(tokenizer, CHAT) == tokenizer.decode(chat.prompt_ids)


def test_the_end_of_a_turn_and_the_end_of_text_both_end_an_answer(tokenizer: Any) -> None:
    assert end_token_ids(tokenizer) == {tokenizer.eos_token_id}
    tokenizer.eos_token = "<|endoftext|>"
    assert end_token_ids(tokenizer) == set(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))


def test_a_model_without_an_end_token_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        render_chat(tokenizer, CHAT, "red")


@pytest.mark.parametrize(
    ("limit", "prompt", "answer"),
    [(9, [1, 2, 3, 4], [5, 6]), (6, [1, 2, 3, 4], [5, 6]), (5, [2, 3, 4], [5, 6]), (3, [4], [5, 6]), (2, [4], [6])],
)
def test_truncation_drops_the_beginning_and_keeps_one_token_of_the_prompt(
    limit: int, prompt: list[int], answer: list[int]
) -> None:
    assert truncate_left(ChatIds([1, 2, 3, 4], [5, 6]), limit) == ChatIds(prompt, answer)


def test_truncation_of_a_prompt_alone(tokenizer: Any) -> None:
    assert truncate_left(ChatIds([1, 2, 3], []), 2) == ChatIds([2, 3], [])


@pytest.mark.real
@pytest.mark.parametrize("answer", ANSWERS)
def test_smollm2_prompt_and_answer_are_its_template(smollm2: LoadedModel, answer: str) -> None:
    assert_exact(smollm2.tokenizer, CHAT, answer)
    assert_exact(smollm2.tokenizer, CHAT[1:], answer)


@pytest.mark.real
def test_smollm2_brings_its_own_system_message_when_none_is_given(smollm2: LoadedModel) -> None:
    text = smollm2.tokenizer.decode(render_chat(smollm2.tokenizer, CHAT[1:]).prompt_ids)
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhich colour? é 42  7<|im_end|>\n<|im_start|>assistant\n"
    )
