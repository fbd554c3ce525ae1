"""Folders of model files: what must be in one, and a hash of it that a plan can afford."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from ftlab.errors import ModelError, StorageError
from ftlab.files import file_lock, sha256_file, write_atomic
from ftlab.paths import cache_dir

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)
"""What a model is made of. Nothing else is fetched, hashed or read; a pickle (`.bin`, `.pt`) could run code."""

DUPLICATE_WEIGHTS = "consolidated*.safetensors"
"""The same weights again in another layout, which some publishers add."""

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_RACY_SECONDS = 2.0


def check_folder(folder: Path, source: str) -> None:
    """Raise ModelError when `folder` does not hold a model in safetensors with its config and tokenizer."""
    if not folder.is_dir():
        raise ModelError(f"model {source}: there is no folder {folder}; name an existing one")
    names = {file.name for file in folder.iterdir()}
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelError(f"model {source}: {folder} is an adapter, not a model; merge it into its base model first")
    if "config.json" not in names:
        raise ModelError(f"model {source}: {folder} has no config.json; name a folder in the layout of transformers")
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelError(
            f"model {source}: {folder} has no .safetensors file; save the model with transformers' save_pretrained "
            "(pickled weights can run code and are not read)"
        )
    if not names & set(_TOKENIZERS):
        raise ModelError(f"model {source}: {folder} has no tokenizer ({', '.join(_TOKENIZERS)}); save one beside it")


def model_files(folder: Path) -> list[Path]:
    """The files of `folder` that make the model, sorted by name."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and any(fnmatch(file.name, pattern) for pattern in MODEL_FILES)
        and not fnmatch(file.name, DUPLICATE_WEIGHTS)
    )


def hash_folder(folder: Path) -> str:
    """A sha256 over the names and bytes of the model's files: what the model is, wherever it lies.

    The hash of each file is remembered in the cache under its path, size and time of change, so that the second plan
    need not read gigabytes.
    """
    known = _remembered()
    fresh: dict[str, list[int | str]] = {}
    total = hashlib.sha256()
    for file in model_files(folder):
        stat = file.stat()
        place, mark = str(file.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        entry = known.get(place)
        if entry is not None and entry[:3] == mark:
            found = str(entry[3])
        else:
            found = sha256_file(file)
            # A file that was changed a moment ago may be changed again within the same tick of the clock.
            if time.time() - stat.st_mtime > _RACY_SECONDS:
                fresh[place] = [*mark, found]
        total.update(f"{file.name}\0{found}\n".encode())
    if fresh:
        _remember(fresh)
    return total.hexdigest()


def _store() -> Path:
    return cache_dir() / "hashes.json"


def _remembered() -> dict[str, list[int | str]]:
    try:
        found = json.loads(_store().read_bytes())
    except (OSError, ValueError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {place: entry for place, entry in entries if isinstance(entry, list) and len(entry) == 4}


def _remember(fresh: dict[str, list[int | str]]) -> None:
    # A cache that cannot be written costs time, not correctness.
    with suppress(StorageError, OSError):
        _store().parent.mkdir(parents=True, exist_ok=True)
        with file_lock(_store().with_suffix(".lock")):
            write_atomic(_store(), json.dumps(_remembered() | fresh, indent=0).encode())
