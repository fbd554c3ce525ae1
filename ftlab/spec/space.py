"""The ranged form of a method: every field takes a literal or a range of literals of its own type.

    r: 8      r: {grid: [8, 16]}      r: {choice: [4, 8, 16]}      learning_rate: {low: 1e-5, high: 1e-2, log: true}

The form is derived from the method's `Config`, so a plug-in's fields get ranges, checks and editor completion for
free. A callable discriminator decides by the keys that are there which of the four was meant: one mistake gives one
error.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler, create_model
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from ftlab.spec.block import Block
from ftlab.spec.scalars import found_value
from ftlab.spec.schema import MethodConfig
from ftlab.spec.searches import SearchSpec

MAX_VALUES = 1000
"""The longest grid, choice or list of variants."""

RANGE_KEYS = ("grid", "choice", "low", "high", "log", "step", "when")
RESERVED = ("type", "variants", "search")
"""The keys of a method that are not fields to be varied."""

RangeKind = Literal["grid", "choice", "interval"]

BRANCHES = ("literal", "grid", "choice", "interval")
"""The names that the discriminator gives to the forms of a value; pydantic puts them into the place of an error."""


def range_kind(value: Any) -> RangeKind | None:
    """Which range a plain value is, or None for a literal."""
    if isinstance(value, dict):
        if "grid" in value:
            return "grid"
        if "choice" in value:
            return "choice"
        if "low" in value or "high" in value:
            return "interval"
    return None


def _branch(value: Any) -> str:
    """The discriminator."""
    return range_kind(value) or "literal"


@cache
def ranged_form(config: type[MethodConfig]) -> type[BaseModel]:
    """The class that a method's entry is checked against: every field ranged and optional, `variants`, `search`."""
    name = config.__name__.removesuffix("Config")
    fields = {key: info for key, info in config.model_fields.items() if key != "type"}
    variant = _ranged_model(f"{name}Variant", config, fields, required=False)
    variants = Annotated[list[variant], Field(min_length=1, max_length=MAX_VALUES)] | None  # type: ignore[valid-type]
    own: dict[str, Any] = {
        "type": (config.model_fields["type"].annotation, Field(description="The method family.")),
        "variants": (
            variants,
            Field(default=None, description="Coupled values: each entry sets several fields at once."),
        ),
        "search": (
            SearchSpec | None,
            Field(default=None, description="Let Optuna propose values for every choice and every low/high range."),
        ),
    }
    return _ranged_model(name, config, fields, required=False, own=own)


def _ranged_model(
    name: str,
    origin: type[BaseModel],
    fields: dict[str, FieldInfo],
    required: bool,
    own: dict[str, Any] | None = None,
) -> type[BaseModel]:
    """A model with every field of `origin` ranged.

    Its own validators are left behind: they speak of one resolved point and are run on each of those.
    """
    definitions: dict[str, Any] = dict(own or {})
    for key, info in fields.items():
        value = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        literal = _ranged_inside(info.annotation)
        annotation = Annotated[(literal, *info.metadata, _Ranged(value))]  # type: ignore[valid-type]
        default: Any = info.get_default() if not info.is_required() else ... if required else None
        definitions[key] = (annotation, Field(default=default, description=info.description))
    model = create_model(name, __base__=Block, __module__=origin.__module__, **definitions)
    model.__doc__ = origin.__doc__
    return model


