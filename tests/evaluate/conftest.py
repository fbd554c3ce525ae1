"""Builtin benchmarks on made-up rows, and a small data set."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.catalog import BENCHMARKS
from ftlab.testing.benchmark_contract import HARNESS_NAMES

WORDS = ["the", "patient", "asks", "about", "heart", "lungs", "red", "green", "blue", "name", "of", "question"]


def _text(chance: random.Random, low: int, high: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(low, high)))


@pytest.fixture
def synthetic_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it with a number of rows: the builtin benchmarks then read so many made-up rows instead of the wheel's."""
    from ftlab.evaluate import builtin

    def install(count: int) -> None:
        for name in HARNESS_NAMES:
            benchmark = BENCHMARKS.load(name)
            chance = random.Random(name)
            lines = []
            for index in range(count + benchmark.shots):
                if benchmark.form == "yes_no":
                    answer = chance.choice(["False", "True"])
                    parts = {key: f"{_text(chance, 3, 12)} {index}" for key in ("title", "passage", "question")}
                    lines.append(json.dumps({**parts, "answer": answer}))
                    continue
                choices = [f"{_text(chance, 1, 6)} {place}" for place in range(benchmark.choices)]
                lettered = [f"{letter}. {text}" for letter, text in zip("ABCDE", choices, strict=False)]
                row = {
                    **({"passage": f"{_text(chance, 3, 12)}."} if name == "siqa" else {}),
                    "question": f"{_text(chance, 3, 12)} {index}?",
                    "options": "\n".join(lettered),
                    "answer": chance.choice(lettered),
                }
                lines.append(json.dumps(row))
            lines += ['{"question": "broken", "options": "C. x", "answer": "C. x"}'] * benchmark.dropped
            path = tmp_path / "wheel" / benchmark.member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(builtin, "extracted", lambda wheel, members, report: tmp_path / "wheel")

    return install
