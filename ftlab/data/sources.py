"""Where rows come from: builtin, files, a hub. Settles what a source stands for, then reads it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ftlab.catalog import DATASETS
from ftlab.data.builtin import BuiltinData
from ftlab.data.formats import READERS, Table, read_table
from ftlab.data.hub import load_hub
from ftlab.data.values import Row
from ftlab.errors import DataError, Fault, SpecPath, blame
from ftlab.events import Reporter, ignore
from ftlab.files import sha256_file
from ftlab.hub import HUB_ID, resolve_commit
from ftlab.plan.identity import digest
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec

BUILTIN = "builtin:"

Result = TypeVar("Result")

ROWS_VERSION = 1
"""Part of every content hash; raise it when a reader turns the same bytes into other rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a source. A source without splits of its own has one entry, under None."""

    by_split: dict[str | None, list[Row]]
    places: dict[str | None, str]
    """Where the rows of each entry come from, for messages."""
    tables: dict[str | None, Table] = field(default_factory=dict)
    """The files behind the entries that come from files."""

    def place(self, split: str | None, index: int) -> str:
        """Where one row stands, for messages: `rows.csv:17`."""
        table = self.tables.get(split)
        return table.place(index) if table else f"{self.places[split]}: row {index + 1}"


def resolve_data(spec: DataSpec, root: Path) -> DataRef:
    """Settle which rows `spec` stands for; relative file names start from `root`. Fetches nothing.

    Raises DataError for a source that does not exist, UnknownNameError for an unknown builtin, FetchError when a hub is
    needed and cannot be asked.
    """
    with blame("data", "source"):
        return DataRef(spec=spec, content=_content(spec, root), root=str(root.absolute()))


def load_rows(ref: DataRef, report: Reporter = ignore) -> Rows:
    """Read the rows of `ref`, fetching them on first use.

    Raises DataError when they cannot be read, hold nothing, or are no longer those that `ref` was settled on, and
    FetchError when they cannot be fetched.
    """
    source = ref.spec.source
    if source is None or _is_file(source, Path(ref.root)):
        return _load_files(ref)
    if source.startswith(BUILTIN):
        with blame("data", "source"):
            _unchanged(ref, _content(ref.spec, Path(ref.root)), source)
            return Rows({None: _builtin(source).load(report)}, {None: source})
    repo, commit = source.partition("@")[0], ref.content.split()[0]
    with blame("data", "source"):
        by_split = load_hub(repo, commit, ref.spec.subset, report)
    return Rows(by_split, {split: f"{repo} ({split})" if split else repo for split in by_split})


def _content(spec: DataSpec, root: Path) -> str:
    """What the rows are, apart from how they are split: a hash, or for a hub the commit followed by the subset."""
    source = spec.source
    if source is None or _is_file(source, root) or source.startswith(BUILTIN):
        if spec.subset is not None:
            raise DataError(
                f"data.subset: only a data set of a hub has subsets, found '{spec.subset}'; remove the line",
                at=("data", "subset"),
            )
        if source is not None and source.startswith(BUILTIN):
            return digest([ROWS_VERSION, _builtin(source).content], 64)
        return _files_digest(_each_file(_files(spec, root), lambda path: (path.suffix, _hash(path))))
    hub = HUB_ID.match(source)
    if hub is None:
        raise DataError(
            f"data.source: '{source}' is neither builtin:<name> ({', '.join(DATASETS.names())}), nor a file "
            f"({', '.join(READERS)}), nor a hub id org/name[@revision]"
        )
    return f"{resolve_commit(hub['repo'], hub['revision'], 'dataset')} {ROWS_VERSION} {spec.subset or ''}".rstrip()


def _files_digest(files: dict[str | None, tuple[str, str]]) -> str:
    """Of the ending (it names the reader) and the sha256 of each split's file; where the files lie does not count."""
    return digest([ROWS_VERSION, {split or "rows": [end.lower(), found] for split, (end, found) in files.items()}], 64)


def data_files(spec: DataSpec, root: Path) -> list[Path]:
    """The files that hold the rows; none for a builtin and for a hub. Raises DataError for an unknown ending."""
    return list(_files(spec, root).values())


def _files(spec: DataSpec, root: Path) -> dict[str | None, Path]:
    if spec.files is not None:
        named: dict[str | None, Path] = {
            split: Path(name) for split, name in spec.files.model_dump().items() if name is not None
        }
        return _each_file(named, lambda name: _place(root, str(name)))
    if spec.source is not None and _is_file(spec.source, root):
        return {None: _place(root, spec.source)}
    return {}


def _load_files(ref: DataRef) -> Rows:
    """Each file is read once, so that the rows are those of the very bytes whose hash is compared."""
    files = _files(ref.spec, Path(ref.root))
    read = _each_file(files, _read)
    found = {split: (files[split].suffix, sha256) for split, (_, sha256) in read.items()}
    with blame("data", "source" if None in files else "files"):
        _unchanged(ref, _files_digest(found), ", ".join(str(path) for path in files.values()))
    tables = {split: table for split, (table, _) in read.items()}
    places = {split: str(path) for split, path in files.items()}
    return Rows({split: table.rows for split, table in tables.items()}, places, tables)


def _read(path: Path) -> tuple[Table, str]:
    """The rows of a file and the sha256 of its bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return read_table(path, data), hashlib.sha256(data).hexdigest()


def file_path(split: str | None) -> SpecPath:
    """The part of a spec that names the file of a split, or the one file of all."""
    return ("data", "source") if split is None else ("data", "files", split)


def _each_file(files: Mapping[str | None, Path], work: Callable[[Path], Result]) -> dict[str | None, Result]:
    """`work` on every file. Raises one DataError with what is wrong with any of them."""
    done: dict[str | None, Result] = {}
    faults: list[Fault] = []
    for split, path in files.items():
        try:
            with blame(*file_path(split)):
                done[split] = work(path)
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError.of(faults)
    return done


def _unchanged(ref: DataRef, content: str, what: str) -> None:
    if content != ref.content:
        raise DataError(f"{what}: the data has changed since the plan was made; plan it again")


def _builtin(source: str) -> BuiltinData:
    return DATASETS.load(source.removeprefix(BUILTIN))


def _is_file(source: str, root: Path) -> bool:
    """Whether a source is meant as a file: by its ending, by how it starts, or because it is there."""
    return Path(source).suffix.lower() in READERS or source.startswith((".", "/", "~")) or (root / source).is_file()


def _place(root: Path, name: str) -> Path:
    path = Path(os.path.normpath(root / Path(name).expanduser()))
    if path.suffix.lower() not in READERS:
        raise DataError(
            f"{path}: expected an ending of {', '.join(READERS)}, found '{path.suffix}'; rename or convert it"
        )
    return path


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        near = sorted(file.name for file in path.parent.glob(f"*{path.suffix}"))[:5] if path.parent.is_dir() else []
        there = f" (there: {', '.join(near)})" if near else ""
        return DataError(f"{path}: there is no such file{there}; relative names start from the spec's folder")
    return DataError(f"{path}: cannot be read ({error.strerror}); name a file that you may read")
