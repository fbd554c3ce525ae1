"""Which weights a name stands for, and how they get to this machine."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ftlab.catalog import MODELS
from ftlab.errors import FetchError, ModelError, StorageError, UnknownNameError
from ftlab.events import Reporter
from ftlab.models import folder as folders
from ftlab.models.folder import hash_folder
from ftlab.models.load import load_model
from ftlab.models.sources import cached_models, fetch_model, resolve_model
from ftlab.plan.run import ModelRef
from ftlab.spec.schema import ModelSpec
from ftlab.testing.tiny import tiny_model

ROOT = Path("/")
SOURCE = "builtin:smollm2-135m-instruct"


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A tiny model folder that the test may change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def test_a_folder_relative_to_the_spec(copy: Path) -> None:
    ref = resolve_model(ModelSpec(source="./model", dtype="bfloat16"), copy.parent)
    assert (ref.source, ref.dtype, ref.folder) == ("./model", "bfloat16", str(copy))
    assert fetch_model(ref) == copy
    loaded = load_model(ref, copy)
    assert str(loaded.model.dtype) == "torch.bfloat16"
    assert not loaded.model.training


def test_a_folder_is_what_its_files_hold_wherever_it_lies(copy: Path, tiny_folder: Path) -> None:
    revision = resolve_model(str(tiny_folder), ROOT).revision
    assert resolve_model(str(copy), ROOT).revision == revision
    (copy / "README.md").write_text("not a part of the model")
    (copy / "pytorch_model.bin").write_bytes(b"nor is this")
    assert resolve_model(str(copy), ROOT).revision == revision
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    assert resolve_model(str(copy), ROOT).revision != revision


def test_weights_of_the_same_size_are_told_apart(copy: Path, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", seed=1)
    assert (other / "model.safetensors").stat().st_size == (copy / "model.safetensors").stat().st_size
    assert hash_folder(other) != hash_folder(copy)


def test_an_unchanged_file_is_not_read_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = time.time() - 100
    for file in copy.iterdir():
        os.utime(file, (old, old))
    first = hash_folder(copy)
    read: list[str] = []
    real = folders.sha256_file
    monkeypatch.setattr(folders, "sha256_file", lambda path: read.append(path.name) or real(path))
    assert hash_folder(copy) == first
    assert read == []
    config = copy / "config.json"
    config.write_text(config.read_text() + "\n")
    assert hash_folder(copy) != first
    assert read == ["config.json"]


def test_a_broken_memory_of_hashes_costs_time_only(copy: Path, cache: Path) -> None:
    first = hash_folder(copy)
    (cache / "hashes.json").write_text('{"torn')
    assert hash_folder(copy) == first


def test_a_folder_that_changes_after_the_plan_is_refused(copy: Path) -> None:
    ref = resolve_model(str(copy), ROOT)
    (copy / "generation_config.json").write_text("{}")
    with pytest.raises(ModelError, match="have changed since the plan; plan it again"):
        fetch_model(ref)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path), "there is no folder"),
        (lambda path: (path / "config.json").unlink(), r"has no config\.json"),
        (
            lambda path: (path / "config.json").rename(path / "adapter_config.json"),
            "is an adapter, not a model; merge it",
        ),
        (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), r"no \.safetensors file; save"),
        (lambda path: (path / "tokenizer.json").unlink(), r"has no tokenizer \(tokenizer\.json"),
    ],
)
def test_folders_that_are_no_model(copy: Path, spoil: Any, message: str) -> None:
    spoil(copy)
    with pytest.raises(ModelError, match=message):
        resolve_model(str(copy), ROOT)


def test_a_folder_with_broken_files_cannot_be_loaded(copy: Path) -> None:
    ref = resolve_model(str(copy), ROOT)
    (copy / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded as a causal language model in safetensors"):
        load_model(ref, copy)
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="holds no tokenizer that can be loaded"):
        load_model(ref, copy)


def test_weights_that_are_missing_are_not_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of a causal language model, model\.norm\.weight for one"):
        load_model(resolve_model(str(copy), ROOT), copy)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("what is this", r"'what is this' is neither builtin:<name> \(smollm2-135m-instruct\), nor a folder"),
        ("model", r"did you mean '\./model'\?"),
        ("../model@x y", "there is no folder"),
    ],
)
def test_names_of_no_kind(copy: Path, source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve_model(source, copy.parent)


def test_an_unknown_builtin_suggests_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'smollm2-135m-instruct'"):
        resolve_model("builtin:smollm-135m-instruct", ROOT)


class FakeBuiltin:
    """A builtin that is a copy of the tiny model, or fails half-way."""

    revision = "f" * 64

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log = folder, log
        self.fails = False

    def build(self, folder: Path, report: Reporter) -> None:
        with self.log.open("a") as log:
            log.write("build\n")
        for file in sorted(self.folder.iterdir()):
            shutil.copy(file, folder)
            if self.fails:
                raise FetchError("no network; plug it in")
            time.sleep(0.02)


@pytest.fixture
def builtin(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, tmp_path: Path) -> FakeBuiltin:
    fake = FakeBuiltin(tiny_folder, tmp_path / "log")
    monkeypatch.setattr(MODELS, "load", lambda name: fake)
    return fake


def test_a_builtin_is_built_once_and_then_found(builtin: FakeBuiltin, cache: Path) -> None:
    ref = resolve_model(SOURCE, ROOT)
    assert (ref.revision, ref.folder) == (builtin.revision, None)
    assert not cached_models()[0].complete
    folder = fetch_model(ref)
    assert folder.parent == cache / "models"
    assert resolve_model(SOURCE, ROOT).folder == str(folder)
    assert fetch_model(ref) == folder
    assert builtin.log.read_text() == "build\n"
    assert load_model(ref, folder).tokenizer.eos_token == "<|im_end|>"
    (found,) = cached_models()
    assert (found.source, found.folder, found.complete) == (SOURCE, folder, True)
    assert found.bytes > 100_000
    manifest = json.loads((folder / "COMPLETE.json").read_bytes())["files"]
    assert set(manifest) == {file.name for file in folder.iterdir()} - {"COMPLETE.json"}


def test_a_builtin_that_fails_half_way_leaves_nothing(builtin: FakeBuiltin, cache: Path) -> None:
    builtin.fails = True
    ref = resolve_model(SOURCE, ROOT)
    with pytest.raises(FetchError, match="no network"):
        fetch_model(ref)
    assert [path.suffix for path in (cache / "models").iterdir()] == [".lock"]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    builtin: FakeBuiltin, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path, report: Reporter) -> None:
        (folder / "half").write_text("written")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(builtin, "build", build)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        fetch_model(resolve_model(SOURCE, ROOT))
    assert [path.suffix for path in (cache / "models").iterdir()] == [".lock"]


def test_a_damaged_builtin_is_built_again(builtin: FakeBuiltin) -> None:
    ref = resolve_model(SOURCE, ROOT)
    weights = fetch_model(ref) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert resolve_model(SOURCE, ROOT).folder is None
    assert (fetch_model(ref) / "model.safetensors").read_bytes() == whole
    assert builtin.log.read_text() == "build\n" * 2


def test_a_plan_of_another_revision_is_refused(builtin: FakeBuiltin) -> None:
    with pytest.raises(ModelError, match="brings another revision of it than the plan has"):
        fetch_model(ModelRef(source=SOURCE, revision="0" * 64, dtype="float32"))


def test_processes_that_want_a_builtin_at_once_build_it_once_whoever_is_killed(
    builtin: FakeBuiltin, cache: Path
) -> None:
    ref = resolve_model(SOURCE, ROOT)
    fork = multiprocessing.get_context("fork")  # the fake lives in this process alone
    first = fork.Process(target=fetch_model, args=(ref,))
    first.start()
    while not builtin.log.exists():
        time.sleep(0.005)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    others = [fork.Process(target=fetch_model, args=(ref,)) for _ in range(3)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert [process.exitcode for process in others] == [0, 0, 0]
    assert builtin.log.read_text() == "build\n" * 2
    assert sorted(path.suffix for path in (cache / "models").iterdir() if path.is_file()) == [".lock"]
    assert [path for path in (cache / "models").iterdir() if path.is_dir()] == [fetch_model(ref)]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_error(name: str) -> Exception:
    """One of the hub's own errors, made without the response that it wants."""
    from huggingface_hub import errors

    kind: type[Exception] = getattr(errors, name)
    return kind.__new__(kind)


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub's library."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[dict[str, Any]]:
    """Make the hub answer every question with `result`, or raise it; returns the questions."""
    asked: list[dict[str, Any]] = []

    def repo_info(self: object, repo: str, **kwargs: Any) -> Any:
        asked.append({"repo": repo, **kwargs})
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", repo_info)
    return asked


