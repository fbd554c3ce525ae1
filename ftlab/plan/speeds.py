"""How fast this machine works: as earlier stages measured it, else by a rule of thumb.

Time rests on floating point operations per token of a transformer with N parameters: 2N to read or write one, 6N to
train all weights (Kaplan et al. 2020, section 2.1), 4N to train an adapter, which needs no gradients of the frozen
weights. N is counted with the embeddings here, which makes small models look a little slower than they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CORE_FLOPS = 75e9
"""Operations per second and CPU core. More than a core does: N counts embeddings, which cost next to nothing.

From the quickstart with SmolLM2-135M on 2 cores with AVX2.
"""
BENCHMARK_TOKENS = 100
"""Tokens of one multiple-choice item: its question once, and every choice."""
TRAINING_FLOPS = {"full": 6.0, "adapter": 4.0}
"""Operations per token and parameter in training, by family."""


@dataclass(frozen=True, slots=True)
class PastStage:
    """A stage that was computed before, as its folder tells."""

    kind: str
    seconds: float
    bytes: int
    summary: Mapping[str, Any]


class Speeds:
    """How fast this machine works: floating point operations, rows and benchmark items per second."""

    def __init__(self, past: Iterable[PastStage], cores: int) -> None:
        self.cores = cores
        self.rule = CORE_FLOPS * cores
        self.used: dict[str, str] = {}
        self._training: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._prediction: list[tuple[float, float]] = []
        self._items: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._memory: dict[tuple[str, int], list[float]] = defaultdict(list)
        for stage in past:
            self._learn(stage.kind, stage.summary)

    def _learn(self, kind: str, summary: Mapping[str, Any]) -> None:
        def number(key: str) -> float:
            value = summary.get(key)
            return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0

        if kind == "weights":
            parameters = number("total_parameters")
            family = "full" if number("trainable_parameters") == parameters else "adapter"
            self._training[family].append(
                (TRAINING_FLOPS[family] * parameters * number("train_tokens"), number("train_seconds"))
            )
            self._memory[family, int(parameters)].append(number("peak_memory_bytes"))
        elif kind == "predictions":
            self._prediction.append((number("examples"), number("seconds")))
        elif kind == "benchmark":
            self._items[str(summary.get("task"))].append((number("samples"), number("seconds")))

    def training(self, family: str) -> float:
        """Operations per second in training."""
        measured = _rate(self._training[family])
        self._note("training", len(self._training[family]) if measured else 0)
        return measured or self.rule

    def prediction(self, rows: int, tokens: int, parameters: int) -> float:
        """Seconds to predict `rows`, in which `tokens` are computed.

        What was measured counts by the row: what prompts share is computed once, so their length says little.
        """
        measured = _rate(self._prediction)
        self._note("prediction", len(self._prediction) if measured else 0)
        return rows / measured if measured else 2 * parameters * tokens / self.rule

    def benchmark(self, task: str, parameters: int) -> float:
        """Benchmark items per second."""
        own = self._items[task] or [pair for pairs in self._items.values() for pair in pairs]
        measured = _rate(own)
        self._note("benchmarks", len(own) if measured else 0)
        return measured or self.rule / (2 * parameters * BENCHMARK_TOKENS)

    def peak_memory(self, family: str, parameters: int) -> float:
        """The highest peak that training of this kind was measured at, or 0."""
        return max(self._memory[family, parameters], default=0.0)

    def _note(self, work: str, count: int) -> None:
        if count:
            self.used[work] = (
                f"the speed of {work} is that of {count} earlier stage{'s' * (count > 1)} in this results folder"
            )
        else:
            self.used.setdefault(work, "")


def _rate(pairs: list[tuple[float, float]]) -> float:
    amount, seconds = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    return amount / seconds if amount > 0 and seconds > 0 else 0.0
