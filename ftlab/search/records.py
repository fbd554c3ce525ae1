"""Proposals on disk: `<experiment>/search/<search_id>/<number>.json`, each written whole before its arm runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ftlab.files import storage_errors, write_atomic
from ftlab.plan.run import PlannedSearch
from ftlab.search.base import Proposal


class Proposals:
    """The proposals of one search, in the order they were made."""

    def __init__(self, results: Path, search: PlannedSearch) -> None:
        self._folder = results / search.run.experiment_id / "search" / search.search_id

    def read(self) -> list[Proposal]:
        """Every proposal so far."""
        found = sorted(self._folder.glob("[0-9]*.json"))
        return [Proposal(one["values"], one["notes"]) for one in (json.loads(file.read_bytes()) for file in found)]

    def add(self, number: int, proposal: Proposal) -> None:
        """Keep one more, durably. Raises StorageError."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        content = {"number": number, "values": proposal.values, "notes": proposal.notes, "ts": time.time()}
        write_atomic(self._folder / f"{number:05d}.json", json.dumps(content, allow_nan=False).encode())
