"""Overrides from the command line: `-s methods.lora.r=16` sets one value of the spec before it is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftlab.errors import Problem, SpecError
from ftlab.spec.scalars import shown
from ftlab.spec.secrets import ENV
from ftlab.spec.tree import Entry, Node, Place, dotted, read_tree

_SECRET = re.compile(r"api_?key|token(?!s)|secret|passw|notify", re.IGNORECASE)


def apply_overrides(root: Node, overrides: Sequence[str]) -> tuple[Node, list[Problem]]:
    """The tree with every override set, in order, and what is wrong with the overrides themselves.

    The value is YAML: a scalar or a flow value such as `{grid: [8, 16]}`. Mappings that are not there yet are made on
    the way; whether their names exist is for the schema to say, and its problems then name the override.
    """
    problems: list[Problem] = []
    for override in overrides:
        place = Place(_label(override), 0, 0)
        path, separator, text = override.partition("=")
        parts = path.strip().split(".")
        if not separator or not all(parts):
            problems.append(place.problem((), "expected key=value, e.g. methods.lora.r=16"))
            continue
        try:
            value, found = read_tree(text, place.file, placed=False)
        except SpecError as error:
            problems.extend(place.problem((), f"{item.message} (text goes in quotes)") for item in error.problems)
            continue
        if found:
            problems.extend(found)
            continue
        root, problem = _set(root, parts, value or Node(place, None), place, ())
        if problem is not None:
            problems.append(problem)
    return root, problems


def _set(
    node: Node, parts: Sequence[str], value: Node, place: Place, done: tuple[str, ...]
) -> tuple[Node, Problem | None]:
    """A copy of `node` with the value at `parts`. Copies, because an alias may show the same node in several places."""
    if not parts:
        return value, None
    part, rest = parts[0], parts[1:]
    if isinstance(node.content, list):
        if not part.isascii() or not part.isdigit() or int(part) >= len(node.content):
            count = len(node.content)
            message = f"expected a position from 0 to {count - 1} in the list '{dotted(done)}', found '{part}'"
            return node, place.problem((), message if count else f"the list '{dotted(done)}' is empty")
        items = list(node.content)
        items[int(part)], problem = _set(items[int(part)], rest, value, place, (*done, part))
        return Node(node.place, items), problem
    if node.content is not None and not isinstance(node.content, dict):
        return node, place.problem((), f"expected a mapping at '{dotted(done)}', found {node.content!r}")
    entries = dict(node.content or {})
    below = entries[part].node if part in entries else Node(place, None)
    changed, problem = _set(below, rest, value, place, (*done, part))
    # The key keeps its place in the file unless the override made it or replaced all of it.
    entries[part] = Entry(entries[part].key if rest and part in entries else place, changed)
    return Node(node.place, entries), problem


def _label(override: str) -> str:
    path, _, value = override.partition("=")
    if _SECRET.search(override) and not ENV.search(value):
        return f"-s {shown(path, 80)}=..."  # what stands there in place of a reference may be the secret
    return f"-s {shown(override, 80)}"