def test_a_hub_name_becomes_a_commit_and_no_weights_are_fetched(
    monkeypatch: pytest.MonkeyPatch, hub_cache: Path
) -> None:
    asked = answer(monkeypatch, type("Info", (), {"sha": COMMIT}))
    ref = resolve_model("org/name@v1", ROOT)
    assert (ref.source, ref.revision, ref.folder) == ("org/name@v1", COMMIT, None)
    assert (asked[0]["repo"], asked[0]["revision"], asked[0]["repo_type"]) == ("org/name", "v1", "model")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("RepositoryNotFoundError", "the hub knows no model org/name; check the spelling, or set HF_TOKEN"),
        ("RevisionNotFoundError", "model org/name has no revision 'v1'; name a branch"),
        ("GatedRepoError", "model org/name asks for consent first; accept its terms"),
    ],
)
def test_what_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch, hub_cache: Path, error: str, message: str) -> None:
    answer(monkeypatch, hub_error(error))
    with pytest.raises(ModelError, match=message):
        resolve_model("org/name@v1", ROOT)


def test_without_a_network_the_hubs_cache_answers(monkeypatch: pytest.MonkeyPatch, hub_cache: Path) -> None:
    asked = answer(monkeypatch, ConnectionError("unreachable"))
    with pytest.raises(FetchError, match=r"model org/name cannot be fetched .* \(unreachable\); check the network"):
        resolve_model("org/name", ROOT)
    refs = hub_cache / "models--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    assert resolve_model("org/name", ROOT).revision == COMMIT
    (hub_cache / "models--org--name" / "snapshots" / COMMIT).mkdir(parents=True)
    asked.clear()
    assert resolve_model(f"org/name@{COMMIT}", ROOT).revision == COMMIT
    assert asked == [], "a commit that is cached needs no answer"


