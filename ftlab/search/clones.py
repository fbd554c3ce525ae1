"""Clones on disk: `<experiment>/clones/<arm_id>.json`, each written whole before its arm is planned."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ftlab.errors import StoreVersionError
from ftlab.files import storage_errors, write_atomic
from ftlab.plan.clone import Clone, cloned
from ftlab.plan.run import Plan


class Clones:
    """The clones of one experiment, in the order they were made."""

    def __init__(self, results: Path, experiment_id: str) -> None:
        self._folder = results / experiment_id / "clones"

    def read(self) -> list[Clone]:
        """Every clone so far. Raises StoreVersionError for a record that this ftlab cannot read."""
        return sorted((_read(file) for file in self._folder.glob("*.json")), key=lambda clone: (clone.ts, clone.arm_id))

    def add(self, clone: Clone) -> None:
        """Keep one more, durably. Raises StorageError."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / f"{clone.arm_id}.json", clone.model_dump_json().encode())


def with_clones(plan: Plan, results: Path) -> Plan:
    """The plan with every clone on record that fits it, those included that a kill kept from the plan."""
    for clone in Clones(results, plan.experiment_id).read():
        plan = cloned(plan, clone)
    return plan


def _read(file: Path) -> Clone:
    try:
        return Clone.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise StoreVersionError(f"{file} was written by another version of ftlab; remove it to do without") from error
