"""A training in a process of its own, to be killed by a test.

    python child_training.py MODEL_FOLDER OUT_FOLDER METHOD FIELDS_JSON

Trains twice: once to the end, into OUT/whole, and again with checkpoints, into OUT/killed. It prints the step of the
second training as it goes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ftlab.catalog import METHODS
from ftlab.events import EventType, ignore
from ftlab.models.chat import ChatIds, render_chat
from ftlab.models.load import LoadedModel, load_model
from ftlab.plan.run import ModelRef
from ftlab.testing.tiny import tiny_rows
from ftlab.train.sft import train_sft


def rows(base: LoadedModel, count: int, seed: int = 0) -> list[ChatIds]:
    """That many rows as they are trained on; all begin with the same system message."""
    return [
        render_chat(
            base.tokenizer,
            [{"role": "system", "content": "name the label"}, {"role": "user", "content": row["question"]}],
            row["label"],
        )
        for row in tiny_rows(count, seed=seed)
    ]


def train(base: LoadedModel, method: str, fields: dict[str, Any], out: Path, report: Any = ignore) -> dict[str, Any]:
    """One training of 40 rows, with 8 more for validation."""
    found = METHODS.load(method)()
    data = rows(base, 48)
    config = found.Config(**fields)
    return train_sft(base, found, config, data[:40], data[40:], 5, out, out.with_suffix(".checkpoints"), report)


def main() -> None:
    """Train to the end, then train and say how far it is."""
    folder, out, method, fields = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    base = load_model(ModelRef(source="tiny", revision="0", dtype="float32"), folder, threads=1)
    train(base, method, fields, out / "whole")

    def report(type: EventType, **event: Any) -> None:  # noqa: A002
        if type is EventType.CURVE:
            print(event["step"], flush=True)

    train(base, method, fields, out / "killed", report)


if __name__ == "__main__":
    main()
