"""A judge that runs here: it says the letter that it finds likelier as its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ftlab.evaluate.judge import Letter

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel

CHUNK = 32
"""Questions that are scored together: so many answers at most are lost by a kill."""


class LocalJudge:
    """Reads the log-likelihoods of A and B after the chat. Equal ones are no answer."""

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self._loaded = loaded
        self._batch_tokens = batch_tokens

    def ask(self, questions: Sequence[str]) -> Iterator[tuple[int, Letter]]:
        """The answers in the order of the questions."""
        from ftlab.models.chat import render_chat
        from ftlab.models.loglikelihood import score_choices

        tokenizer = self._loaded.tokenizer
        letters = [list(tokenizer.encode(letter, add_special_tokens=False)) for letter in ("A", "B")]
        for start in range(0, len(questions), CHUNK):
            chats = [[{"role": "user", "content": text}] for text in questions[start : start + CHUNK]]
            items = [(render_chat(tokenizer, chat).prompt_ids, letters) for chat in chats]
            for place, (a, b) in enumerate(score_choices(self._loaded.model, items, self._batch_tokens), start):
                yield place, "A" if a.logprob > b.logprob else "B" if b.logprob > a.logprob else ""