def test_only_safetensors_and_text_are_fetched_from_a_hub(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, hub_cache: Path
) -> None:
    from fnmatch import fnmatch

    asked: dict[str, Any] = {}

    def snapshot_download(repo: str, **kwargs: Any) -> str:
        asked.update(repo=repo, **kwargs)
        return str(tiny_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert fetch_model(ModelRef(source="org/name@v1", revision=COMMIT, dtype="float32")) == tiny_folder
    assert (asked["repo"], asked["revision"]) == ("org/name", COMMIT)

    def fetched(name: str) -> bool:
        return any(fnmatch(name, p) for p in asked["allow_patterns"]) and not any(
            fnmatch(name, p) for p in asked["ignore_patterns"]
        )

    wanted = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json"]
    assert all(map(fetched, wanted))
    unwanted = ["pytorch_model.bin", "modeling_evil.py", "onnx/model.safetensors", "consolidated.safetensors", "a.pt"]
    assert not any(map(fetched, unwanted))


def test_a_model_that_would_need_its_own_code_is_refused(copy: Path) -> None:
    """`trust_remote_code` is off: the code beside the weights is not imported."""
    config = json.loads((copy / "config.json").read_bytes())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    ref = resolve_model(str(copy), ROOT)
    with pytest.raises(ModelError):
        load_model(ref, copy)
    assert not (copy / "ran").exists()
