"""The names of lm-eval's own tasks, groups and tags, read off its YAML files: no import of lm-eval, no torch.

lm-eval parses its 14,000 files whole, includes and all, which takes a minute. A name needs four keys at the top of each
file, so they are read as lines; a file whose lines are not that plain is parsed. The names are kept in the cache, by
lm-eval's version and place.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ftlab.errors import MissingExtraError, StorageError
from ftlab.files import file_lock, storage_errors, write_atomic
from ftlab.paths import cache_dir

_KEYS = re.compile(rb"^[\"']?(task|group|tag|class|include)[\"']?[ \t]*:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_PLAIN = re.compile(r"[^\s\"'#&*!|>%@`{}\[\],:?][^\"'#{}\[\],:]*|[^\s\"'#{}\[\],:]+")
_ITEM = re.compile(rb"[ \t]*-[ \t]+(.*?)[ \t\r]*$")

Keys = dict[str, Any]


def task_names() -> list[str]:
    """Every task, group and tag of the installed lm-eval, sorted. From the cache, or scanned in a few seconds.

    A cache that cannot be written is done without.
    """
    folder = _tasks_folder()
    origin = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    path = cache_dir() / "benchmarks" / f"lm-eval-{metadata.version('lm-eval')}-{origin}-names.json"
    with suppress(OSError, ValueError):
        return list(json.loads(path.read_bytes()))
    names = sorted(scan_tasks(folder))
    with suppress(StorageError), storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_suffix(".lock")):
            write_atomic(path, json.dumps(names).encode())
    return names


def scan_tasks(folder: Path) -> set[str]:
    """The names that the YAML files below `folder` define. A file that is no task is passed over, as in lm-eval."""
    names: set[str] = set()
    seen: dict[Path, Keys] = {}
    for path in folder.rglob("*.yaml"):
        with suppress(OSError, ValueError, RecursionError):
            keys = _keys(path, seen)
            if "group" in keys and "class" not in keys:
                names.update(_texts(keys["group"]))
            elif "task" in keys:
                names.update(_texts(keys["task"]))
                names.update(_texts(keys.get("tag")))
    return names


def _tasks_folder() -> Path:
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise MissingExtraError("benchmarks of lm-eval need lm-eval; run: pip install lm-eval")
    return Path(found.origin).parent / "tasks"


def _keys(path: Path, seen: dict[Path, Keys], depth: int = 0) -> Keys:
    """The wanted keys of one file, those of the files it includes filled in. Raises OSError and ValueError."""
    if path not in seen:
        if depth > 20:
            raise ValueError(f"{path}: includes go round in a circle")
        keys = _own_keys(path)
        merged: Keys = {}
        for include in _texts(keys.pop("include", None)):
            merged |= _keys((path.parent / include).resolve(), seen, depth + 1)
        seen[path] = merged | keys
    return seen[path]


def _own_keys(path: Path) -> Keys:
    data = path.read_bytes()
    keys: Keys = {}
    for found in _KEYS.finditer(data):
        value = _value(found[2].decode(), data, found.end())
        if value is None:
            return _parsed(data)
        keys[found[1].decode()] = value
    return keys or _parsed(data)


def _value(text: str, data: bytes, end: int) -> Any:
    """A plain text on the key's line, or the list of plain texts on the lines below it; None for anything else."""
    text = _uncommented(text)
    if text:
        return _scalar(text)
    items = [_scalar(_uncommented(item)) for item in _items(data, end)]
    return items if items and None not in items else None


def _items(data: bytes, end: int) -> Iterator[str]:
    for line in data[end:].split(b"\n")[1:]:
        item = _ITEM.match(line)
        if item is None:
            return
        yield item[1].decode()


def _uncommented(text: str) -> str:
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()


def _scalar(text: str) -> str | None:
    quoted = re.fullmatch(r"\"([^\"\\]*)\"|'([^']*)'", text)
    if quoted is not None:
        return quoted[1] if quoted[1] is not None else quoted[2]
    return text if _PLAIN.fullmatch(text) else None


def _parsed(data: bytes) -> Keys:
    """The same from the parser that lm-eval itself uses and brings, for whatever is not written plainly.

    Tags such as `!function` read as nothing.
    """
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Never runs what a tag names."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    try:
        found = yaml.load(data, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    wanted = ("task", "group", "tag", "class", "include")
    return {key: found[key] for key in wanted if key in found} if isinstance(found, dict) else {}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
