"""Supervised fine-tuning of any trained method: from a loaded base and tokenized rows to weights on disk."""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PrinterCallback

from ftlab.errors import DataError, OutOfMemoryError, UsageError, first_line, is_out_of_memory
from ftlab.events import EventType, Reporter
from ftlab.files import storage_errors
from ftlab.methods.base import Method
from ftlab.models.chat import ChatIds, truncate_left
from ftlab.models.load import LoadedModel
from ftlab.plan.identity import digest
from ftlab.spec.schema import TrainedConfig
from ftlab.train import checkpoint
from ftlab.train.callbacks import Progress, Schedule, StepFigures, Watch
from ftlab.train.candidates import Candidates
from ftlab.train.collate import collate, evaluation_order, planned_steps, training_order
from ftlab.train.meter import Meter, parameter_counts, reused_memory
from ftlab.train.quiet import quiet, unmarked
from ftlab.train.step import Validation, float32_on_cpu, shares_prefix, validation_loss
from ftlab.train.trainer import AnswerTrainer, Course, load_into

CURVES_FILE = "curves.parquet"

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
"""Ours to the trainer's, whose plain "constant" leaves the warmup out."""

EVALUATION_TOKENS = 2048
"""Tokens per batch when the validation loss is measured: small enough to need less memory than training does."""


def train_sft(
    base: LoadedModel,
    method: Method,
    config: TrainedConfig,
    train: Sequence[ChatIds],
    validation: Sequence[ChatIds],
    seed: int,
    out: Path,
    checkpoints: Path,
    report: Reporter,
    candidates: Candidates | None = None,
    start: Path | None = None,
) -> dict[str, Any]:
    """Adapt `base` by `method` on the answers of `train`, and write the weights and `curves.parquet` into `out`.

    Training begins from the weights in the folder `start`, where one is given; it is named by their key.

    The loss is the mean negative log-likelihood of the answer tokens of an optimizer step. Equal arguments give equal
    weights on the CPU, bit for bit, also when a killed training is resumed from `checkpoints`; the caller removes that
    folder once `out` is safe. The base is left as it was. With `candidates` the weights at several points are written,
    each into a folder of `out`, and the summary's `points` names them.

    Returns the summary of the weights stage. `train_seconds` are those of forward, backward and optimizer steps,
    without loading, validation and checkpoints; `peak_memory_bytes` is the most that the process (on a GPU, torch)
    held.

    Raises TrainingError when the loss or a gradient is not a number any more or `on_diverge` stops the training,
    OutOfMemoryError, UsageError for a config that cannot be followed, ModelError when the weights to start from do not
    fit, DataError without training rows, and StorageError when the disk is full.
    """
    _check(config, train, validation, candidates)
    rows = _fit(train, config.max_length, report)
    held_out = [truncate_left(row, config.max_length) for row in validation]
    out.mkdir(parents=True, exist_ok=True)
    with quiet(), reused_memory(), _memory_errors(config, rows):
        model = method.attach(base, config, seed)
        try:
            if start is not None:
                method.load(model, start)
            identity = _identity(base, config, rows, held_out, seed, start)
            with unmarked(base.model), float32_on_cpu(model):
                trained = _train(
                    model, base, method, config, rows, held_out, seed, identity, checkpoints, report, candidates
                )
                points = _store(trained, method, model, out, candidates)
        finally:
            method.detach(base, model)
            del model
            gc.collect()
    result = out if candidates is None else out / points[candidates.keep]["folder"]
    trained.summary["artifact_bytes"] = sum(path.stat().st_size for path in result.iterdir() if path.is_file())
    with storage_errors(out):
        _write_curves(trained.progress, out / CURVES_FILE)
    return trained.summary | ({} if candidates is None else {"points": points})


@dataclass(frozen=True)
class _Trained:
    """A training that is through. The model holds its last weights."""

    summary: dict[str, Any]
    progress: Progress
    to_best: Callable[[], None]
    """Puts the weights with the lowest validation loss into the model, where they were kept."""


