"""Which journals have grown since they were last read. Cheap enough to ask every second with 10,000 runs.

A folder is listed again only when its modification time says so, and a journal whose end has been read is looked at
only by a thorough look. The clock behind modification times is coarse, so a listing is trusted only once it is older
than `SETTLED_SECONDS`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SETTLED_SECONDS = 2.0

_IDENTIFIER = re.compile(r"[a-z0-9-]{1,64}")
_ATTEMPT = re.compile(r"a[1-9][0-9]{0,8}")
_NOT_EXPERIMENTS = frozenset({"stages", "snapshots"})


@dataclass(frozen=True, slots=True)
class Journal:
    """One attempt's journal and whose it is: the folders say so, by their generated ids."""

    name: str
    """The path from the results folder, with `/`."""
    experiment_id: str
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A journal with bytes that have not been read."""

    journal: Journal
    offset: int
    size: int


class Scanner:
    """Remembers what was read of which journal, and finds what to read next."""

    def __init__(self, results: Path, offsets: Mapping[str, int]) -> None:
        self.results = results
        self.unreadable: dict[tuple[str, str], str] = {}
        """Why a run's folder cannot be read, by experiment and run, as of the last look."""
        self.problems: dict[str, str] = {}
        """Why the runs of an experiment cannot be listed, by the folder, as of the last look."""
        self._offsets = dict(offsets)
        self._finished: set[str] = set()
        self._listings: dict[str, tuple[int, list[str]]] = {}

    def experiments(self) -> list[str]:
        """The ids of all experiments in the results folder, sorted. Whatever else lies there is passed over."""
        names = self._list(str(self.results), _IDENTIFIER)
        return [name for name in names if name not in _NOT_EXPERIMENTS and os.path.isdir(f"{self.results}/{name}")]

    def grown(self, thorough: bool) -> list[Growth]:
        """Every journal whose length is not what was read of it, in a fixed order. `thorough`: the finished too."""
        self.unreadable, self.problems = {}, {}
        found: list[Growth] = []
        for experiment in self.experiments():
            runs = f"{self.results}/{experiment}/runs"
            try:
                names = self._list(runs, _IDENTIFIER)
            except OSError as error:
                self.problems[f"{experiment}/runs"] = error.strerror or type(error).__name__
                continue
            for run in names:
                try:
                    for attempt in self._list(f"{runs}/{run}", _ATTEMPT):
                        name = f"{experiment}/runs/{run}/{attempt}/events.jsonl"
                        if not thorough and name in self._finished:
                            continue
                        size = _size(f"{self.results}/{name}")
                        offset = self._offsets.get(name, 0)
                        if size != offset:
                            found.append(Growth(Journal(name, experiment, run, int(attempt[1:])), offset, size))
                except OSError as error:
                    self.unreadable[experiment, run] = error.strerror or type(error).__name__
        return found

    def advance(self, name: str, offset: int, finished: bool) -> None:
        """Remember that a journal was read up to `offset`, and whether the attempt's end is among what was read."""
        self._offsets[name] = offset
        if finished:
            self._finished.add(name)

    def _list(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        """The names in a folder that match, sorted; none for a folder that is not there."""
        try:
            changed = os.stat(folder).st_mtime_ns
            known = self._listings.get(folder)
            if known is not None and known[0] == changed:
                return known[1]
            listed = time.time()
            names = sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))
        except FileNotFoundError:
            return []
        if changed / 1e9 < listed - SETTLED_SECONDS:
            self._listings[folder] = (changed, names)
        return names


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
