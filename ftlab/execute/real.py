"""The pipeline that does the work: real data, real models. Lives in the worker and keeps its base from run to run.

Memory is that of the whole worker process at its highest while the stage works (its libraries, the base, what is
computed; sampled every 50 ms), from the moment the model stands ready; on a GPU, the highest that torch's allocator
held. What an earlier run of the same worker freed is handed back to the system before a stage begins, so its peak is
not charged to the next.

A trained model is always used as it was stored, restored from the stage's folder: whether a run trained it a moment ago
or a year ago, its predictions are the same to the last bit. Restoring costs a fraction of a second.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.catalog import METHODS
from ftlab.errors import UsageError
from ftlab.events import EventType, Reporter
from ftlab.execute.pipeline import Summary
from ftlab.methods.base import Method
from ftlab.plan.identity import base_key, benchmark_key, scores_key
from ftlab.plan.run import ModelRef, RunConfig
from ftlab.spec.schema import MethodConfig, TrainedConfig

if TYPE_CHECKING:
    from ftlab.data.dataset import Dataset, Example
    from ftlab.models.chat import ChatIds
    from ftlab.models.load import LoadedModel
    from ftlab.train.meter import PeakMemory


@dataclass(frozen=True, slots=True)
class _Adapted:
    """The model that the base carries now."""

    folder: Path
    method: Method
    model: Any


class RealPipeline:
    """Everything heavy is imported by the first stage that needs it: rescoring loads neither torch nor a model."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._base: LoadedModel | None = None
        self._adapted: _Adapted | None = None
        self._read: tuple[Path, Dataset] | None = None

    def dataset(self, config: RunConfig, out: Path, report: Reporter) -> Summary:
        """Read, check and split the rows."""
        from ftlab.data.dataset import build_dataset, write_dataset

        return write_dataset(build_dataset(config.data, config.task, fold=config.fold), out)

    def weights(
        self,
        config: RunConfig,
        dataset: Path,
        out: Path,
        checkpoints: Path,
        report: Reporter,
        start: Path | None = None,
    ) -> Summary:
        """Train on the rows of train, with the loss on the target's tokens; validation rows measure the loss only."""
        from ftlab.train.candidates import points_of
        from ftlab.train.sft import train_sft

        base = self._load(config.model, report)
        self._restore_base()
        method, method_config = _method(config)
        if not isinstance(method_config, TrainedConfig):
            raise TypeError(f"method {method.name} has weights to train, but its Config is no TrainedConfig")
        rows = self._dataset(dataset)
        train, validation = (_tokenized(config, base, rows, rows.splits[split]) for split in ("train", "validation"))
        kept = points_of(config.points, config.benchmarks.shares(), method_config.keep, checkpoints)
        candidates = kept if config.points else None
        return train_sft(
            base, method, method_config, train, validation, config.seed, out, checkpoints, report, candidates, start
        )

    def predictions(
        self, config: RunConfig, split: str, dataset: Path, weights: Path | None, out: Path, report: Reporter
    ) -> Summary:
        """Generate an answer to every row, or choose the likeliest label. `serving_memory_bytes` is the peak."""
        from ftlab.evaluate.predict import predict

        base = self._load(config.model, report)
        model = self._model(config, base, weights)
        rows = self._dataset(dataset)
        with _watched(model) as memory:
            summary = predict(model, base, rows, config, split, out, report)
        return {**summary, "serving_memory_bytes": memory.peak}

    def scores(
        self, config: RunConfig, split: str, dataset: Path, predictions: Path, out: Path, report: Reporter
    ) -> Summary:
        """Score what was stored."""
        from ftlab.evaluate.metrics.make import metric_definitions
        from ftlab.evaluate.score import score

        # A function or a schema may have been edited since the plan was made: its scores belong under another key.
        root = Path(config.data.root)
        planned, made = config.key("scores", split), config.key("predictions", split)
        groups = config.data.spec.cluster_by
        if planned and made and scores_key(made, metric_definitions(config.task.metrics, root), groups) != planned:
            raise UsageError("a file that task.metrics names was changed since the run was planned; run again")
        summary, _ = score(self._dataset(dataset), predictions, config.task, out, root, groups)
        return summary

    def benchmark(self, config: RunConfig, task: str, weights: Path | None, out: Path, report: Reporter) -> Summary:
        """Run one task of lm-eval. `peak_memory_bytes` is the peak."""
        from ftlab.evaluate.benchmarks import benchmark_version, run_benchmark
        from ftlab.evaluate.own_tasks import own_task

        own = own_task(task, config.benchmarks, Path(config.data.root))
        if own is not None:
            made = benchmark_key(
                config.key("weights") or base_key(config.model), task, benchmark_version(task, own), config.benchmarks
            )
            if made != config.key("benchmark", task):
                raise UsageError(f"a file of benchmark '{task}' was changed since the run was planned; run again")
        base = self._load(config.model, report)
        model = self._model(config, base, weights)
        with _watched(model) as memory:
            summary = run_benchmark(
                task, model, base, config.benchmarks, out, report, config.execute.eval_batch_tokens, own
            )
        return {**summary, "peak_memory_bytes": memory.peak}

    def close(self) -> None:
        """Let go of the models."""
        self._restore_base()
        self._base = None

    def _load(self, ref: ModelRef, report: Reporter) -> LoadedModel:
        """The base model: the one that is loaded, if it is the same."""
        from ftlab.models.load import load_model
        from ftlab.models.sources import fetch_model

        if self._base is not None and _identity(self._base.ref) == _identity(ref):
            return self._base
        self.close()
        gc.collect()  # two bases at once may be more than the memory holds
        folder = fetch_model(ref, report)
        report(EventType.PROGRESS, phase="load", done=0, total=0, unit="", name=ref.source)
        self._base = load_model(ref, folder, self._threads)
        return self._base

    def _model(self, config: RunConfig, base: LoadedModel, weights: Path | None) -> Any:
        """The model as the stages after training use it: the base itself, or restored from `weights`."""
        if weights is None:
            self._restore_base()
            return base.model
        if self._adapted is None or self._adapted.folder != weights:
            self._restore_base()
            method, method_config = _method(config)
            self._adapted = _Adapted(weights, method, method.restore(base, weights, method_config))
        return self._adapted.model

    def _restore_base(self) -> None:
        """Leave the base as it was loaded."""
        if self._adapted is not None and self._base is not None:
            self._adapted.method.detach(self._base, self._adapted.model)
        self._adapted = None

    def _dataset(self, folder: Path) -> Dataset:
        from ftlab.data.dataset import read_dataset

        if self._read is None or self._read[0] != folder:
            self._read = folder, read_dataset(folder)
        return self._read[1]


@contextmanager
def _watched(model: Any) -> Iterator[PeakMemory]:
    """Watch the memory of a block that works with `model`; the peak is there when the block has ended."""
    from ftlab.train.meter import PeakMemory

    memory = PeakMemory(model.device)
    memory.start()
    try:
        yield memory
    finally:
        memory.stop()


def _identity(ref: ModelRef) -> tuple[str, str]:
    return ref.revision, ref.dtype


def _method(config: RunConfig) -> tuple[Method, MethodConfig]:
    """The method of a run and its config, checked once more against the method's own fields."""
    method: Method = METHODS.load(config.method["type"])()
    return method, method.Config.model_validate(config.method)


def _tokenized(config: RunConfig, base: LoadedModel, rows: Dataset, examples: Sequence[Example]) -> list[ChatIds]:
    """The chat of every example with its target as the answer, as token ids.

    Few-shot examples are for prediction: in training they could hold the very row that is being learnt.
    """
    from ftlab.data.prompts import render_messages
    from ftlab.models.chat import render_chat

    chats = (render_messages(config.messages, example.fields, rows.labels) for example in examples)
    return [render_chat(base.tokenizer, chat, example.target) for chat, example in zip(chats, examples, strict=True)]