def _store(
    trained: _Trained, method: Method, model: Any, out: Path, candidates: Candidates | None
) -> dict[str, dict[str, Any]]:
    """Write the result, or the weights at every point with their folders and steps."""

    def save(folder: Path) -> None:
        method.save(model, folder)

    if candidates is None:
        trained.to_best()
        with checkpoint.writing(out):
            save(out)
        return {}
    summary = trained.summary
    return candidates.store(
        out, summary["planned_steps"], summary["steps"], summary["best_step"], save, trained.to_best
    )


def _train(
    model: Any,
    base: LoadedModel,
    method: Method,
    config: TrainedConfig,
    rows: Sequence[ChatIds],
    held_out: Sequence[ChatIds],
    seed: int,
    identity: str,
    checkpoints: Path,
    report: Reporter,
    candidates: Candidates | None,
) -> _Trained:
    effective_batch = config.batch_size * config.gradient_accumulation_steps
    steps = planned_steps(len(rows), config.epochs, config.max_steps, effective_batch)
    schedule = Schedule.of(config, steps, math.ceil(len(rows) / effective_batch), bool(held_out))
    pack = partial(
        collate,
        pad_id=int(base.tokenizer.pad_token_id),
        share_prefix=shares_prefix(model, getattr(config, "lora_dropout", 0.0)),
    )
    order = training_order([len(row) for row in rows], effective_batch, steps, seed)
    course = Course(rows, order, config.batch_size, pack, identity)
    resumed = checkpoint.newest(checkpoints, identity)
    if resumed and candidates and not candidates.stand(checkpoint.step_of(resumed), steps):
        resumed = None
    progress = Progress.read(resumed / checkpoint.PROGRESS) if resumed else Progress()
    places = _evaluation(held_out)
    batches = [pack([held_out[row] for row in batch]) for batch in places]

    def validate() -> Validation:
        found = validation_loss(model, batches, base.device)
        by_place = zip((row for batch in places for row in batch), found.rows, strict=True)
        return Validation(found.loss, [loss for _, loss in sorted(by_place)])

    figures = StepFigures()
    meter = Meter(base.device, progress.seconds, progress.tokens)
    trainer = AnswerTrainer(
        course,
        figures,
        meter,
        model=model,
        args=_arguments(config, steps, seed, checkpoints),
        data_collator=list,
        train_dataset=_numbered(len(rows)),
        processing_class=base.tokenizer,
    )
    watch = Watch(
        schedule,
        progress,
        figures,
        meter,
        report,
        validate,
        trainer.trained,
        early_stopping=config.early_stopping,
        keep_best=config.keep == "best",
        stop_on_diverge=config.on_diverge == "stop",
        hold_best=candidates is not None and candidates.needs_best,
        hold=_holder(candidates, steps, partial(method.save, model)),
    )
    trainer.watch = watch
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)
    if resumed:
        if (resumed / checkpoint.BEST).is_file():
            watch.kept = load_file(resumed / checkpoint.BEST)
        watch.replay()
    with meter:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if watch.cancelled is not None:
        raise watch.cancelled
    watch.finish()
    trained, total = parameter_counts(model)

    def to_best() -> None:
        if watch.kept is not None:
            load_into(trainer.trained, watch.kept)

    summary = {
        "train_seconds": meter.seconds,
        "train_tokens": meter.tokens,
        "tokens_per_second": meter.tokens_per_second,
        "steps": int(trainer.state.global_step),
        "planned_steps": steps,
        "trainable_parameters": trained,
        "total_parameters": total,
        "peak_memory_bytes": meter.peak_memory_bytes,
        "best_step": progress.best_step,
        "resumed_from_step": checkpoint.step_of(resumed) if resumed else None,
        "stopped_early": progress.stopped_early,
        "warnings": [asdict(finding) for finding in progress.found],
    }
    return _Trained(summary, progress, to_best)


