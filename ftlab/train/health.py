"""What can be told from the curves of a training while it runs: pure functions, each naming one thing that goes wrong.

A curve is a list of (step, value), steps rising, values finite. What `overfitting` and `exploding` have found once they
find again in every longer curve, so that a resumed training says the same as one that was never interrupted.
"""

from __future__ import annotations

import math
import statistics
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Curve = Sequence[tuple[int, float]]

OVERFIT = 0.05
"""A validation loss this share above its lowest is worth a warning."""
EXPLODED = 10.0
"""A gradient this many times the usual one is no noise any more."""
USUAL_POINTS = 10
"""Points of a curve before anything is called unusual."""
FALL = 0.01
"""A training loss that is shown to have fallen by less than this share has not fallen."""
QUARTER_POINTS = 3
"""The fewest points of a quarter of a curve whose scatter says anything."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that goes wrong in a training."""

    code: str
    message: str
    """What was seen, and the usual mend."""
    step: int


def overfitting(training: Curve, validation: Curve) -> Finding | None:
    """The validation loss rose in two evaluations on end, by `OVERFIT` at least, while the training loss fell."""
    best_step, best = validation[0] if validation else (0, math.inf)
    for (_, before), (at, loss) in pairwise(validation):
        if loss < best:
            best_step, best = at, loss
        elif loss > before > best and loss > best * (1 + OVERFIT) and _falls(training, best_step, at):
            return Finding(
                "overfitting",
                f"the validation loss rose from {best:.3g} at step {best_step} to {loss:.3g} at step {at} while the "
                "training loss fell: the model learns the rows by heart; train for fewer epochs or set keep: best",
                at,
            )
    return None


def ended_overfitted(validation: Curve) -> Finding | None:
    """The validation loss of a training that is over lies `OVERFIT` above its lowest."""
    if not validation:
        return None
    best_step, best = min(validation, key=lambda point: point[1])
    step, loss = validation[-1]
    if loss <= best * (1 + OVERFIT):
        return None
    return Finding(
        "overfitting",
        f"the validation loss rose from {best:.3g} at step {best_step} to {loss:.3g} at the end; train for fewer "
        "epochs or set keep: best",
        step,
    )


def exploding(norms: Curve, training: Curve) -> Finding | None:
    """Two points on end with a gradient `EXPLODED` times the median before them and a loss above the median before.

    Both curves have their points at the same steps. The first `USUAL_POINTS` only tell what is usual.
    """
    usual_norms: list[float] = []
    usual_losses: list[float] = []
    first: int | None = None
    for (step, norm), (_, loss) in zip(norms, training, strict=True):
        if len(usual_norms) >= USUAL_POINTS:
            usual = statistics.median(usual_norms)
            if norm > EXPLODED * usual and loss > statistics.median(usual_losses):
                if first is not None:
                    return Finding(
                        "exploding_gradients",
                        f"the gradients explode: their norm is {norm:.3g} at step {step}, {usual:.3g} was usual before "
                        f"step {first}, and the loss rose to {loss:.3g}; try a lower learning_rate, a longer "
                        "warmup_ratio or a lower max_grad_norm",
                        step,
                    )
                first = step
                continue  # what is unusual must not become the measure of what is usual
            first = None
        insort(usual_norms, norm)
        insort(usual_losses, loss)
    return None


def plateau(training: Curve, total: int) -> Finding | None:
    """From half of the `total` steps on: the last quarter of the points so far is not below the start.

    The start is the first point or the mean of the first quarter, whichever is higher. "Not below" leaves no room for
    noise: the fall and two standard errors together are less than `FALL` of the start.
    """
    quarter = len(training) // 4
    if quarter < QUARTER_POINTS or 2 * training[-1][0] < total:
        return None
    first = [loss for _, loss in training[:quarter]]
    last = [loss for _, loss in training[-quarter:]]
    start, end = max(first[0], statistics.fmean(first)), statistics.fmean(last)
    error = math.sqrt((statistics.variance(first) + statistics.variance(last)) / quarter)
    if start - end + 2 * error >= FALL * start:
        return None
    return Finding(
        "loss_not_falling",
        f"the training loss does not fall: {start:.3g} at the start, {end:.3g} around step {training[-1][0]} of "
        f"{total}; nothing is learnt: try another learning_rate, and see whether the targets can be told from the rows",
        training[-1][0],
    )


def ended_unlearnt(training: Curve) -> Finding | None:
    """The last quarter of a training that is over has no lower loss than the first."""
    quarter = len(training) // 4
    if not quarter:
        return None
    first = sum(value for _, value in training[:quarter]) / quarter
    last = sum(value for _, value in training[-quarter:]) / quarter
    if last < first:
        return None
    return Finding(
        "loss_not_falling",
        f"the training loss did not fall: {first:.3g} in the first quarter of the steps, {last:.3g} in the last; try "
        "another learning_rate",
        training[-1][0],
    )


def _falls(training: Curve, since: int, until: int) -> bool:
    """Whether the training loss is lower in the steps after `since` than in as many before."""
    before = [loss for step, loss in training if 2 * since - until < step <= since]
    after = [loss for step, loss in training if since < step <= until]
    return bool(before and after) and statistics.fmean(after) < statistics.fmean(before)
