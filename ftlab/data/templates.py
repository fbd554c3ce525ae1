"""The template language of prompts: Jinja over the columns of a row, with nothing in reach but the row.

A spec may come from a stranger, so a template is held in three ways: by the sandbox (no underscore attributes, no
mutation, no loader, no globals), by a list of the parts of the language that prompts need (no assignment, no macros, no
imports, so that text grows by output alone), and by bounds on loops and on the output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from ftlab.catalog import suggest
from ftlab.errors import DataError

MAX_TEXT = 1_000_000
"""Characters of one rendered text; more is a mistake or an attack."""

_MAX_TEMPLATE = 100_000
_MAX_LOOPS = 2
_MAX_ITEMS = 10_000

_BOUNDED = " bounded"  # the blank keeps the filter out of a template's reach

_FILTERS = (
    "abs", "capitalize", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length", "list",
    "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort", "string",
    "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip

_STR_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
    "isspace", "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rpartition",
    "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper",
})  # fmt: skip

_DICT_METHODS = frozenset({"get", "items", "keys", "values"})

_LOOP_ATTRIBUTES = frozenset({"first", "index", "index0", "last", "length", "nextitem", "previtem", "revindex"})

_NODES = (
    nodes.Add, nodes.And, nodes.Call, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Dict,
    nodes.Filter, nodes.For, nodes.Getattr, nodes.Getitem, nodes.If, nodes.Keyword, nodes.List, nodes.Name, nodes.Neg,
    nodes.Not, nodes.Operand, nodes.Or, nodes.Output, nodes.Pair, nodes.Pos, nodes.Slice, nodes.Sub, nodes.Template,
    nodes.TemplateData, nodes.Test, nodes.Tuple,
)  # fmt: skip


def check_template(template: str, place: str) -> None:
    """Raise DataError that begins with `place` for a template that is not valid, whatever the columns are."""
    _compiled(template, place)


def render(template: str, context: Mapping[str, Any], place: str) -> str:
    """Fill `template` from `context`; a value of None reads as nothing.

    Raises DataError that begins with `place`: for a template that is not valid, that names what `context` does not
    have (with the nearest name and the list of all), or that gives more than `MAX_TEXT` characters.
    """
    compiled = _compiled(template, place)
    pieces: list[str] = []
    length = 0
    try:
        for piece in compiled.generate(context):
            length += len(piece)
            if length > MAX_TEXT:
                raise SecurityError(f"it gives more than {MAX_TEXT:,} characters")
            pieces.append(piece)
    except _MissingNameError as error:
        name, known = str(error), sorted(context)
        raise DataError(
            f"{place}: there is no column '{name}'{suggest(name, known)} (columns: {', '.join(known)})"
        ) from error
    except (
        TemplateError,
        ArithmeticError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        cause = " ".join(str(error).split())[:200]
        raise DataError(f"{place}: the template fails on a row ({cause}); correct the template or the row") from error
    return "".join(pieces)


class _MissingNameError(UndefinedError):
    """A template uses a name that stands for nothing; the message is the name."""


class _Undefined(StrictUndefined):
    """A name that stands for nothing: an error as soon as it is used, `is defined` and `default` excepted."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: type[Any] = UndefinedError
    ) -> None:
        if hint is None and obj is missing:
            hint, exc = name, _MissingNameError
        super().__init__(hint, obj, name, exc)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with the few methods of text, objects and loops that prompts need."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str):
            return attr in _STR_METHODS
        if isinstance(obj, dict):
            return attr in _DICT_METHODS
        return isinstance(obj, LoopContext) and attr in _LOOP_ATTRIBUTES


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    _require_short(len(text) + text.count(old) * len(new), "replace")
    return text.replace(old, new, -1 if count is None else count)


def _join(value: Iterable[Any], d: str = "") -> str:
    parts = [str(part) for part in value]
    _require_short(sum(map(len, parts)) + len(parts) * len(d), "join")
    return d.join(parts)


def _require_short(length: int, what: str) -> None:
    if length > MAX_TEXT:
        raise SecurityError(f"{what} would give more than {MAX_TEXT:,} characters")


def _to_json(value: Any, indent: int | None = None) -> str:
    """Plain JSON; Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(indent, 8))


def _bounded(value: Iterable[Any]) -> list[Any]:
    """What a loop runs over; the template's tree is changed so that every loop goes through here."""
    items = list(islice(value, _MAX_ITEMS + 1))
    if len(items) > _MAX_ITEMS:
        raise SecurityError(f"a loop runs over more than {_MAX_ITEMS:,} items")
    return items


def _environment() -> _Environment:
    environment = _Environment(
        undefined=_Undefined,
        autoescape=False,
        keep_trailing_newline=True,
        loader=None,
        finalize=lambda value: "" if value is None else value,
    )
    environment.globals.clear()
    allowed = {name: environment.filters[name] for name in _FILTERS}
    environment.filters = allowed | {"replace": _replace, "join": _join, "tojson": _to_json, _BOUNDED: _bounded}
    return environment


_ENVIRONMENT = _environment()


def _compiled(template: str, place: str) -> Template:
    if len(template) > _MAX_TEMPLATE:
        raise DataError(
            f"{place}: expected a template of at most {_MAX_TEMPLATE:,} characters, found {len(template):,}; shorten it"
        )
    try:
        return _restricted(template)
    except TemplateSyntaxError as error:
        raise DataError(
            f"{place}: line {error.lineno} of the template: {(error.message or '').rstrip('.')}; correct it"
        ) from error
    except (TemplateError, ValueError, RecursionError, MemoryError) as error:
        message = str(error).rstrip(".")
        raise DataError(f"{place}: the template cannot be read ({message}); correct it") from error


@lru_cache(maxsize=512)
def _restricted(template: str) -> Template:
    tree = _ENVIRONMENT.parse(template)
    _restrict(tree, loops=0)
    return _ENVIRONMENT.from_string(tree)


def _restrict(node: nodes.Node, loops: int) -> None:
    """Refuse, by TemplateSyntaxError, what a prompt has no use for and an attack might; bound every loop."""
    if not isinstance(node, _NODES):
        raise TemplateSyntaxError(f"'{type(node).__name__.lower()}' is not allowed in prompts", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if loops > _MAX_LOOPS or node.recursive:
            raise TemplateSyntaxError(f"loops may be nested {_MAX_LOOPS} deep at most", node.lineno)
        node.iter = nodes.Filter(node.iter, _BOUNDED, [], [], None, None, lineno=node.lineno)
    for child in node.iter_child_nodes():
        _restrict(child, loops)