def _holder(candidates: Candidates | None, total: int, save: Callable[[Path], None]) -> Callable[[int], None]:
    """What is done after every step for the candidates."""

    def hold(step: int) -> None:
        if candidates is not None:
            candidates.hold(step, total, save)

    return hold


def _check(
    config: TrainedConfig, train: Sequence[ChatIds], validation: Sequence[ChatIds], candidates: Candidates | None
) -> None:
    if not train:
        raise DataError("there are no rows to train on; give splits.train at least one row")
    wanted = {
        "keep: best": config.keep == "best",
        "early_stopping": config.early_stopping is not None,
        "benchmarks.at: [best]": candidates is not None and candidates.needs_best,
    }
    for name, asked in wanted.items():
        if asked and (not validation or config.evaluations == 0):
            raise UsageError(f"{name} needs a validation loss; set evaluations to 1 or more and keep validation rows")


def _fit(rows: Sequence[ChatIds], max_length: int, report: Reporter) -> list[ChatIds]:
    """The rows, cut on the left to `max_length`, with a warning that counts the cut ones."""
    cut = sum(len(row) > max_length for row in rows)
    if cut:
        report(
            EventType.WARNING,
            code="truncated",
            message=f"{cut} of {len(rows)} rows to train on exceed max_length {max_length} and lose their beginning",
            step=None,
        )
    return [truncate_left(row, max_length) for row in rows]


def _evaluation(rows: Sequence[ChatIds]) -> list[list[int]]:
    return evaluation_order([len(row) for row in rows], EVALUATION_TOKENS)


def _arguments(config: TrainedConfig, steps: int, seed: int, checkpoints: Path) -> Any:
    """The trainer's arguments. What is asked of it besides the loop (logs, evaluations, cards) is switched off."""
    from trl import SFTConfig

    arguments = SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=SCHEDULERS[config.lr_scheduler_type],
        # A warmup starts at zero, so one that took every step would train nothing.
        warmup_steps=min(math.ceil(config.warmup_ratio * steps), steps - 1),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch_fused",
        seed=seed % 2**32,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=False,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )
    # One model on one device: the trainer would otherwise spread itself over every GPU that it sees.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _numbered(rows: int) -> Any:
    """What the trainer takes for its data set. The course brings the real rows."""
    from datasets import Dataset

    return Dataset.from_dict({"row": list(range(rows))})


def _identity(
    base: LoadedModel,
    config: TrainedConfig,
    rows: Sequence[ChatIds],
    held_out: Sequence[ChatIds],
    seed: int,
    start: Path | None,
) -> str:
    """Two trainings of equal identity go through the same steps, so that one may go on where the other was killed."""
    content = hashlib.sha256()
    for row in (*rows, *held_out):
        content.update(repr((row.prompt_ids, row.answer_ids)).encode())
    return digest(
        {
            "model": {"revision": base.ref.revision, "dtype": base.ref.dtype},
            "config": config.model_dump(mode="json"),
            "rows": [len(rows), len(held_out), content.hexdigest()],
            "seed": seed,
            **({} if start is None else {"start": start.name}),
            "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        }
    )


@contextmanager
def _memory_errors(config: TrainedConfig, rows: Sequence[ChatIds]) -> Iterator[None]:
    """Turn every way of running out of memory into one error with the numbers that matter."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        longest = max(len(row) for row in rows)
        raise OutOfMemoryError(
            f"out of memory while training {config.batch_size} rows of up to {longest} tokens at a time "
            f"({first_line(error)}); lower batch_size and raise "
            "gradient_accumulation_steps by as much, or lower max_length"
        ) from error


def _write_curves(progress: Progress, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("step", pa.int64()), ("key", pa.string()), ("value", pa.float64())])
    columns = {name: [point[place] for point in progress.curves] for place, name in enumerate(schema.names)}
    pq.write_table(pa.table(columns, schema=schema), path)
