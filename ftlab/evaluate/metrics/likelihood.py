"""How likely the model finds the right answer, whatever it would have said itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, get_args

from ftlab.evaluate.metrics.base import Answer, Direction, Unit
from ftlab.evaluate.metrics.sums import CorpusMetric, ratio
from ftlab.spec.metrics import TaskType

if TYPE_CHECKING:
    import numpy as np


class Perplexity(CorpusMetric):
    """exp of the mean over examples of the nats per token of the target, given the prompt.

    The tokens are the target's in the model's chat template, with the token that ends the turn. Every example counts
    alike, however long its target. Perplexities of models with different tokenizers cannot be compared. Scores of
    single examples are in nats.

    It needs the model: the log-likelihood of every target is computed and stored with the predictions, so naming this
    metric predicts again where predictions were stored without.
    """

    name: ClassVar[str] = "perplexity"
    version: ClassVar[str] = "1"
    direction: Direction = "lower"
    unit: Unit = "perplexity"
    tasks: ClassVar[frozenset[TaskType]] = frozenset(get_args(TaskType))
    needs_target: ClassVar[bool] = True

    def score(self, answer: Answer) -> float | None:
        """Nats per token of the target."""
        return answer.target_nats

    def table(self, answers: Sequence[Answer]) -> np.ndarray:
        import numpy as np

        nats = [answer.target_nats for answer in answers]
        rows = [(0.0, 0.0) if value is None else (value, 1.0) for value in nats]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        import numpy as np

        with np.errstate(over="ignore"):  # beyond a float there is no value
            return np.exp(ratio(sums[:, 0], sums[:, 1]))
