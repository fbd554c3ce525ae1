"""Answers compared by their words: exact match and token F1, with the normalisation of SQuAD.

Source: the official evaluation script of SQuAD v1.1 (Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine
Comprehension of Text", section 6.1): lower case, no ASCII punctuation, no articles `a`, `an`, `the`, single blanks.
It is made for English: a text without blanks between words (Chinese, Japanese, Thai) is one word to it.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import ClassVar

from ftlab.evaluate.metrics.base import TEXT_TASKS, Answer
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def squad_words(text: str) -> list[str]:
    """The words of a text after SQuAD's normalisation."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


class ExactMatchOptions(MetricOptions):
    """Options of `exact_match`."""

    normalize: bool = False
    """Compare after SQuAD's normalisation (case, punctuation and articles do not count) rather than to the letter."""


class ExactMatch(MeanMetric):
    """The share of outputs that are the target, blanks at the ends apart."""

    name: ClassVar[str] = "exact_match"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    Options: ClassVar[type[MetricOptions]] = ExactMatchOptions
    options: ExactMatchOptions

    def score(self, answer: Answer) -> float | None:
        if self.options.normalize:
            return float(squad_words(answer.output) == squad_words(answer.target))
        return float(answer.output.strip() == answer.target.strip())


class TokenF1(MeanMetric):
    """The mean over examples of the F1 of the words that output and target share, each as often as both have it.

    Where one of the two has no word at all, 1 if the other has none either, else 0 (as in SQuAD 2.0).
    """

    name: ClassVar[str] = "token_f1"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS

    def score(self, answer: Answer) -> float | None:
        output, target = squad_words(answer.output), squad_words(answer.target)
        if not output or not target:
            return float(output == target)
        shared = sum((Counter(output) & Counter(target)).values())
        return 2 * shared / (len(output) + len(target))
