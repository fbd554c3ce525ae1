"""The JSON Schema that editors use: current, valid, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftlab.catalog import METHODS
from ftlab.spec.json_schema import FILE_NAME, HEAD, schema_text, spec_schema
from ftlab.spec.tree import read_tree

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return spec_schema()


def plain(path: Path) -> Any:
    tree, _ = read_tree(path.read_text(encoding="utf-8"), str(path))
    assert tree is not None
    return tree.plain()


def test_the_shipped_schema_is_current() -> None:
    shipped = (EXPERIMENTS / FILE_NAME).read_text(encoding="utf-8")
    assert shipped == schema_text(), "write it anew: ftlab schema -o experiments/experiment.schema.json"


def test_it_is_a_valid_schema_without_loose_ends(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "')[1:]}:
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_specs_follow_it_and_name_it(path: Path, schema: dict[str, Any]) -> None:
    jsonschema.validate(plain(path), schema)
    assert path.read_text(encoding="utf-8").startswith(HEAD)


@pytest.mark.parametrize(
    ("method", "valid"),
    [
        ({"type": "lora", "r": 8}, True),
        ({"type": "lora", "r": {"grid": [8, 16]}}, True),
        ({"type": "lora", "r": {"choice": [8, 16]}, "learning_rate": {"low": 1e-5, "high": 1e-3}, "search": {}}, True),
        ({"type": "lora", "early_stopping": {"patience": {"grid": [1, 2]}}}, True),
        ({"type": "lora", "variants": [{"r": 8, "lora_alpha": 16}]}, True),
        ({"type": "lora", "r": {"grid": ["eight"]}}, False),
        ({"type": "lora", "r": {"gird": [8]}}, False),
        ({"type": "prompt", "r": 8}, False),
        ({"type": "lora", "variants": [{"ranks": 8}]}, False),
        ({"r": 8}, False),
        ({"type": "nothing"}, False),
    ],
)
def test_methods_are_told_apart_by_type(schema: dict[str, Any], method: dict[str, Any], valid: bool) -> None:
    spec = {**plain(EXPERIMENTS / "quickstart.yaml"), "methods": {"m": method}}
    assert jsonschema.Draft202012Validator(schema).is_valid(spec) is valid


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    for name, definition in schema["$defs"].items():
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key} has no docstring"


def test_every_method_of_the_catalogue_is_in_it(schema: dict[str, Any]) -> None:
    branches = schema["properties"]["methods"]["additionalProperties"]["oneOf"]
    types = {schema["$defs"][branch["$ref"].rpartition("/")[2]]["properties"]["type"]["const"] for branch in branches}
    assert types == set(METHODS.names())


@pytest.mark.parametrize(("text", "valid"), [("${env:KEY}", True), ("sk-the-key-itself", False), ("${env:1}", False)])
def test_editors_mark_a_secret_that_stands_in_the_spec(schema: dict[str, Any], text: str, valid: bool) -> None:
    spec = plain(EXPERIMENTS / "quickstart.yaml")
    judge = {"endpoint": {"url": "http://localhost:8000/v1", "model": "m", "api_key": text}}
    for whole in ({**spec, "judge": judge}, {**spec, "execute": {"notify": [text]}}):
        assert jsonschema.Draft202012Validator(schema).is_valid(whole) is valid
