"""From pydantic's errors to sentences a user can act on: the place, what was expected, what was found instead."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ftlab.catalog import suggest
from ftlab.errors import Problem
from ftlab.spec.scalars import found_value, shown
from ftlab.spec.schema import OWN_TASK
from ftlab.spec.space import BRANCHES, RANGE_KEYS
from ftlab.spec.tree import Node

Path = tuple[str | int, ...]

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "multiple_of": "a multiple of {multiple_of:g}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "a length of at least {min_length}",
    "too_long": "a length of at most {max_length}",
}
_NAME_PATTERN = "lower-case letters, digits, - and _ (at most 64, the first a letter or digit)"
_PATTERNS = {OWN_TASK: "letters, digits, -, _ and . (at most 64, the first a letter or digit)"}
_SCALAR_TYPES = {"int_type", "float_type", "string_type", "bool_type", "list_type", "literal_error"}


def problems_from(
    error: ValidationError, root: Node, prefix: Path, model: type[BaseModel], hints: Mapping[str, str] | None = None
) -> list[Problem]:
    """One problem per mistake, in pydantic's order.

    Args:
        root: the tree of the whole spec.
        prefix: the path of the part that was validated.
        model: the class it was validated against: the source of known keys.
        hints: what to add when one of these keys is unknown, by key.
    """
    start = root.find(prefix)
    faults = [_settle(start, detail) for detail in error.errors(include_url=False)]
    # A required key that is there under a misspelt name is one mistake, told as the unknown key.
    misspelt = {
        (fault.path[:-1], suggest(str(fault.path[-1]), known_keys(model, fault.path[:-1])))
        for fault in faults
        if fault.detail["type"] == "extra_forbidden"
    }
    groups = [
        group
        for group in _mistakes(faults)
        if group[0].detail["type"] != "missing"
        or (group[0].path, f", did you mean '{group[0].detail['loc'][-1]}'?") not in misspelt
    ]
    return [_problem(root, prefix, group, model, hints or {}) for group in groups]


@dataclass(frozen=True)
class _Fault:
    """One of pydantic's errors: its path in the spec, and the union branches it went through, each with its path."""

    path: Path
    branches: tuple[tuple[Path, str], ...]
    detail: Any

    @property
    def depth(self) -> int:
        return len(self.path) + (self.detail["type"] == "missing")


def _settle(start: Node | None, detail: Any) -> _Fault:
    """Split pydantic's location: a part is a key or an index when the tree has it there, else the name of a branch."""
    node, branches = start, []
    path: Path = ()
    named = False
    parts = detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]
    for part in parts:
        if node is not None and part in ("grid", "choice") and not named:
            # At a range, pydantic first names the branch, which is spelled like the key that it was told by.
            named = isinstance(node.content, dict) and part in node.content
            if named:
                continue
        below = node.child(part) if node is not None else None
        if below is not None:
            node, path, named = below, (*path, part), False
        elif isinstance(part, str) and part not in ("[key]", *BRANCHES):
            branches.append((path, part))
    return _Fault(path, tuple(branches), detail)


def _mistakes(faults: list[_Fault]) -> list[list[_Fault]]:
    """Faults grouped so that each group is one mistake.

    Every branch of a union complains about the same value. When one of them got deeper into it than the others, that is
    the branch that was meant, and only its faults count; when none did, all of them together say what was expected.
    """
    mistakes: list[list[_Fault]] = []
    unions: dict[Path, dict[str, list[_Fault]]] = {}
    for fault in faults:
        if not fault.branches:
            mistakes.append([fault])
            continue
        at, name = fault.branches[0]
        if at not in unions:
            unions[at] = {}
        unions[at].setdefault(name, []).append(fault)
    for at, branches in unions.items():
        meant = max(branches.values(), key=lambda group: max(fault.depth for fault in group))
        if max(fault.depth for fault in meant) > len(at):
            mistakes.extend(_mistakes([replace(fault, branches=fault.branches[1:]) for fault in meant]))
        else:
            mistakes.append([fault for group in branches.values() for fault in group])
    return mistakes


def _problem(
    root: Node, prefix: Path, group: list[_Fault], model: type[BaseModel], hints: Mapping[str, str]
) -> Problem:
    path, detail = group[0].path, group[0].detail
    full = (*prefix, *path)
    if detail["type"] == "extra_forbidden":
        key, known = str(full[-1]), known_keys(model, path[:-1])
        ending = hints.get(key) or suggest(key, known) or f" (known: {', '.join(known)})"
        return root.place_of(full, key=True).problem(full, f"unknown key '{shown(key)}'{ending}")
    if detail["type"] == "missing":
        return root.place_of(full, key=True).problem(full, f"'{detail['loc'][-1]}' is missing")
    if detail["loc"][-1:] == ("[key]",):
        words = _PATTERNS.get(str((detail.get("ctx") or {}).get("pattern")), _NAME_PATTERN)
        return root.place_of(full, key=True).problem(full, f"expected {words}, found '{shown(str(full[-1]))}'")
    return root.place_of(full).problem(full, _sentence([fault.detail for fault in group]))


def _sentence(details: list[Any]) -> str:
    detail = details[0]
    kind, value = detail["type"], detail.get("input")
    context = detail.get("ctx") or {}
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind == "string_pattern_mismatch":
        return f"expected {_PATTERNS.get(str(context.get('pattern')), _NAME_PATTERN)}, found {found_value(value)}"
    known = [item for item in details if item["type"] in _EXPECTED]
    expected = dict.fromkeys(_EXPECTED[item["type"]].format(**item.get("ctx") or {}) for item in known)
    if not expected:
        return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, found {found_value(value)}"
    near = ""
    if kind in ("literal_error", "enum") and isinstance(value, str):
        near = suggest(value, re.findall("'([^']*)'", str(context.get("expected", ""))))
    elif kind in _SCALAR_TYPES and isinstance(value, dict):
        near = next((hint for key in value if (hint := suggest(str(key), RANGE_KEYS))), "")
    return f"expected {' or '.join(expected)}, found {found_value(value)}{near}"


def known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that the blocks at `path` below `model` take; those of a range where there is no block."""
    blocks = [model]
    for part in path:
        if isinstance(part, str):
            fields = [block.model_fields[part].annotation for block in blocks if part in block.model_fields]
            blocks = [found for annotation in fields for found in _blocks(annotation)]
    keys = [field.alias or name for block in blocks for name, field in block.model_fields.items()]
    return list(dict.fromkeys(keys)) or list(RANGE_KEYS)


def _blocks(annotation: Any) -> list[type[BaseModel]]:
    """Every pydantic model that a type mentions, lists and unions looked through."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, list, dict):
        return [block for member in get_args(annotation) for block in _blocks(member)]
    return []
