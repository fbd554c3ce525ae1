"""A loaded model as an lm-eval model: the same log-likelihoods as `--model hf`, each context computed once.

What lm-eval asks is taken from its own base class (how context and continuation are tokenised, above all), so that
only the arithmetic differs. This module imports lm-eval and torch: import it inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM  # noqa: TID253  see the module's docstring
from lm_eval.api.registry import register_model  # noqa: TID253
from lm_eval.models.utils import (  # noqa: TID253
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # noqa: TID253

from ftlab.errors import UsageError
from ftlab.events import Reporter, ignore
from ftlab.models.chat import chat_text
from ftlab.models.generate import generate
from ftlab.models.loglikelihood import ChoiceScore, Item, score_choices

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

DEFAULT_GEN_TOKENS = 256
"""The length of an answer where a task sets none, as in lm-eval."""


@register_model("ftlab")
class LoadedLM(TemplateLM):
    """lm-eval's view of a causal language model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int = 4096, report: Reporter = ignore) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self._batch_tokens = batch_tokens
        self._report = report
        self._device = model.device

    @property
    def eot_token_id(self) -> int:
        """The tokenizer's end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without a context: the beginning-of-text token, else the end-of-text token."""
        beginning = self.tokenizer.bos_token_id
        return int(beginning) if beginning is not None else self.eot_token_id

    @property
    def max_length(self) -> int:
        """The model's context in tokens."""
        return int(resolve_max_length(self.model.config, self.tokenizer))

    @property
    def tokenizer_name(self) -> str:
        """lm-eval asks for it when a chat template is applied."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids. Special tokens are the tokenizer's own choice unless the text already begins with one."""
        if add_special_tokens is None:
            beginning = self.tokenizer.decode(self.prefix_token_id)
            options = {"add_special_tokens": False} if string.startswith(beginning) else {}
        else:
            options = {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **options))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The prompt of a chat as text, by the one function that renders chats.

        Without a generation prompt the last message is the beginning of the answer, which the model is to continue.
        """
        if add_generation_prompt:
            return chat_text(self.tokenizer, chat_history)
        return chat_text(self.tokenizer, chat_history[:-1]) + chat_history[-1]["content"]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Score (context, continuation) pairs; equal contexts become one item with many choices."""
        items: dict[tuple[int, ...], list[list[int]]] = {}
        places: list[tuple[tuple[int, ...], int]] = []
        for _, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise UsageError(
                    f"a benchmark asks for a continuation of {len(continuation)} tokens, more than the model's context "
                    f"of {self.max_length}; leave this benchmark out"
                )
            # As lm-eval: what does not fit is cut on the left; the last token is predicted, never read.
            key = tuple(context[-(self.max_length + 1 - len(continuation)) :])
            choices = items.setdefault(key, [])
            places.append((key, len(choices)))
            choices.append(continuation)
        scores = score_choices(
            self.model, list(items.items()), self._batch_tokens, self._report, otherwise=self._scored_by_lm_eval
        )
        by_context = dict(zip(items, scores, strict=True))
        results = [(by_context[key][place].logprob, by_context[key][place].is_greedy) for key, place in places]
        for (text, _, _), result in zip(requests, results, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, result)
        return results

    def _scored_by_lm_eval(
        self, model: Any, items: Sequence[Item], batch_tokens: int
    ) -> Iterator[tuple[int, list[ChoiceScore]]]:
        """The scores of lm-eval's own model around the same weights, for models whose cache cannot be branched."""
        from lm_eval.models.huggingface import HFLM

        longest = max(len(context) + max(map(len, choices)) for context, choices in items)
        size = max(1, batch_tokens // longest)
        theirs = HFLM(pretrained=model, tokenizer=self.tokenizer, backend="causal", batch_size=size)
        requests = [(None, list(context), list(choice)) for context, choices in items for choice in choices]
        scored = iter(theirs._loglikelihood_tokens(requests, disable_tqdm=True))
        for index, (_, choices) in enumerate(items):
            yield index, [ChoiceScore(*next(scored)) for _ in choices]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """As lm-eval's, without its progress bar: progress goes to the reporter."""
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """The log-likelihood of whole texts, in disjoint windows of the model's context."""
        windows: list[tuple[int, list[int], list[int]]] = []
        for index, (text,) in enumerate(request.args for request in requests):
            tokens = self.tok_encode(text)
            for window in get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, 1):
                context, continuation = make_disjoint_window(window)
                windows.append((index, list(context), list(continuation)))
        scored = self._loglikelihood_tokens([(None, context, continuation) for _, context, continuation in windows])
        totals = [0.0] * len(requests)
        for (index, _, _), (logprob, _) in zip(windows, scored, strict=True):
            totals[index] += logprob
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Greedy answers, cut at the first of each request's stop texts. Raises UsageError for a task that samples."""
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(index)
        results: dict[int, str] = {}
        for members in groups.values():
            results.update(zip(members, self._answers([requests[index] for index in members]), strict=True))
        return [results[index] for index in range(len(requests))]

    def _answers(self, requests: Sequence[Instance]) -> list[str]:
        """The answers to requests with equal settings."""
        task = requests[0].task_name
        options: dict[str, Any] = dict(normalize_gen_kwargs(requests[0].args[1], DEFAULT_GEN_TOKENS))
        if options.get("do_sample") or (options.get("num_beams") or 1) > 1:
            raise UsageError(
                f"benchmark '{task}' samples its answers or searches by beams; ftlab runs greedy ones only"
            )
        limit = options["max_gen_toks"]
        if limit >= self.max_length:
            raise UsageError(
                f"benchmark '{task}' asks for {limit} tokens, as many as the model's context of {self.max_length}"
            )
        stops = handle_stop_sequences(options["until"], eos=self.tokenizer.decode(self.eot_token_id))
        prompts = [self.tok_encode(request.args[0])[-(self.max_length - limit) :] for request in requests]
        answers = generate(
            self.model,
            self.tokenizer,
            prompts,
            limit,
            self._batch_tokens,
            self._report,
            phase="benchmark",
            stop_texts=[stop for stop in stops if stop],
        )
        return [postprocess_generated_text(answer.text, stop=stops, think_end_token=None) for answer in answers]
