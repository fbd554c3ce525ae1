"""Outputs that should be JSON: whether they are, whether they keep to a schema, and which fields are right."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ftlab.data.formats import parse_json
from ftlab.errors import UsageError, first_line
from ftlab.evaluate.metrics.base import TEXT_TASKS, Answer
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.evaluate.metrics.sums import CorpusMetric, ratio
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions

if TYPE_CHECKING:
    import numpy as np

EXTRACTION: frozenset[TaskType] = frozenset({"extraction"})
LONGEST = 100_000
"""An output beyond so many characters is not repaired: it is a runaway, and repair takes its time."""
DEEPEST = 200
"""Levels of nesting beyond which a text counts as no JSON."""

_ABSENT = object()


def read_json(text: str, repair: bool = False) -> Any:
    """The JSON value that a text is, blanks around it apart; `_ABSENT` when it is none.

    With `repair` a text that is no JSON is mended by the library json-repair (code fences and words around it, single
    quotes, missing quotes, commas and brackets). Only an object or a list counts as mended: any word could be a string.
    """
    try:
        return _shallow(parse_json(text.strip()))
    except ValueError:
        return _repaired(text) if repair and len(text) <= LONGEST else _ABSENT


def _shallow(value: Any) -> Any:
    """`value`, or `_ABSENT` when it is nested beyond `DEEPEST`, which no reader of JSON has to follow."""
    level, depth = [value], 0
    while level:
        depth += 1
        items = (item for item in level if isinstance(item, (dict, list)))
        level = [below for item in items for below in (item.values() if isinstance(item, dict) else item)]
    return value if depth <= DEEPEST else _ABSENT


@lru_cache(maxsize=2**12)
def _repaired_text(text: str) -> str | None:
    from json_repair import repair_json

    try:
        mended = repair_json(text, return_objects=True)
        return json.dumps(mended, allow_nan=False) if isinstance(mended, (dict, list)) and mended else None
    except (ValueError, TypeError, RecursionError, IndexError, KeyError, AttributeError):
        return None  # what the library cannot mend is not mended, however it says so


def _repaired(text: str) -> Any:
    mended = _repaired_text(text)
    try:
        return _ABSENT if mended is None else _shallow(parse_json(mended))
    except ValueError:
        return _ABSENT


def _shown(value: Any) -> str | None:
    return None if value is _ABSENT else json.dumps(value, sort_keys=True)


class ValidJson(MeanMetric):
    """The share of outputs that are JSON (RFC 8259), with nothing around it."""

    name: ClassVar[str] = "valid_json"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS

    def read(self, answer: Answer) -> str | None:
        return _shown(read_json(answer.output))

    def score(self, answer: Answer) -> float | None:
        return float(read_json(answer.output) is not _ABSENT)


class JsonSchemaOptions(MetricOptions):
    """Options of the schema metrics."""

    schema_: str | dict[str, Any] = Field(alias="schema")
    """A JSON Schema: the name of a file, starting from the spec's folder, or the schema itself."""


class JsonSchema(MeanMetric):
    """The share of outputs that are JSON and valid under a schema, as they are."""

    name: ClassVar[str] = "json_schema"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = TEXT_TASKS
    repair: ClassVar[bool] = False
    Options: ClassVar[type[MetricOptions]] = JsonSchemaOptions
    options: JsonSchemaOptions

    def __init__(self, options: JsonSchemaOptions, root: Path = Path()) -> None:
        """Raises UsageError when the schema cannot be used."""
        super().__init__(options)
        try:
            self._validator = _validator(_schema(options, root))
        except ValueError as error:
            raise UsageError(f"task.metrics: the schema of '{self.name}': {error}") from error

    @staticmethod
    def check(options: JsonSchemaOptions, root: Path) -> tuple[str, str] | None:
        """(option, what is wrong with it) for a schema that cannot be read or is none."""
        try:
            _validator(_schema(options, root))
        except ValueError as error:
            return "schema", str(error)
        return None

    @staticmethod
    def content(options: JsonSchemaOptions, root: Path) -> Any:
        """What outside of the spec the values depend on: the schema in the file."""
        return _schema(options, root)

    def read(self, answer: Answer) -> str | None:
        return _shown(read_json(answer.output, self.repair))

    def score(self, answer: Answer) -> float | None:
        from jsonschema.exceptions import _WrappedReferencingError

        value = read_json(answer.output, self.repair)
        if value is _ABSENT:
            return 0.0
        try:
            return float(self._validator.is_valid(value))
        except _WrappedReferencingError as error:
            raise UsageError(
                f"task.metrics: the schema of '{self.name}' refers to what is not in it ({first_line(error)}); "
                "nothing is fetched, put it under $defs"
            ) from error
        except RecursionError as error:
            raise UsageError(f"task.metrics: the schema of '{self.name}' refers to itself without end") from error


