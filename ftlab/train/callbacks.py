"""What happens between two optimizer steps: validation, curves, progress, early stopping, the best weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ftlab.errors import TrainingError
from ftlab.events import EventType, Reporter, RunCancelled, RunPruned
from ftlab.spec.schema import EarlyStopping, TrainFields
from ftlab.train import health
from ftlab.train.meter import Meter
from ftlab.train.step import Validation

CURVE_POINTS = 200
"""The most points of a training curve, validation apart."""

PROGRESS_SECONDS = 0.25
"""Progress is reported at most this often, and at the end."""


@dataclass
class StepFigures:
    """What the trainer measures in one optimizer step."""

    loss: float = 0.0
    """Nats per answer token, over the whole effective batch."""
    learning_rate: float = 0.0
    grad_norm: float = 0.0
    """Before clipping."""


@dataclass
class Progress:
    """What of a training must survive a kill besides weights and optimizer. Part of every checkpoint."""

    seconds: float = 0.0
    tokens: int = 0
    curves: list[tuple[int, str, float]] = field(default_factory=list)
    """(step, key, value), in the order of reporting."""
    losses: list[float] = field(default_factory=list)
    """Training losses of the steps since the last point of the curve."""
    best_step: int | None = None
    best_loss: float | None = None
    """The lowest validation loss so far."""
    reference_loss: float | None = None
    """The last validation loss that early stopping counted as an improvement."""
    without_improvement: int = 0
    stopped_early: bool = False
    found: list[health.Finding] = field(default_factory=list)
    """All that went wrong, each code once."""

    def to_bytes(self) -> bytes:
        """As JSON; floats keep every bit."""
        return json.dumps(asdict(self), allow_nan=False).encode()

    @classmethod
    def read(cls, path: Path) -> Progress:
        """From a verified checkpoint."""
        fields = json.loads(path.read_bytes())
        fields["curves"] = [(int(step), str(key), float(value)) for step, key, value in fields["curves"]]
        fields["found"] = [health.Finding(**finding) for finding in fields.get("found", [])]
        return cls(**fields)


@dataclass(frozen=True)
class Schedule:
    """At which steps something happens besides training."""

    total: int
    steps_per_epoch: int
    evaluations: frozenset[int]
    checkpoints: frozenset[int]

    @classmethod
    def of(cls, config: TrainFields, total: int, steps_per_epoch: int, validated: bool) -> Schedule:
        """Evaluations evenly with the last at the end; checkpoints evenly on the way, the end excluded."""
        count, parts = config.evaluations if validated else 0, config.checkpoints + 1
        return cls(
            total=total,
            steps_per_epoch=steps_per_epoch,
            evaluations=frozenset(max(1, round(total * turn / count)) for turn in range(1, count + 1)),
            checkpoints=frozenset(round(total * turn / parts) for turn in range(1, parts)) - {0, total},
        )

    def draws(self, step: int) -> bool:
        """Whether the curve gets a point after `step`."""
        return step % -(-self.total // CURVE_POINTS) == 0 or step == self.total


class Watch(TrainerCallback):
    """Reports a training while it runs and decides when it is over.

    `validate` measures the validation loss. `kept` holds the best weights so far, on the CPU, if `keep_best` says that
    they are the result or `hold_best` that they are wanted besides. `hold` is called after every step, with its number.
    `cancelled` is what the reporter raised after a step: a checkpoint is written first, for the caller to raise then.
    With `stop_on_diverge` the first thing that goes wrong ends the training: with the best weights where some are kept
    and something was learnt, else with a TrainingError.
    """

    def __init__(
        self,
        schedule: Schedule,
        progress: Progress,
        figures: StepFigures,
        meter: Meter,
        report: Reporter,
        validate: Callable[[], Validation],
        trained: dict[str, torch.Tensor],
        early_stopping: EarlyStopping | None,
        keep_best: bool,
        stop_on_diverge: bool,
        hold_best: bool = False,
        hold: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.progress = progress
        self.kept: dict[str, torch.Tensor] | None = None
        self.cancelled: RunCancelled | None = None
        self._schedule = schedule
        self._figures = figures
        self._meter = meter
        self._report = report
        self._validate = validate
        self._trained = trained
        self._early_stopping = early_stopping
        self._keep_best = keep_best
        self._stop_on_diverge = stop_on_diverge
        self._hold_best = hold_best
        self._hold = hold
        self._reported = 0.0

    def replay(self) -> None:
        """Report the curves and warnings of the attempts before this one, so that this one shows its training whole."""
        points: dict[int, dict[str, float]] = {}
        for step, key, value in self.progress.curves:
            points.setdefault(step, {})[key] = value
        for step, values in points.items():
            self._report(EventType.CURVE, step=step, values=values)
        for finding in self.progress.found:
            self._report(EventType.WARNING, **asdict(finding))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock: optimizer, schedule and checkpoint are in place."""
        self._meter.start()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop the clock."""
        self._meter.stop()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Everything that is due after one optimizer step."""
        step = int(state.global_step)
        self.progress.losses.append(self._figures.loss)
        values = self._training_point(step) if self._schedule.draws(step) else {}
        scores: dict[str, list[float]] = {}
        if step in self._schedule.evaluations:
            with self._meter.paused():
                found = self._validate()
                values["validation/loss"], scores = found.loss, {"scores": found.rows}
                self._note_validation(step, found.loss)
        if values:
            self.progress.curves += [(step, key, value) for key, value in values.items()]
            self._report(EventType.CURVE, step=step, values={**values, **(self._spent() if scores else {})}, **scores)
            self._watch_health()
        with self._meter.paused():
            self._hold(step)
        if self.progress.stopped_early:
            control.should_training_stop = True
        elif step in self._schedule.checkpoints:
            control.should_save = True
        last = step == self._schedule.total or self.progress.stopped_early
        try:
            self._show(step, last)
        except RunCancelled as cancelled:
            # A training that is through is stored first; what comes after it will be told to stop.
            if not last:
                self.cancelled = cancelled
                control.should_training_stop = True
                control.should_save = not isinstance(cancelled, RunPruned)
                self._report(EventType.CURVE, step=step, values=self._spent())
        return control

    def _spent(self) -> dict[str, float]:
        """What the training took up to here. Told apart from the curves, for a training that leaves no summary."""
        return {"cost/train_tokens": float(self._meter.tokens), "cost/train_seconds": self._meter.seconds}

    def finish(self) -> None:
        """Say what in the course of the training a user should know of."""
        self._tell(health.ended_unlearnt(self._curve("train/loss")))
        if not self._keep_best:
            self._tell(health.ended_overfitted(self._curve("validation/loss")))

    def not_finite(self, message: str, step: int) -> TrainingError:
        """The error that ends a training in which a number is none any more, told as a warning too."""
        self._tell(health.Finding("not_finite", message, step))
        return TrainingError(message)

    def _watch_health(self) -> None:
        training, norms = self._curve("train/loss"), self._curve("train/grad_norm")
        self._react(health.exploding(norms, training))
        # Weights that are the best so far are not hurt by what comes after them.
        if not self._keep_best or self._stop_on_diverge:
            self._react(health.overfitting(training, self._curve("validation/loss")))
        self._react(health.plateau(training, self._schedule.total))

    def _react(self, finding: health.Finding | None) -> None:
        """Tell of something that goes wrong, once, and end the training if that was asked for."""
        if finding is None or self._knows(finding):
            return
        if not self._stop_on_diverge:
            self._tell(finding)
        elif self._keep_best and self.kept is not None and finding.code != "loss_not_falling":
            kept = f"; stopped here, and the best weights, of step {self.progress.best_step}, are kept"
            self._tell(replace(finding, message=finding.message + kept))
            self.progress.stopped_early = True
        else:
            self._tell(finding)
            raise TrainingError(f"stopped at step {finding.step} by on_diverge: {finding.message}")

    def _tell(self, finding: health.Finding | None) -> None:
        if finding is not None and not self._knows(finding):
            self.progress.found.append(finding)
            self._report(EventType.WARNING, **asdict(finding))

    def _knows(self, finding: health.Finding) -> bool:
        return any(known.code == finding.code for known in self.progress.found)

    def _training_point(self, step: int) -> dict[str, float]:
        losses = self.progress.losses
        values = {
            "train/loss": sum(losses) / len(losses),
            "train/learning_rate": self._figures.learning_rate,
            "train/grad_norm": self._figures.grad_norm,
            "train/tokens_per_second": self._meter.tokens_per_second,
            "train/memory_bytes": float(self._meter.memory_bytes),
            "train/epoch": step / self._schedule.steps_per_epoch,
        }
        losses.clear()
        return values

    def _note_validation(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"the validation loss is not a number any more at step {step}; try a lower learning_rate"
            raise self.not_finite(message, step)
        progress = self.progress
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, step
            if self._keep_best or self._hold_best:
                self.kept = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._trained.items()}
        stopping = self._early_stopping
        needed = stopping.min_delta if stopping else 0.0
        if progress.reference_loss is None or loss < progress.reference_loss - needed:
            progress.reference_loss, progress.without_improvement = loss, 0
        else:
            progress.without_improvement += 1
        if stopping and progress.without_improvement >= stopping.patience and step < self._schedule.total:
            progress.stopped_early = True

    def _show(self, step: int, last: bool) -> None:
        now = time.monotonic()
        if last or now - self._reported >= PROGRESS_SECONDS:
            self._reported = now
            self._report(
                EventType.PROGRESS,
                phase="train",
                done=step,
                total=self._schedule.total,
                unit="steps",
                loss=self._figures.loss,
                tokens_per_second=self._meter.tokens_per_second,
            )

    def _curve(self, key: str) -> Sequence[tuple[int, float]]:
        return [(step, value) for step, name, value in self.progress.curves if name == key]
