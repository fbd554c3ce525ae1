"""TRL's SFT trainer, bent to score answers only, to check what it computes, and to write checkpoints that verify."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import Trainer
from trl import SFTTrainer

from ftlab.errors import TrainingError
from ftlab.models.chat import ChatIds
from ftlab.train import checkpoint
from ftlab.train.callbacks import StepFigures, Watch
from ftlab.train.collate import Batch
from ftlab.train.meter import Meter
from ftlab.train.step import answer_loss


@dataclass(frozen=True)
class Course:
    """What a training goes through: its rows, which of them make up each step, and how they become tensors."""

    rows: Sequence[ChatIds]
    order: Sequence[Sequence[int]]
    """The rows of every step of the whole training; see `ftlab.train.collate.training_order`."""
    batch_size: int
    """Rows per forward pass; a step of more rows is several passes."""
    collate: Callable[[Sequence[ChatIds]], Batch]
    identity: str
    """What its checkpoints must carry to be resumed from."""

    def passes(self, rows: Sequence[ChatIds]) -> list[Batch]:
        """The forward passes of one step."""
        return [self.collate(rows[at : at + self.batch_size]) for at in range(0, len(rows), self.batch_size)]


class AnswerTrainer(SFTTrainer):
    """Takes its loop, optimizer, schedule and resuming from TRL and transformers, and brings its own step.

    To the trainer, the whole training is one epoch of `len(course.order)` steps, each step one item: a list of forward
    passes. So epochs, accumulation and resuming need no arithmetic of its own.
    """

    def __init__(self, course: Course, figures: StepFigures, meter: Meter, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._course = course
        self._figures = figures
        self._meter = meter
        self.watch: Watch | None = None
        self.trained = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The steps of the course. Moving to the device is left to the step."""
        return DataLoader(
            self._course.rows,  # type: ignore[arg-type]  # a sequence is all that a map-style data set needs to be
            batch_sampler=self._course.order,  # type: ignore[arg-type]
            collate_fn=self._course.passes,
        )

    def training_step(self, model: Any, inputs: Sequence[Batch], num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of one optimizer step. Raises TrainingError when the loss is not finite."""
        model.train()
        targets = sum(batch.targets for batch in inputs)
        total = torch.zeros((), device=self.args.device)
        for batch in inputs:
            with self.compute_loss_context_manager():
                loss = answer_loss(model, batch.to(self.args.device)) / targets
            self.accelerator.backward(loss)
            total += loss.detach()
        self._figures.loss = self._finite("loss", total)
        self._figures.learning_rate = float(self._get_learning_rate())
        self._meter.tokens += sum(batch.tokens for batch in inputs)
        return total

    def _clip_grad_norm(self, model: Any) -> torch.Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.args.max_grad_norm)
        self._figures.grad_norm = self._finite("gradient norm", norm)
        return norm

    def _finite(self, what: str, value: torch.Tensor) -> float:
        number = float(value)
        if not math.isfinite(number):
            message = (
                f"the {what} became {'not a number' if math.isnan(number) else 'infinite'} at step "
                f"{self.state.global_step + 1} of {self.state.max_steps}, at a learning rate of "
                f"{self._get_learning_rate():.3g}; try a lower learning_rate or a longer warmup_ratio"
            )
            step = self.state.global_step + 1
            raise TrainingError(message) if self.watch is None else self.watch.not_finite(message, step)
        return number

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: walking all parameters at every step costs more than the figure is worth."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Past TRL's own, which would write a model card into every checkpoint.
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        with self._meter.paused(), checkpoint.writing(folder):
            Trainer._save_checkpoint(self, model, trial)
            if self.watch is not None:
                progress = self.watch.progress
                progress.seconds, progress.tokens = self._meter.seconds, self._meter.tokens
                (folder / checkpoint.PROGRESS).write_bytes(progress.to_bytes())
                if self.watch.kept is not None:
                    save_file(self.watch.kept, folder / checkpoint.BEST)
            checkpoint.seal(folder, self._course.identity)
            checkpoint.remove_older(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach() for name, tensor in self.trained.items()}, folder / checkpoint.WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_into(self.trained, load_file(Path(resume_from_checkpoint) / checkpoint.WEIGHTS))

    def _send_telemetry(self) -> None:
        """Nothing is sent anywhere."""


def load_into(trained: dict[str, torch.Tensor], stored: dict[str, torch.Tensor]) -> None:
    """Copy stored weights over the trained ones, bit for bit. Raises ValueError when names or shapes differ."""
    if {name: tensor.shape for name, tensor in trained.items()} != {name: old.shape for name, old in stored.items()}:
        raise ValueError("the stored weights are those of another model")
    with torch.no_grad():
        for name, tensor in trained.items():
            tensor.copy_(stored[name])
