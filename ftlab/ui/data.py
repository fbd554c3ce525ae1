"""What the pages read: a published snapshot, cached by its number. The ledger itself is never opened.

A snapshot never changes, so whatever was read from one stays right for as long as it is kept. DuckDB cursors are not
shared: each read takes its own, since one cursor between threads hands out the rows of another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from ftlab.decide.build import build_view
from ftlab.decide.view import DecisionView
from ftlab.execute.hold import holder
from ftlab.store.present import Ended, correct, ended_runs
from ftlab.store.ratings import Newer, ingested, lay_ratings, newer_ratings
from ftlab.store.snapshot import Snapshot, current_number, open_snapshot
from ftlab.ui.parts import plain

T = TypeVar("T")
LOG_TAIL = 64 * 1024
"""Bytes of a log that the run page shows, counted from its end."""
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Source:
    """One snapshot of one results folder: the key of everything that is cached."""

    results: str
    number: int
    ended: tuple[Ended, ...] = ()
    """Runs of which the files know more than the snapshot, since nobody is left to publish it."""
    rated: tuple[Newer, ...] = ()
    """Ratings that stand in the files and not yet in the snapshot."""


def results_dir() -> Path:
    """The results folder: FTLAB_RESULTS, else ./results."""
    return Path(os.environ.get("FTLAB_RESULTS") or "results").expanduser().absolute()


def newest(results: Path) -> Source | None:
    """The newest snapshot, or None when nothing has been published yet.

    Cheap enough for every second: it asks for the sizes of the rating files, and once no sweep works it looks at the
    runs that are not complete.
    """
    number = current_number(results)
    if number is None:
        return None
    rated = newer_ratings(results, _taken_in(str(results), number))
    if holder(results) is not None:
        return Source(str(results), number, (), rated)
    cursor = _snapshot(str(results), number).cursor()
    try:
        return Source(str(results), number, ended_runs(cursor, results), rated)
    finally:
        cursor.close()


@st.cache_resource(max_entries=4, show_spinner=False)
def _snapshot(results: str, number: int) -> Snapshot:
    return open_snapshot(Path(results), number)


@st.cache_resource(max_entries=4, show_spinner=False)
def _taken_in(results: str, number: int) -> dict[str, dict[str, int]]:
    cursor = _snapshot(results, number).cursor()
    try:
        return ingested(cursor)
    finally:
        cursor.close()


def read(source: Source, query: Callable[..., T], *args: Any, **named: Any) -> T:
    """`query(cursor, ...)` on a cursor of its own."""
    cursor = _snapshot(source.results, source.number).cursor()
    try:
        correct(cursor, source.ended)
        lay_ratings(cursor, Path(source.results), source.rated)
        return query(cursor, *args, **named)
    finally:
        cursor.close()


@st.cache_resource(max_entries=8, show_spinner=False)
def view(source: Source, experiment_id: str, split: str | None = None) -> DecisionView:
    """The decision view, built once per snapshot and split. It is frozen, so sessions may share it."""
    return read(source, build_view, experiment_id, source.number, split)


def attempt_folder(source: Source, experiment_id: str, run_id: str, attempt: int | None) -> Path | None:
    """The folder of one attempt, or None when it is not there or does not lie inside the results folder.

    Ids come from a snapshot or a URL; only those that ftlab could have made become part of a path, and a link that
    leads out of the results folder is not followed.
    """
    if attempt is None or not (_ID.fullmatch(experiment_id) and _ID.fullmatch(run_id)):
        return None
    root = Path(source.results).resolve()
    folder = (root / experiment_id / "runs" / run_id / f"a{int(attempt)}").resolve()
    return folder if folder.is_relative_to(root) and folder.is_dir() else None


def log_tail(source: Source, experiment_id: str, run_id: str, attempt: int | None) -> str | None:
    """The end of an attempt's log as plain text, or None when there is none."""
    folder = attempt_folder(source, experiment_id, run_id, attempt)
    if folder is None:
        return None
    file = folder / "log.txt"
    if file.is_symlink():
        return None
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - LOG_TAIL)
            stream.seek(start)
            lines = stream.read(LOG_TAIL).decode("utf-8", "replace")
    except OSError:
        return None
    if start:
        lines = lines.partition("\n")[2]
    # A progress bar rewrites its line; what counts is how the line ended.
    return plain("\n".join(line.rsplit("\r", 1)[-1] for line in lines.replace("\r\n", "\n").split("\n")))
