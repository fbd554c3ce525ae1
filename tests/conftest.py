"""Fixtures that every area of the tests may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the test: its own and empty, but the user's for a test that is marked `real`."""
    from ftlab.paths import cache_dir

    if request.node.get_closest_marker("real") is None:
        folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("cache")
        monkeypatch.setenv("FTLAB_CACHE", str(folder))
    return cache_dir()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model; not to be written to."""
    from ftlab.testing.tiny import tiny_model

    return tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def tiny(tiny_folder: Path) -> LoadedModel:
    """The tiny model, freshly loaded, so that a test may change it."""
    from ftlab.models.load import load_model
    from ftlab.models.sources import resolve_model

    return load_model(resolve_model(str(tiny_folder), Path("/")), tiny_folder)


@pytest.fixture(scope="session")
def smollm2() -> LoadedModel:
    """SmolLM2-135M-Instruct in float32 from the user's cache, for tests marked `real`; shared, so leave it as it is."""
    from ftlab.models.load import load_model
    from ftlab.models.sources import fetch_model, resolve_model

    ref = resolve_model("builtin:smollm2-135m-instruct", Path("/"))
    return load_model(ref, fetch_model(ref))
