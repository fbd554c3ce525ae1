"""Validation losses that a test chooses, where the training itself is not what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ftlab.train import sft
from ftlab.train.collate import Batch
from ftlab.train.step import Validation


def scripted(monkeypatch: pytest.MonkeyPatch, losses: Sequence[float]) -> None:
    """Make the validation loss, that of every row included, take these values, one after the other."""
    values = iter(losses)

    def found(_model: Any, batches: Sequence[Batch], _device: Any) -> Validation:
        loss = next(values)
        return Validation(loss, [loss] * sum(len(batch.labels) for batch in batches))

    monkeypatch.setattr(sft, "validation_loss", found)
