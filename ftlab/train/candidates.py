"""Weights at several points of one training, kept so that benchmarks can be asked there.

Those on the way are written as soon as their step is done, beside the checkpoints and each in one rename: a training
that is resumed finds what it kept before, and one whose kept weights are gone begins anew. At the end all of them, the
result among them, become folders of the stage's artifact.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.files import fsync_dir, fsync_file, storage_errors
from ftlab.spec.schema import BEST, LAST
from ftlab.train import checkpoint

FOLDER = "candidates"
"""Beside the checkpoints."""


@dataclass(frozen=True)
class Candidates:
    """What of a training is kept besides its result.

    Args:
        shares: the points on the way by name, as shares of the training between 0 and 1.
        named: `best`, `last`, both or neither.
        keep: the result, `best` or `last`.
        checkpoints: the folder of the training's checkpoints.
    """

    shares: Mapping[str, float]
    named: Sequence[str]
    keep: str
    checkpoints: Path

    @property
    def needs_best(self) -> bool:
        """Whether the weights of the lowest validation loss are among them."""
        return BEST in self.points

    @property
    def points(self) -> list[str]:
        """Every point, the result last."""
        return [*self.shares, *(point for point in self.named if point != self.keep), self.keep]

    def steps(self, total: int) -> dict[int, list[str]]:
        """The points that come after each step of a training of `total` steps."""
        found: dict[int, list[str]] = {}
        for point, share in self.shares.items():
            found.setdefault(max(1, round(total * share)), []).append(point)
        return found

    def hold(self, step: int, total: int, save: Callable[[Path], None]) -> None:
        """Keep the weights of the points after `step`, if there are any. Raises StorageError."""
        for point in self.steps(total).get(step, ()):
            _write(self._held(point), save)

    def stand(self, step: int, total: int) -> bool:
        """Whether all that was kept up to `step` is still there, so that the training may go on from it."""
        past = (point for after, points in self.steps(total).items() if after <= step for point in points)
        return all(self._held(point).is_dir() for point in past)

    def store(
        self,
        out: Path,
        total: int,
        last: int,
        best: int | None,
        save: Callable[[Path], None],
        to_best: Callable[[], None],
    ) -> dict[str, dict[str, Any]]:
        """Bring every point into `out`, and return the folder and the step of each.

        Called with the last weights in the model; `to_best` puts the best there. Points that an early end left out are
        its last weights.
        """
        after = {point: step for step, points in self.steps(total).items() for point in points if step <= last}
        folders = {point: f"p{place}" for place, point in enumerate(self.points)}
        for point, folder in folders.items():
            if point in after:
                with storage_errors(out):
                    shutil.copytree(self._held(point), out / folder)
            elif point != BEST:
                _write(out / folder, save)
        if self.needs_best:
            to_best()
            _write(out / folders[BEST], save)
        steps = {**dict.fromkeys(folders, last), **after, **({BEST: best} if self.needs_best else {})}
        return {point: {"folder": folder, "step": steps[point]} for point, folder in folders.items()}

    def _held(self, point: str) -> Path:
        return self.checkpoints / FOLDER / f"p{list(self.shares).index(point)}"


def points_of(points: Sequence[str], shares: Sequence[float], keep: str, checkpoints: Path) -> Candidates:
    """The candidates of a run: `points` as `RunConfig.points` names them, whose first ones are the `shares`."""
    on_the_way = dict(zip(points, shares, strict=False))
    return Candidates(on_the_way, [point for point in points if point in (BEST, LAST)], keep, checkpoints)


def _write(folder: Path, save: Callable[[Path], None]) -> None:
    """One folder of weights, there whole or not at all."""
    part = folder.with_name(f"{folder.name}.part")
    with checkpoint.writing(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save(part)
        for file in part.iterdir():
            fsync_file(file)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
        fsync_dir(folder.parent)
