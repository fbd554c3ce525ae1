"""Every template of a spec with its path, ranges and variants looked through."""

from __future__ import annotations

from collections.abc import Iterator

from ftlab.errors import SpecPath
from ftlab.spec.tree import Node

TARGET: SpecPath = ("task", "target")
QUESTION: SpecPath = ("judge", "question")


def templates_of(tree: Node) -> dict[SpecPath, str]:
    """The text of each template, by its path: the task's target, a judge's question, and the messages of the task and
    the methods."""
    found: dict[SpecPath, str] = {}
    for path in (TARGET, QUESTION):
        node = tree.find(path)
        if node is not None and isinstance(node.content, str):
            found[path] = node.content
    for top in (("task", "prompt"), ("methods",)):
        node = tree.find(top)
        if node is not None:
            found.update(_messages(node, top))
    return found


def _messages(node: Node, path: SpecPath) -> Iterator[tuple[SpecPath, str]]:
    if isinstance(node.content, dict):
        for key, entry in node.content.items():
            if key == "content" and "prompt" in path and isinstance(entry.node.content, str):
                yield (*path, key), entry.node.content
            else:
                yield from _messages(entry.node, (*path, key))
    elif isinstance(node.content, list):
        for index, item in enumerate(node.content):
            yield from _messages(item, (*path, index))
