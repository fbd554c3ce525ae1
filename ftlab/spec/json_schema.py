"""The JSON Schema of a whole spec, for editors that complete and check as one types.

Descriptions are the docstrings of the fields. `methods` takes one branch per method type, told apart by the constant
`type`, with ranges wherever a method's field may hold one.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema

from ftlab.catalog import METHODS
from ftlab.spec.schema import ExperimentSpec
from ftlab.spec.space import ranged_form

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HEAD = "# yaml-language-server: $schema=./experiment.schema.json\n"
"""The line that makes editors with a YAML language server use the schema in the same folder."""
FILE_NAME = "experiment.schema.json"


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes up from names: editors would show them in place of the description."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def _update_class_schema(self, json_schema: JsonSchemaValue, cls: type[Any], *args: Any, **kwargs: Any) -> None:
        super()._update_class_schema(json_schema, cls, *args, **kwargs)
        json_schema.pop("title", None)


def spec_schema() -> dict[str, Any]:
    """The schema as plain data: draft 2020-12, all definitions inside."""
    forms = {name: ranged_form(METHODS.load(name).Config) for name in METHODS.names()}
    mode: JsonSchemaMode = "validation"
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (ExperimentSpec, mode),
        *((form, mode) for form in forms.values()),
    ]
    references, schema = models_json_schema(models, schema_generator=_Untitled)
    definitions = schema["$defs"]
    branches = []
    for name, form in forms.items():
        reference = references[form, mode]
        branch = _definition(definitions, reference)
        branch["properties"]["type"] = {"const": name, "description": METHODS.load(name).summary}
        branch["required"] = ["type"]
        branches.append(reference)
    _share_ranges(definitions)
    whole = definitions.pop(references[ExperimentSpec, mode]["$ref"].rpartition("/")[2])
    methods = whole["properties"]["methods"]
    names = next(iter(methods.pop("patternProperties", {})), None)
    methods["additionalProperties"] = {"oneOf": branches}
    if names:
        methods["propertyNames"] = {"pattern": names}
    return {"$schema": DIALECT, "title": "ftlab experiment", **whole, "$defs": definitions}


def schema_text() -> str:
    """The schema as the text of a file."""
    return json.dumps(spec_schema(), indent=2) + "\n"


def _share_ranges(definitions: dict[str, Any]) -> None:
    """Give each distinct range one definition: most fields are common to several method types and to their variants."""
    names: dict[str, str] = {}
    for definition in list(definitions.values()):
        for key, field in definition.get("properties", {}).items():
            if "oneOf" not in field:
                continue
            branches = field.pop("oneOf")
            text = json.dumps(branches, sort_keys=True)
            if text not in names:
                taken = sum(name.partition("-")[0] == f"{key}_or_range" for name in names.values())
                names[text] = f"{key}_or_range-{taken + 1}" if taken else f"{key}_or_range"
                definitions[names[text]] = {"oneOf": branches}
            field["$ref"] = f"#/$defs/{names[text]}"


def _definition(definitions: dict[str, Any], reference: JsonSchemaValue) -> dict[str, Any]:
    return definitions[reference["$ref"].rpartition("/")[2]]
