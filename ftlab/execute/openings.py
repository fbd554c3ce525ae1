"""Openings of the test rows as files: `<experiment>/openings/<n>.json`, written once and never changed."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from ftlab.errors import StorageError
from ftlab.files import storage_errors, write_atomic
from ftlab.plan.opening import Opening

FOLDER = "openings"
NAME = re.compile(r"[0-9]{4,9}\.json")


def opening_file(experiment: Path, number: int) -> Path:
    """Where the opening of this number is or will be, in an experiment's folder."""
    return experiment / FOLDER / f"{number:04d}.json"


def write_opening(results: Path, opening: Opening) -> Path:
    """Put an opening on record, durable before this returns. Raises StorageError, also when its number is taken."""
    path = opening_file(results / opening.experiment_id, opening.number)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise StorageError(f"{path} exists already; an opening is never written over")
    write_atomic(path, opening.model_dump_json(indent=1).encode())
    return path


def read_opening(path: Path) -> Opening:
    """Read one opening. Raises StorageError when it cannot be read: openings are counted, so none is passed over."""
    try:
        return Opening.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StorageError(
            f"{path} cannot be read, and it records a look at the test rows; restore the file from a backup"
        ) from error


def read_openings(results: Path) -> list[Opening]:
    """Every opening of every experiment in the folder, by experiment and number. Raises StorageError."""
    found = (path for path in sorted(results.glob(f"*/{FOLDER}/*.json")) if NAME.fullmatch(path.name))
    return [read_opening(path) for path in found]
