"""One tiny base for all tests of this folder: each must leave it as it found it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.events import EventType
from ftlab.models.chat import ChatIds, render_chat
from ftlab.models.load import LoadedModel, load_model
from ftlab.plan.run import ModelRef
from ftlab.testing.tiny import tiny_model, tiny_rows


class Events(list[tuple[EventType, dict[str, Any]]]):
    """A reporter that keeps what it hears."""

    def __call__(self, type: EventType, **fields: Any) -> None:  # noqa: A002
        self.append((type, fields))

    def of(self, type: EventType) -> list[dict[str, Any]]:  # noqa: A002
        """The fields of every event of one type."""
        return [fields for kind, fields in self if kind is type]

    def curve(self, key: str) -> list[tuple[int, float]]:
        """The points of one curve."""
        return [(point["step"], point["values"][key]) for point in self.of(EventType.CURVE) if key in point["values"]]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("train") / "tiny")


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Path) -> LoadedModel:
    return load_model(ModelRef(source="tiny", revision="0", dtype="float32"), tiny_folder, threads=1)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture(scope="session")
def chats(tiny_base: LoadedModel) -> Callable[[int], list[ChatIds]]:
    """Makes that many rows as they are trained on; all begin with the same system message."""

    def make(count: int) -> list[ChatIds]:
        return [
            render_chat(
                tiny_base.tokenizer,
                [{"role": "system", "content": "name the label"}, {"role": "user", "content": row["question"]}],
                row["label"],
            )
            for row in tiny_rows(count)
        ]

    return make