class JsonSchemaRepaired(JsonSchema):
    """The same after repair: what a program that mends JSON before it reads it would get."""

    name: ClassVar[str] = "json_schema_repaired"
    repair: ClassVar[bool] = True


def _schema(options: JsonSchemaOptions, root: Path) -> Any:
    if not isinstance(options.schema_, str):
        return options.schema_
    path = root / Path(options.schema_).expanduser()
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({first_line(error)})") from error


def _validator(schema: Any) -> Any:
    """A validator that fetches nothing. Raises ValueError for what is no schema."""
    import jsonschema
    from referencing.jsonschema import EMPTY_REGISTRY

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top"
        raise ValueError(f"is no JSON Schema: at {where}, {first_line(error)}") from error
    return kind(schema, registry=EMPTY_REGISTRY)


class FieldOptions(MetricOptions):
    """Options of the field metrics."""

    repair: bool = False
    """Mend outputs that are no JSON before they are read."""
    ignore_case: bool = False
    """Whether case does not count in texts."""


class _Fields(CorpusMetric):
    """Micro over the fields of all examples.

    A field is a path with its value; items of a list share their path, so that their order does not count. Runs of
    blanks in texts do not count, 1 is 1.0, and a null is a field left out. An output that is no JSON has no field.
    """

    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = EXTRACTION
    Options: ClassVar[type[MetricOptions]] = FieldOptions
    options: FieldOptions

    def read(self, answer: Answer) -> str | None:
        return _shown(read_json(answer.output, self.options.repair))

    def table(self, answers: Sequence[Answer]) -> np.ndarray:
        """Fields that are right, that were given, and that were wanted."""
        import numpy as np

        rows = []
        for answer in answers:
            given = self._fields(read_json(answer.output, self.options.repair))
            wanted = self._fields(read_json(answer.target))
            rows.append((sum((given & wanted).values()), sum(given.values()), sum(wanted.values())))
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def _fields(self, value: Any) -> Counter[str]:
        return Counter() if value is _ABSENT else Counter(_leaves(value, "", self.options.ignore_case))


class FieldPrecision(_Fields):
    """Of the fields that outputs give, the share that is right."""

    name: ClassVar[str] = "field_precision"

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 1])


class FieldRecall(_Fields):
    """Of the fields that targets have, the share that outputs give rightly."""

    name: ClassVar[str] = "field_recall"

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums[:, 0], sums[:, 2])


class FieldF1(_Fields):
    """The harmonic mean of field precision and recall."""

    name: ClassVar[str] = "field_f1"

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        return ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def _leaves(value: Any, path: str, ignore_case: bool) -> Iterator[str]:
    """Every field of a JSON value as `path=value`. An empty object or list is a field of its own."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{_escaped(key)}", ignore_case)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _leaves(item, f"{path}/*", ignore_case)
    elif value is not None:
        yield f"{path}={_plain(value, ignore_case)}"


def _escaped(key: str) -> str:
    """A key that cannot be taken for the items of a list, nor for two keys (RFC 6901, and `*`)."""
    return re.sub(r"[~/*=]", lambda found: f"~{ord(found.group())}", key)


def _plain(value: Any, ignore_case: bool) -> str:
    if isinstance(value, str):
        text = " ".join(value.split())
        return json.dumps(text.casefold() if ignore_case else text)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
