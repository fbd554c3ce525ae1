"""The one place that turns chat messages into token ids.

Training, generation and the ranking of labels all call `render_chat`, so a model is asked in exactly the form in which
it was trained. Nothing else in ftlab calls `apply_chat_template`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from ftlab.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ChatMessage = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`."""

_PROBE = "ftlab-probes-the-template"


@dataclass(frozen=True, slots=True)
class ChatIds:
    """A rendered chat: `prompt_ids` end where the model begins to speak, `answer_ids` are what it says.

    `answer_ids` end with the token that ends the turn, and are empty when no answer was given.
    """

    prompt_ids: list[int]
    answer_ids: list[int]

    def __len__(self) -> int:
        """Tokens in all."""
        return len(self.prompt_ids) + len(self.answer_ids)


def render_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], answer: str | None = None
) -> ChatIds:
    """Apply the model's chat template to `messages` and, when given, to the assistant's `answer`.

    `prompt_ids + answer_ids` are the ids of the template applied to the whole conversation, as far as the token that
    ends the assistant's turn. Two cases cannot be so and keep what matters, that the prompt is the one that generation
    starts from: where the tokenizer would merge the prompt's end with the answer's beginning, and where a template
    writes its generation prompt differently from the turn itself. The answer's text is then tokenised on its own.

    A system message that is left out is whatever the template makes of that; some have a default of their own.
    A model without a template is asked in plain lines `role: content`, the last of them `assistant:`, after the
    tokenizer's beginning-of-text token if it has one; its answer ends with the end-of-text token.

    Raises ModelError when the template refuses the messages (a role that it does not know, say).
    """
    prompt = chat_text(tokenizer, messages)
    prompt_ids = _beginning(tokenizer) + _encode(tokenizer, prompt)
    if answer is None:
        return ChatIds(prompt_ids, [])
    turn, end_id = _answer_turn(tokenizer, messages, prompt, answer)
    whole_ids = _beginning(tokenizer) + _encode(tokenizer, prompt + turn)
    if whole_ids[: len(prompt_ids)] == prompt_ids:
        return ChatIds(prompt_ids, [*whole_ids[len(prompt_ids) :], end_id])
    return ChatIds(prompt_ids, [*_encode(tokenizer, turn), end_id])


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], *, generation: bool = True) -> str:
    """`messages` in the model's chat template, as text, for callers that tokenise on their own (lm-eval).

    With `generation` the text ends where the assistant is to begin. Without a template it is what `render_chat` says.
    Raises ModelError when the template refuses the messages.
    """
    if not tokenizer.chat_template:
        lines = [f"{message['role']}: {message['content']}" for message in messages]
        return "\n".join([*lines, "assistant:"] if generation else lines)
    try:
        text: Any = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generation)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path} refuses a chat of the roles {roles} ({error}); "
            "change the messages of the prompt to what the model knows"
        ) from error
    return str(text)


def end_token_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's end-of-text and what the chat template ends a turn with.

    The two differ in some models (`<eos>` and `<end_of_turn>`); generation must stop at either.
    """
    turn_end = render_chat(tokenizer, [{"role": "user", "content": "a"}], "b").answer_ids[-1]
    return frozenset({turn_end} | ({tokenizer.eos_token_id} - {None}))


def truncate_left(ids: ChatIds, max_length: int) -> ChatIds:
    """Drop tokens on the left until at most `max_length` (2 or more) remain, the prompt's before the answer's.

    The last token of the prompt always stays, since the answer's first token is predicted from it; so an answer that is
    too long by itself loses its beginning.
    """
    if len(ids) <= max_length:
        return ids
    answer = ids.answer_ids[-(max_length - 1) :]
    return ChatIds(ids.prompt_ids[-(max_length - len(answer)) :], answer)


def _answer_turn(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[ChatMessage], prompt: str, answer: str
) -> tuple[str, int]:
    """The text between the generation prompt and the end of the turn, and the id of the token that ends it.

    What the template writes before and after an answer is found with a probe in the answer's place, so that an answer
    that looks like a part of the template (`end`, `think`) is not mistaken for it.
    """
    probed = chat_text(tokenizer, [*messages, _assistant(_PROBE)], generation=False)
    whole = chat_text(tokenizer, [*messages, _assistant(answer)], generation=False)
    lead, _, tail = probed.rpartition(_PROBE)
    if not (lead.startswith(prompt) and whole.startswith(lead) and whole.endswith(tail)):
        return answer, _end_of_text(tokenizer)
    turn = whole[len(prompt) : len(whole) - len(tail)]
    end = tail.lstrip()
    for token_id, token in _special_tokens(tokenizer):
        if end.startswith(token):
            return turn + tail[: len(tail) - len(end)], token_id
    return turn, _end_of_text(tokenizer)


def _assistant(content: str) -> ChatMessage:
    return {"role": "assistant", "content": content}


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, str]]:
    special = [(id_, token.content) for id_, token in tokenizer.added_tokens_decoder.items() if token.special]
    return sorted(special, key=lambda pair: len(pair[1]), reverse=True)


def _end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path} has no end-of-text token, so its answers cannot end; choose another"
        )
    return int(tokenizer.eos_token_id)


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The beginning-of-text token, for models without a template alone: a template writes its own."""
    if tokenizer.chat_template or tokenizer.bos_token_id is None:
        return []
    return [int(tokenizer.bos_token_id)] if tokenizer("a").input_ids[0] == tokenizer.bos_token_id else []


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
