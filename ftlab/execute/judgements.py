"""What a judge said of an experiment, as files: `<experiment>/judgements/<n>.json`, written once and never changed.

The newest of a split counts. The scores of single examples lie in stages of the kind `judgement`, one for each pair of
predictions and judge; the answers they were read from in `stages/judgement/<judge>.answers.jsonl`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ftlab.errors import StorageError
from ftlab.files import storage_errors, write_atomic
from ftlab.plan.run import Record

FOLDER = "judgements"
NAME = re.compile(r"[0-9]{4,9}\.json")
KIND = "judgement"
SCORES_FILE = "judged.parquet"


class Rate(Record):
    """A value with its 95% interval; None where it has none."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str


class JudgedRun(Record):
    """One run's answers against the baseline's."""

    arm_id: str
    run_id: str
    predictions: str
    """The key of the run's predictions."""
    stage: str
    """The key of the stage with the scores of single examples."""
    wins: int
    ties: int
    losses: int
    unanswered: int
    """Pairs without a score: an order got no answer, or one that names no letter."""
    score: Rate | None
    """The mean of the scores; None when no pair has one."""


class JudgeRecord(Record):
    """One pass of the judge over a split."""

    version: Literal[1] = 1
    experiment_id: str
    number: int
    ts: float
    split: str
    judge: str
    """Who judged, for people."""
    identity: str
    """A hash of the judge and of what it is asked."""
    question: str
    """A hash of the template of its question."""
    baseline_arm_id: str
    baseline_predictions: str
    runs: tuple[JudgedRun, ...]
    asked: int
    """Pairs that were put to the judge: those whose answers differ."""
    unparsable: int
    """Pairs with an answer that names neither A nor B, or both."""
    silent: int
    """Pairs with an order that got no answer at all."""
    failure: str | None
    """Why the judge gave no answer, where that is known."""
    first_place: Rate | None
    """The share of answers that name the answer standing first; 0.5 for a judge without position bias."""
    flipped: int
    """Pairs with the same letter in both orders: ties by position bias alone."""
    kappa: Rate | None
    """Cohen's kappa between the judge and people, `n` in shared pairs; None where it was not measured."""
    shared: int
    """Judged pairs that people have rated."""
    raters: int
    min_kappa: float
    answered: bool
    """Whether enough pairs have an answer for the rest to be a fair sample; without it there are no scores."""
    counts: bool
    """Whether the scores count in a decision."""
    why: str
    """Why they do not; empty when they do."""


def judgement_file(experiment: Path, number: int) -> Path:
    """Where the record of this number is or will be, in an experiment's folder."""
    return experiment / FOLDER / f"{number:04d}.json"


def write_judgement(results: Path, record: JudgeRecord) -> Path:
    """Put a record down, durable before this returns. Raises StorageError, also when its number is taken."""
    path = judgement_file(results / record.experiment_id, record.number)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise StorageError(f"{path} exists already; a record of a judge is never written over")
    write_atomic(path, record.model_dump_json(indent=1).encode())
    return path


def read_judgement(path: Path) -> JudgeRecord:
    """Read one record. Raises StorageError when it cannot be read."""
    try:
        return JudgeRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StorageError(f"{path} cannot be read; delete it and run `ftlab judge` again") from error


def read_judgements(experiment: Path) -> list[JudgeRecord]:
    """Every record of an experiment, the oldest first. Raises StorageError."""
    found = (path for path in sorted((experiment / FOLDER).glob("*.json")) if NAME.fullmatch(path.name))
    return [read_judgement(path) for path in found]
