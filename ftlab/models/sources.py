"""Where base models come from: builtin, a folder, a hub. Settles what a name stands for, then brings the files.

Light: no torch, so that a plan can settle a model in milliseconds. The heavy half is `ftlab.models.load`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from ftlab.catalog import MODELS
from ftlab.errors import ModelError
from ftlab.events import EventType, Reporter, ignore
from ftlab.files import file_lock, fsync_dir, fsync_file, sha256_file, storage_errors, write_atomic
from ftlab.hub import HUB_ID, resolve_commit, unreachable
from ftlab.models.builtin import BuiltinModel
from ftlab.models.folder import DUPLICATE_WEIGHTS, MODEL_FILES, check_folder, hash_folder
from ftlab.paths import cache_dir
from ftlab.plan.run import ModelRef
from ftlab.spec.schema import ModelSpec
from ftlab.wheels import fresh_folder

BUILTIN = "builtin:"
_MANIFEST = "COMPLETE.json"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """What the cache holds of one builtin model."""

    source: str
    folder: Path
    complete: bool
    bytes: int


def resolve_model(spec: ModelSpec | str, root: Path) -> ModelRef:
    """Settle which weights `spec` stands for; a relative folder starts from `root`. Downloads no weights.

    The revision is a constant for a builtin, a hash of the files for a folder, the commit for a hub id.
    Raises ModelError or UnknownNameError for what does not exist, FetchError when a hub cannot be asked.
    """
    wanted = ModelSpec(source=spec) if isinstance(spec, str) else spec
    source = wanted.source
    if source.startswith(BUILTIN):
        builtin = _builtin(source)
        folder = _builtin_folder(source, builtin)
        place = str(folder) if _is_complete(folder) else None
        return ModelRef(source=source, revision=builtin.revision, dtype=wanted.dtype, folder=place)
    if source.startswith((".", "/", "~")):
        local = (root / Path(source).expanduser()).absolute()
        check_folder(local, source)
        return ModelRef(source=source, revision=hash_folder(local), dtype=wanted.dtype, folder=str(local))
    hub = HUB_ID.match(source)
    if hub is None:
        hint = f"; did you mean './{source}'?" if (root / source).is_dir() else ""
        raise ModelError(
            f"model '{source}' is neither builtin:<name> ({', '.join(MODELS.names())}), nor a folder that starts with "
            f"'.', '/' or '~', nor a hub id org/name[@revision]{hint}"
        )
    commit = resolve_commit(hub["repo"], hub["revision"], "model")
    return ModelRef(source=source, revision=commit, dtype=wanted.dtype)


def fetch_model(ref: ModelRef, report: Reporter = ignore) -> Path:
    """The folder of the model's safetensors and tokenizer files, fetched and converted on first use.

    Any number of processes may ask at once: one works, the others wait. Raises FetchError when it cannot be fetched,
    ModelError when a folder is gone or has changed since the plan, StorageError when the cache cannot be written.
    """
    if ref.source.startswith(BUILTIN):
        return _fetch_builtin(ref, report)
    if ref.folder is not None:
        folder = Path(ref.folder)
        check_folder(folder, ref.source)
        if hash_folder(folder) != ref.revision:
            raise ModelError(f"model {ref.source}: the files in {folder} have changed since the plan; plan it again")
        return folder
    hub = HUB_ID.match(ref.source)
    if hub is None:
        raise ModelError(f"model {ref.source} has no folder on this machine; plan it again here")
    folder = _fetch_hub(hub["repo"], ref.revision, ref.source, report)
    check_folder(folder, ref.source)
    return folder


def cached_models() -> list[CachedModel]:
    """What the cache holds of each builtin model: for `ftlab doctor`."""
    found = []
    for name in MODELS.names():
        source = f"{BUILTIN}{name}"
        folder = _builtin_folder(source, _builtin(source))
        files = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
        size = sum(file.stat().st_size for file in files)
        found.append(CachedModel(source, folder, _is_complete(folder), size))
    return found


def _fetch_hub(repo: str, commit: str, source: str, report: Reporter) -> Path:
    """Safetensors, config and tokenizer at `commit`, in the hub's own cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # progress goes through a Reporter
    report(EventType.PROGRESS, phase="fetch", done=0, total=1, unit="models", name=source)
    try:
        folder = snapshot_download(
            repo, revision=commit, allow_patterns=list(MODEL_FILES), ignore_patterns=["*/*", DUPLICATE_WEIGHTS]
        )
    except Exception as error:
        # Connection errors come in many classes, from three libraries.
        raise unreachable("model", source, error) from error
    report(EventType.PROGRESS, phase="fetch", done=1, total=1, unit="models", name=source)
    return Path(folder)


def _builtin(source: str) -> BuiltinModel:
    return MODELS.load(source.removeprefix(BUILTIN))


def _builtin_folder(source: str, builtin: BuiltinModel) -> Path:
    return cache_dir() / "models" / f"{source.removeprefix(BUILTIN)}-{builtin.revision[:12]}"


def _fetch_builtin(ref: ModelRef, report: Reporter) -> Path:
    builtin = _builtin(ref.source)
    if builtin.revision != ref.revision:
        raise ModelError(
            f"model {ref.source}: this ftlab brings another revision of it than the plan has; plan it again"
        )
    folder = _builtin_folder(ref.source, builtin)
    if _is_complete(folder):
        return folder
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            if _is_complete(folder):
                return folder
            temporary = fresh_folder(folder)
            try:
                builtin.build(temporary, report)
                _seal(temporary)
                # What stands there under the final name was found incomplete: somebody damaged it.
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
                fsync_dir(folder.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _seal(folder: Path) -> None:
    """Make every file durable, then write the manifest of sizes and sha256."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        file.chmod(0o644)
        fsync_file(file)
    manifest = {file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in files}
    write_atomic(folder / _MANIFEST, json.dumps({"files": manifest}, indent=2).encode())


def _is_complete(folder: Path) -> bool:
    """Whether the manifest is there and every file has the size it says."""
    try:
        files = json.loads((folder / _MANIFEST).read_bytes())["files"]
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
