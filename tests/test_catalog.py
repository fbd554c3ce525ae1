"""The catalogue resolves every built-in name and explains an unknown one."""

from __future__ import annotations

import pytest

from ftlab import catalog
from ftlab.catalog import Registry
from ftlab.errors import UnknownNameError, UsageError

REGISTRIES = [value for value in vars(catalog).values() if isinstance(value, Registry)]


@pytest.mark.parametrize(
    ("registry", "name"),
    [(registry, name) for registry in REGISTRIES for name in registry.names()],
    ids=lambda value: value.kind if isinstance(value, Registry) else value,
)
def test_every_built_in_can_be_imported(registry: Registry, name: str) -> None:
    assert registry.load(name) is not None


def test_there_are_registries_to_test() -> None:
    assert {registry.kind for registry in REGISTRIES} >= {"method", "metric", "builtin benchmark", "builtin model"}


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalog.METHODS.load("lorra")
    assert str(caught.value).startswith("unknown method 'lorra', did you mean 'lora'? (known: full, lora, prompt")


def test_a_name_is_given_once() -> None:
    registry = Registry("method", {"one": "a:A"})
    registry.register("one", "a:A")
    with pytest.raises(UsageError, match="'one' is already registered as a:A"):
        registry.register("one", "b:B")