class _Ranged:
    """Marks a field as `T | {grid: [T]} | {choice: [T]} | {low, high}` (bounds for numbers only), told apart by keys.

    Blocks inside `T` are ranged in the literal alone: a range inside a range would have no order of expansion. The
    forms are built as core schemas rather than as model classes, which takes a tenth of the time.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {
                "literal": handler(source),
                "grid": self._one_of(handler, "grid", "One arm per value, in this order; several grids multiply."),
                "choice": self._one_of(handler, "choice", "A search proposes one of these values."),
                "interval": self._between(handler),
            },
            discriminator=_branch,
        )

    def _one_of(self, handler: GetCoreSchemaHandler, key: str, about: str) -> CoreSchema:
        values = core_schema.list_schema(handler.generate_schema(self.value), min_length=1, max_length=MAX_VALUES)
        distinct = core_schema.no_info_after_validator_function(_no_repeats, values)
        condition = {} if key == "grid" else {"when": _condition()}
        return _mapping({key: _field(distinct, about), **condition})

    def _between(self, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = _number(self.value)
        if number is None:
            return core_schema.no_info_before_validator_function(_no_bounds, _mapping({}))
        bound = handler.generate_schema(number)
        whole = number is int or (get_origin(number) is Annotated and get_args(number)[0] is int)
        step = core_schema.int_schema(gt=0) if whole else core_schema.float_schema(gt=0, allow_inf_nan=False)
        fields = {
            "low": _field(bound, "The smallest value that a search proposes."),
            "high": _field(bound, "The largest value that a search proposes."),
            "log": _field(core_schema.bool_schema(), "Spread the proposals evenly over orders of magnitude.", False),
            "step": _field(step, "Propose only low, low + step, and so on.", False),
            "when": _condition(),
        }
        return core_schema.no_info_after_validator_function(_ordered, _mapping(fields))


def _field(schema: CoreSchema, about: str, required: bool = True) -> core_schema.TypedDictField:
    metadata = {"pydantic_js_updates": {"description": about}}
    return core_schema.typed_dict_field(schema, required=required, metadata=metadata)


def _condition() -> core_schema.TypedDictField:
    about = "Search this field only where other searched fields have these values, e.g. {use_dora: true, r: [8, 16]}."
    conditions = core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema(), min_length=1)
    return _field(conditions, about, False)


def _mapping(fields: dict[str, core_schema.TypedDictField]) -> CoreSchema:
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


def _no_repeats(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"expected distinct values, found {found_value(value)} twice")
    return values


def _ordered(interval: dict[str, Any]) -> dict[str, Any]:
    low, high = interval["low"], interval["high"]
    if low >= high:
        raise ValueError(f"expected 'low' below 'high', found {low:g} and {high:g}")
    if interval.get("log") and low <= 0:
        raise ValueError(f"expected 'low' above 0 with 'log: true', found {low:g}")
    if interval.get("log") and "step" in interval:
        raise ValueError("expected one of 'log' and 'step', found both")
    return interval


def _no_bounds(value: Any) -> Any:
    raise ValueError("expected a literal, {grid: [...]} or {choice: [...]}; low and high are for numbers")


def _number(value: Any) -> Any:
    """The numeric part of a type with its bounds, or None: `Annotated[int, ge 1]` of `Annotated[int, ge 1] | None`."""
    if value in (int, float):
        return value
    if get_origin(value) is Annotated:
        inner, *metadata = get_args(value)
        number = _number(inner)
        return Annotated[(number, *metadata)] if number is not None else None
    if get_origin(value) in (Union, types.UnionType):
        return next((number for member in get_args(value) if (number := _number(member)) is not None), None)
    return None


def _ranged_inside(annotation: Any) -> Any:
    """The same type with the fields of nested blocks ranged, e.g. `early_stopping: {patience: {grid: [1, 2]}}`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _nested(annotation)
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(_ranged_inside(members[0]), *members[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(_ranged_inside(member) for member in members)]  # noqa: UP007  built at run time
    if origin is list:
        return list[_ranged_inside(members[0])]  # type: ignore[misc]
    return annotation


@cache
def _nested(block: type[BaseModel]) -> type[BaseModel]:
    return _ranged_model(f"Ranged{block.__name__}", block, dict(block.model_fields), required=True)


Path = tuple[str | int, ...]
Axis = tuple[Path, list[Any]]


def ranges(value: Any, path: Path = ()) -> Iterator[tuple[Path, RangeKind]]:
    """Every range inside a plain value with its path, in the order of the spec."""
    kind = range_kind(value)
    if kind is not None:
        yield path, kind
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ranges(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from ranges(item, (*path, index))


def count_points(fields: dict[str, Any]) -> int:
    """How many points a mapping with grids stands for, without building them."""
    count = 1
    for path, kind in ranges(fields):
        if kind == "grid":
            count *= len(value_at(fields, path)["grid"])
    return count


def points(fields: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[Path, Any]]]:
    """Every point of the product of all grids in spec order (the last grid turns fastest), and what its grids chose."""
    axes: list[Axis] = [(path, value_at(fields, path)["grid"]) for path, kind in ranges(fields) if kind == "grid"]
    for chosen in itertools.product(*(values for _, values in axes)):
        point = fields
        for (path, _), value in zip(axes, chosen, strict=True):
            point = with_value(point, path, value)
        yield point, {path: value for (path, _), value in zip(axes, chosen, strict=True)}


def sample_point(fields: dict[str, Any]) -> dict[str, Any]:
    """One point of a searched space: the first of every choice, the low end of every interval."""
    point = fields
    for path, kind in list(ranges(fields)):
        value = value_at(fields, path)
        point = with_value(point, path, value["low"] if kind == "interval" else value[kind][0])
    return point


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """The plain value at a path that is known to exist."""
    for part in path:
        value = value[part]
    return value


def with_value(value: Any, path: Sequence[str | int], new: Any) -> Any:
    """A copy of a plain value in which `path` holds `new`; what is not on the path is shared."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(copy[path[0]], path[1:], new)
    return copy
