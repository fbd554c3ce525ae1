"""Text compared with a reference by what they share: ROUGE, BLEU, chrF, and how long outputs are beside targets.

The libraries' own numbers: rouge-score (Google's reimplementation of Lin 2004) and sacrebleu (Post 2018). BLEU and chrF
run from 0 to 1 here, as in their papers (Papineni et al. 2002, Popović 2015); sacrebleu prints them times 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftlab.evaluate.metrics.base import TEXT_TASKS, Answer, Direction, Unit
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.evaluate.metrics.sums import CorpusMetric, ratio
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    import numpy as np


class RougeOptions(MetricOptions):
    """Options of ROUGE."""

    stemmer: bool = False
    """Compare English word stems (Porter)."""


class _Rouge(MeanMetric):
    """The mean F-measure. The tokenizer of rouge-score knows the letters a to z and digits alone: a text in another
    script has no words, and scores 0."""

    kind: ClassVar[str]
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    Options: ClassVar[type[MetricOptions]] = RougeOptions
    options: RougeOptions

    def score(self, answer: Answer) -> float | None:
        return _rouge(self.kind, self.options.stemmer, answer.target, answer.output)


@lru_cache(maxsize=2**14)
def _rouge(kind: str, stemmer: bool, target: str, output: str) -> float:
    return float(_scorer(kind, stemmer).score(target, output)[kind].fmeasure)


@lru_cache(maxsize=8)
def _scorer(kind: str, stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=stemmer)


class Rouge1(_Rouge):
    """Shared words."""

    name: ClassVar[str] = "rouge1"
    kind: ClassVar[str] = "rouge1"


class Rouge2(_Rouge):
    """Shared pairs of neighbouring words."""

    name: ClassVar[str] = "rouge2"
    kind: ClassVar[str] = "rouge2"


class RougeL(_Rouge):
    """The longest common subsequence of words, over the whole text."""

    name: ClassVar[str] = "rougeL"
    kind: ClassVar[str] = "rougeL"


class _SacreBleu(CorpusMetric):
    """A metric of sacrebleu, whose corpus value depends on sums of each segment's counts.

    sacrebleu's own resampling (`sacrebleu.significance`) takes the same two steps, which have no public name; a test
    compares the result with the public `corpus_score`.
    """

    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS

    @cached_property
    def _corpus(self) -> Any:
        """sacrebleu's metric for a corpus."""
        raise NotImplementedError

    @cached_property
    def _sentence(self) -> Any:
        """The same for one sentence."""
        return self._corpus

    def table(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np

        if not answers:
            return np.zeros((0, 1))
        outputs, targets = [answer.output for answer in answers], [answer.target for answer in answers]
        return np.array(self._corpus._extract_corpus_statistics(outputs, [targets]), dtype=np.float64)

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        import numpy as np

        values = (self._corpus._compute_score_from_stats(row).score / 100 for row in sums.tolist())
        # A perfect BLEU comes out as 100.00000000000004.
        return np.minimum(np.fromiter(values, dtype=np.float64, count=len(sums)), 1.0)

    def score(self, answer: Answer) -> float | None:
        """sacrebleu's sentence score."""
        return min(1.0, float(self._sentence.sentence_score(answer.output, [answer.target]).score / 100))


class BleuOptions(MetricOptions):
    """Options of BLEU."""

    tokenize: Literal["13a", "intl", "char", "none"] = "13a"
    """sacrebleu's tokenizer; `char` for scripts without blanks between words."""
    lowercase: bool = False
    """Ignore case."""


class Bleu(_SacreBleu):
    """BLEU-4 of the corpus; of a single sentence with effective order, as sacrebleu advises."""

    name: ClassVar[str] = "bleu"
    Options: ClassVar[type[MetricOptions]] = BleuOptions
    options: BleuOptions

    @cached_property
    def _corpus(self) -> Any:
        return self._bleu(False)

    @cached_property
    def _sentence(self) -> Any:
        return self._bleu(True)

    def _bleu(self, effective_order: bool) -> Any:
        from sacrebleu.metrics import BLEU

        return BLEU(
            tokenize=self.options.tokenize,
            lowercase=self.options.lowercase,
            effective_order=effective_order,
            force=True,  # outputs may look tokenized; sacrebleu would warn on stderr
        )


class ChrfOptions(MetricOptions):
    """Options of chrF."""

    word_order: Literal[0, 1, 2] = 0
    """0 is chrF, 2 is chrF++."""


class Chrf(_SacreBleu):
    """F-score of character n-grams up to 6, recall counting twice as much; works for any script."""

    name: ClassVar[str] = "chrf"
    Options: ClassVar[type[MetricOptions]] = ChrfOptions
    options: ChrfOptions

    @cached_property
    def _corpus(self) -> Any:
        from sacrebleu.metrics import CHRF

        return CHRF(word_order=self.options.word_order)


class LengthRatio(CorpusMetric):
    """Words of all outputs over words of all targets, words being what blanks separate. 1 is as long as the targets.

    It says how outputs are, not how good.
    """

    name: ClassVar[str] = "length_ratio"
    version: ClassVar[str] = "1"
    direction: Direction = "none"
    unit: Unit = "ratio"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS

    def table(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np

        counts = [(len(answer.output.split()), len(answer.target.split())) for answer in answers]
        return np.array(counts, dtype=np.float64).reshape(-1, 2)

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])
