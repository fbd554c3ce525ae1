"""Where rows come from: builtin, files, a hub. Settles what a source stands for, then reads it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ftlab.catalog import DATASETS
from ftlab.data.builtin import BuiltinData
from ftlab.data.formats import READERS, Row, read_rows
from ftlab.data.hub import load_hub
from ftlab.errors import DataError
from ftlab.events import Reporter, ignore
from ftlab.files import sha256_file
from ftlab.hub import HUB_ID, resolve_commit
from ftlab.plan.identity import digest
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec

BUILTIN = "builtin:"

ROWS_VERSION = 1
"""Part of every content hash; raise it when a reader turns the same bytes into other rows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a source. A source without splits of its own has one entry, under None."""

    by_split: dict[str | None, list[Row]]
    places: dict[str | None, str]
    """Where the rows of each entry come from, for messages."""


def resolve_data(spec: DataSpec, root: Path) -> DataRef:
    """Settle which rows `spec` stands for; relative file names start from `root`. Fetches nothing.

    Raises DataError for a source that does not exist, UnknownNameError for an unknown builtin, FetchError when a hub is
    needed and cannot be asked.
    """
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
        _unchanged(ref, _content(ref.spec, Path(ref.root)), source)
        return Rows({None: _builtin(source).load(report)}, {None: source})
    repo, commit = source.partition("@")[0], ref.content.split()[0]
    by_split = load_hub(repo, commit, ref.spec.subset, report)
    return Rows(by_split, {split: f"{repo} ({split})" if split else repo for split in by_split})


def _content(spec: DataSpec, root: Path) -> str:
    """What the rows are, apart from how they are split: a hash, or for a hub the commit followed by the subset."""
    source = spec.source
    if source is None or _is_file(source, root) or source.startswith(BUILTIN):
        if spec.subset is not None:
            raise DataError(
                f"data.subset: only a data set of a hub has subsets, found '{spec.subset}'; remove the line"
            )
        if source is not None and source.startswith(BUILTIN):
            return digest([ROWS_VERSION, _builtin(source).content], 64)
        return _files_digest({split: (path.suffix, _hash(path)) for split, path in _files(spec, root).items()})
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


def _files(spec: DataSpec, root: Path) -> dict[str | None, Path]:
    if spec.files is not None:
        named = spec.files.model_dump()
        return {split: _place(root, name) for split, name in named.items() if name is not None}
    if spec.source is not None and _is_file(spec.source, root):
        return {None: _place(root, spec.source)}
    return {}


def _load_files(ref: DataRef) -> Rows:
    """Each file is read once, so that the rows are those of the very bytes whose hash is compared."""
    files = _files(ref.spec, Path(ref.root))
    found: dict[str | None, tuple[str, str]] = {}
    by_split: dict[str | None, list[Row]] = {}
    for split, path in files.items():
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error
        found[split] = (path.suffix, hashlib.sha256(data).hexdigest())
        by_split[split] = read_rows(path, data)
    _unchanged(ref, _files_digest(found), ", ".join(str(path) for path in files.values()))
    return Rows(by_split, {split: str(path) for split, path in files.items()})


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
