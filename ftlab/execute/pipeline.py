"""The work behind the stages: how each artifact is computed, apart from when and whether.

`ftlab.execute.runner` calls one function per stage that is not on disk yet. A pipeline lives as long as its worker and
may keep what the next run needs again, a loaded base model above all. Every function writes its artifact into `out`, an
empty folder that becomes the stage's folder when the function returns, and returns the stage's summary: finite
numbers, strings, lists and dicts that JSON can hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ftlab.events import Reporter
from ftlab.plan.run import RunConfig

Summary = dict[str, Any]


class Pipeline(Protocol):
    """Computes stages. Built by the worker as `Class(threads=n)`; `threads` is its share of the CPU."""

    def dataset(self, config: RunConfig, out: Path, report: Reporter) -> Summary:
        """The rows, split and hashed."""

    def weights(
        self,
        config: RunConfig,
        dataset: Path,
        out: Path,
        checkpoints: Path,
        report: Reporter,
        start: Path | None = None,
    ) -> Summary:
        """Train, from the weights in `start` where it is given. `checkpoints` outlives a killed attempt: whole
        checkpoints found there are continued from.

        Where `config.points` names points, the weights are kept at each of them besides: `out` gets one folder for each
        and for the result, and the summary's `points` says which and after how many steps:
        `{"25%": {"folder": "p0", "step": 12}, ...}`, the result by the name of `keep`.
        """

    def predictions(
        self, config: RunConfig, split: str, dataset: Path, weights: Path | None, out: Path, report: Reporter
    ) -> Summary:
        """Answer every row of `split`; `weights` is None for a method that trains nothing."""

    def scores(
        self, config: RunConfig, split: str, dataset: Path, predictions: Path, out: Path, report: Reporter
    ) -> Summary:
        """Score stored predictions. Loads no model."""

    def benchmark(self, config: RunConfig, task: str, weights: Path | None, out: Path, report: Reporter) -> Summary:
        """Answer one general benchmark."""

    def close(self) -> None:
        """The worker ends."""
