"""ftlab's training step against TRL's defaults: the same weights, rows and order, side by side in one process.

    python -m benchmarks.training_step [--rows 64] [--methods lora full] [--batch-size 8] [--threads 2] [--rounds 2]

TRL's `SFTTrainer` gets prompt and answer ids with the loss on the answer only and keeps every default but three, each
of them in its favour or needed to compare: bfloat16 autocast is off (on a CPU without bfloat16 instructions it is many
times slower; `--autocast` leaves it on), the seeded order of the rows is ftlab's, which saves TRL the padding too, and
each step is timed. The two take turns, so that a machine that is busy with other things is busy for both. Prints the
median seconds of a step, by the clock and of the processor (which other work does not inflate as it does the clock's),
the ratios, and the largest difference between the two loss curves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from ftlab.catalog import DATASETS, METHODS
from ftlab.events import EventType, ignore
from ftlab.models.chat import ChatIds, render_chat
from ftlab.models.load import LoadedModel, load_model
from ftlab.models.sources import fetch_model, resolve_model
from ftlab.train.collate import training_order
from ftlab.train.quiet import quiet, unmarked
from ftlab.train.sft import train_sft

SYSTEM = "Name the medical specialty of the question."


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each method and print one line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=["lora", "full"])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--autocast", action="store_true", help="leave TRL's default of bfloat16 autocast on")
    options = parser.parse_args(arguments)
    reference = resolve_model("builtin:smollm2-135m-instruct", Path())
    base = load_model(reference, fetch_model(reference), options.threads)
    rows = questions(base, options.rows - options.rows % options.batch_size)
    print(
        f"{len(rows)} questions of {statistics.mean(map(len, rows)):.0f} tokens, {options.threads} threads", flush=True
    )
    for name in options.methods:
        ours: list[Instant] = []
        theirs: list[Instant] = []
        for _ in range(options.rounds):
            expected, seconds = plain_trl(base, name, rows, options.batch_size, options.autocast)
            theirs += seconds
            losses, seconds = ftlab_steps(base, name, rows, options.batch_size)
            ours += seconds
        apart = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
        mine, plain = (Instant(*map(statistics.median, zip(*steps, strict=True))) for steps in (ours, theirs))
        print(
            f"{name:6} ftlab {mine.clock:5.2f} s/step   TRL {plain.clock:5.2f} s/step   "
            f"ratio {plain.clock / mine.clock:4.2f}, of processor {plain.processor / mine.processor:4.2f}   "
            f"loss {losses[0]:.3f} to {losses[-1]:.3f}, largest difference {apart:.1e}",
            flush=True,
        )


class Instant(NamedTuple):
    """Seconds by the clock and of this process's processor time."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Instant:
        """Since some beginning."""
        return cls(time.perf_counter(), time.process_time())

    @classmethod
    def between(cls, instants: list[Instant]) -> list[Instant]:
        """What passed from each to the next."""
        return [
            cls(after.clock - before.clock, after.processor - before.processor) for before, after in pairwise(instants)
        ]


def questions(base: LoadedModel, count: int) -> list[ChatIds]:
    """The first rows of the builtin medical data, as they are trained on."""
    data = DATASETS.load("medical-specialty").load(ignore)
    return [
        render_chat(
            base.tokenizer,
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["question"]}],
            row["label"],
        )
        for row in data[:: max(1, len(data) // count)][:count]
    ]


def ftlab_steps(
    base: LoadedModel, name: str, rows: list[ChatIds], batch_size: int
) -> tuple[list[float], list[Instant]]:
    """Loss and seconds of every step of `train_sft`, the first, which warms up, without its time."""
    method = METHODS.load(name)()
    losses: list[float] = []
    clock: list[Instant] = []

    def report(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.CURVE:
            losses.append(fields["values"]["train/loss"])
            clock.append(Instant.now())

    config = method.Config(batch_size=batch_size, evaluations=0, checkpoints=0, warmup_ratio=0.0)
    with tempfile.TemporaryDirectory() as folder:
        train_sft(base, method, config, rows, [], 0, Path(folder) / "out", Path(folder) / "checkpoints", report)
    return losses, Instant.between(clock)


class Clock(TrainerCallback):
    """Notes when each step of a plain trainer ended and what its loss was."""

    def __init__(self) -> None:
        self.ended: list[Instant] = []
        self.losses: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The end of an optimizer step."""
        self.ended.append(Instant.now())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """What the trainer logs after a step."""
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


def plain_trl(
    base: LoadedModel, name: str, rows: list[ChatIds], batch_size: int, autocast: bool = False
) -> tuple[list[float], list[Instant]]:
    """Loss and seconds of every step of TRL's SFTTrainer on the same rows in the same order."""
    method = METHODS.load(name)()
    config = method.Config(batch_size=batch_size)
    order = training_order([len(row) for row in rows], batch_size, len(rows) // batch_size, 0)
    ordered = [rows[row] for step in order for row in step]
    data = Dataset.from_dict(
        {
            "input_ids": [row.prompt_ids + row.answer_ids for row in ordered],
            "labels": [[-100] * len(row.prompt_ids) + row.answer_ids for row in ordered],
        }
    )
    clock = Clock()
    model = method.attach(base, config, 0)
    try:
        with tempfile.TemporaryDirectory() as folder, quiet(), unmarked(base.model):
            trainer = SFTTrainer(
                model=model,
                args=SFTConfig(
                    output_dir=folder,
                    per_device_train_batch_size=batch_size,
                    num_train_epochs=1,
                    learning_rate=config.learning_rate,
                    lr_scheduler_type="cosine",
                    seed=0,
                    train_sampling_strategy="sequential",
                    logging_steps=1,
                    disable_tqdm=True,
                    report_to="none",
                    save_strategy="no",
                    **({} if autocast else {"bf16": False}),
                ),
                train_dataset=data,
                processing_class=base.tokenizer,
                callbacks=[clock],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
    finally:
        model.gradient_checkpointing_disable()  # TRL's default, which would stay on the base
        method.detach(base, model)
    return clock.losses, Instant.between(clock.ended)


if __name__ == "__main__":
    main(sys.argv[1:])
