"""Read YAML text into a tree of plain values in which every node knows its place.

YAML 1.2's core schema and nothing beyond it: no tags but the core ones, no merge keys, no dates, no yes/no, so that a
spec says the same to every reader. The parser's events are read one by one instead of through a constructor: depth
and size are then bounded before anything is built, no tag can name code, and a repeated key is seen instead of
silently winning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from ftlab.errors import Problem, SpecError
from ftlab.spec.scalars import Scalar, plain_scalar, shown

MAX_BYTES = 1 << 20
"""The largest spec, in bytes."""
MAX_DEPTH = 40
"""How deep mappings and lists may nest."""
MAX_LINE = 100_000
"""The longest line, in characters: the time to scan some of YAML's tokens grows with the square of their length."""
MAX_NODES = 20_000
"""How many values a spec may hold once its aliases are expanded."""

_CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
# What no prompt and no name needs, and what a terminal, a file name or UTF-8 would choke on.
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_PLAIN_WORDS = (
    ("found character '\\t'", "found a tab where YAML allows only spaces; indent with spaces"),
    ("found a tab", "found a tab where YAML allows only spaces; indent with spaces"),
    ("mapping values are not allowed", "found a second ':' on this line; put text in quotes, or start a new line"),
    ("could not find expected ':'", "expected ':' after this key"),
    ("while scanning a quoted scalar", "the quote that opens here is never closed"),
    ("found undefined alias", "this alias names no anchor above it"),
    ("<stream end>", "the text ends where more was expected"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or ']'", "the '[' that opens here is never closed"),
    ("expected ',' or '}'", "the '{' that opens here is never closed"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: `line` and `column` count from 1; both are 0 for what came from the command line."""

    file: str
    line: int
    column: int

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        """A problem at this place. `path` is shown dotted."""
        return Problem(self.file, self.line, self.column, dotted(path), message)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the tree. `size` and `height` count what lies below it, aliases expanded."""

    place: Place
    content: Scalar | dict[str, Entry] | list[Node]
    size: int = 1
    height: int = 1

    def plain(self) -> Any:
        """The value as plain Python: dict, list, str, int, float, bool, None."""
        if isinstance(self.content, dict):
            return {key: entry.node.plain() for key, entry in self.content.items()}
        if isinstance(self.content, list):
            return [item.plain() for item in self.content]
        return self.content

    def child(self, part: str | int) -> Node | None:
        """The value under a key or an index, or None."""
        if isinstance(self.content, dict):
            entry = self.content.get(str(part))
            return entry.node if entry else None
        if isinstance(self.content, list) and isinstance(part, int) and 0 <= part < len(self.content):
            return self.content[part]
        return None

    def find(self, path: Sequence[str | int]) -> Node | None:
        """The value at a path, or None."""
        node: Node | None = self
        for part in path:
            node = node.child(part) if node else None
        return node

    def place_of(self, path: Sequence[str | int], key: bool = False) -> Place:
        """The place of the value at a path (of its key, when `key`), or of the nearest one above it that exists."""
        node, place = self, self.place
        for part in path:
            below = node.child(part)
            if below is None:
                return place
            place = node.content[str(part)].key if isinstance(node.content, dict) else below.place
            node = below
        return place if key else node.place


def dotted(path: Sequence[str | int]) -> str:
    """`methods.lora.r`."""
    return ".".join(str(part) for part in path)


def read_tree(text: str, file: str, placed: bool = True) -> tuple[Node | None, list[Problem]]:
    """The tree of a YAML text and what is wrong with it; None when there is no document to speak of.

    Args:
        file: what problems call the text.
        placed: whether lines and columns mean anything; an override on the command line has none.

    Raises:
        SpecError: when the text is no YAML, too large, or nested too deeply, so that nothing can be made of it.
    """
    reader = _TreeReader(text, file, placed)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SpecError([reader.place(1, 1).problem((), f"expected at most {MAX_BYTES:,} bytes")])
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise SpecError([reader.place(number, 1).problem((), f"expected lines of at most {MAX_LINE:,} characters")])
    return reader.read(), reader.problems


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been seen yet."""

    place: Place
    anchor: str | None
    entries: dict[str, Entry] | None
    items: list[Node] = field(default_factory=list)
    key: tuple[str, Place] | None = None
    size: int = 1
    height: int = 1


class _TreeReader:
    """Builds the tree from the parser's events, without recursion."""

    def __init__(self, text: str, file: str, placed: bool) -> None:
        self.text = text
        self.file = file
        self.placed = placed
        self.last_line = max(1, text.count("\n") + (0 if text.endswith("\n") else 1))
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0

    def read(self) -> Node | None:
        for event in self._events():
            if isinstance(event, DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    self._fail(event, "expected one document, found a second one after '---'")
            elif isinstance(event, NodeEvent):
                self._node(event)
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                self._close()
        return self.root

    def _events(self) -> Iterator[Event]:
        events = YAML(typ="safe", pure=True).parse(self.text)
        while True:
            # ruamel lets a few plain exceptions through for odd text (a character beyond Unicode, say); all of them
            # mean that the text is not YAML, and none may reach the user as a traceback.
            try:
                event = next(events)
            except StopIteration:
                return
            except Exception as error:
                raise SpecError([*self.problems, self._syntax_problem(error)]) from error
            yield event

    def _syntax_problem(self, error: Exception) -> Problem:
        if isinstance(error, MarkedYAMLError):
            mark = error.problem_mark or error.context_mark
            words = f"{error.context or ''} {error.problem or ''}".strip()
            plain = next((plain for sign, plain in _PLAIN_WORDS if sign in words), f"not YAML: {words}")
            opening = error.context_mark if plain.endswith("never closed") and error.context_mark else mark
            return self._place(opening).problem((), plain)
        if isinstance(error, ReaderError):
            line = self.text.count("\n", 0, error.position) + 1
            column = error.position - (self.text.rfind("\n", 0, error.position) + 1) + 1
            return self.place(line, column).problem((), "found a character that YAML does not allow")
        reason = str(error).splitlines()[0] if isinstance(error, YAMLError) and str(error) else type(error).__name__
        return self.place(1, 1).problem((), f"not YAML: {reason}")

    def _node(self, event: NodeEvent) -> None:
        place = self._place(event.start_mark)
        if isinstance(event, AliasEvent):
            node = self._alias(event)
            self._add(node, place, node.size)
            return
        tag = getattr(event, "ctag", None)
        if tag is not None and str(tag) not in _CORE_TAGS and str(tag) != "!":
            name = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._note(place, f"expected a plain value, found the tag '{shown(name)}'; remove the tag")
        if isinstance(event, ScalarEvent):
            is_key = bool(self.stack) and self.stack[-1].entries is not None and self.stack[-1].key is None
            value = event.value if is_key else self._scalar(event, place)
            node = Node(place, value)
            self._remember(event.anchor, node)
            self._add(node, place)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._open(event, place)

    def _open(self, event: MappingStartEvent | SequenceStartEvent, place: Place) -> None:
        if len(self.stack) >= MAX_DEPTH:
            self._fail(event, f"expected at most {MAX_DEPTH} levels of nesting")
        if self.stack and self.stack[-1].entries is not None and self.stack[-1].key is None:
            self._fail(event, "expected a name as a key, found a list or a mapping")
        self.stack.append(_Open(place, event.anchor, {} if isinstance(event, MappingStartEvent) else None))

    def _close(self) -> None:
        done = self.stack.pop()
        content: dict[str, Entry] | list[Node] = done.items if done.entries is None else done.entries
        node = Node(done.place, content, done.size, done.height)
        self._remember(done.anchor, node)
        self._add(node, done.place)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self.anchors[anchor] = node

    def _alias(self, event: AliasEvent) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            self._fail(event, f"the alias '*{shown(event.anchor)}' names no anchor that ends above it")
        if len(self.stack) + node.height > MAX_DEPTH:
            self._fail(event, f"expected at most {MAX_DEPTH} levels of nesting once aliases are expanded")
        return node

    def _add(self, node: Node, place: Place, values: int = 1) -> None:
        self.nodes += values
        if self.nodes > MAX_NODES:
            message = f"expected at most {MAX_NODES:,} values once aliases are expanded"
            raise SpecError([*self.problems, place.problem((), message)])
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = (self._key(node, place), place)
            return
        else:
            key, key_place = parent.key
            parent.entries.setdefault(key, Entry(key_place, node))
            parent.key = None
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)

    def _key(self, node: Node, place: Place) -> str:
        entries = self.stack[-1].entries or {}
        key = str(node.content)
        if key == "<<":
            self._note(
                place, "expected a key, found the merge key '<<', which YAML 1.2 does not have; write the keys out"
            )
        elif _UNSHOWABLE.search(key):
            self._note(place, "expected a name as a key, found one with a control character")
        elif key in entries:
            first = entries[key].key.line
            self._note(place, f"the key '{shown(key)}' appears twice; the first one is on line {first}")
        return key

    def _scalar(self, event: ScalarEvent, place: Place) -> Scalar:
        text = str(event.value)
        if _UNSHOWABLE.search(text):
            self._note(place, "expected text, found a control character in it")
            return None
        tag = str(event.ctag).rpartition(":")[2] if getattr(event, "ctag", None) is not None else ""
        value = text if event.style or tag == "str" else plain_scalar(text)
        if isinstance(value, float) and not math.isfinite(value):
            self._note(place, f"expected a finite number, found {shown(text)}")
            return None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            self._note(place, "expected a number that fits into 64 bits")
            return None
        return value

    def _note(self, place: Place, message: str) -> None:
        path = [open_.key[0] for open_ in self.stack if open_.key is not None]
        self.problems.append(place.problem([shown(part) for part in path], message))

    def _fail(self, event: Event, message: str) -> NoReturn:
        raise SpecError([*self.problems, self._place(event.start_mark).problem((), message)])

    def _place(self, mark: Any) -> Place:
        return self.place(mark.line + 1, mark.column + 1) if mark is not None else self.place(1, 1)

    def place(self, line: int, column: int) -> Place:
        """A place in the text; both count from 1."""
        if not self.placed:
            return Place(self.file, 0, 0)
        if line > self.last_line:
            # The end of the text counts as a line of its own to the parser, but an editor cannot jump there.
            return Place(self.file, self.last_line, len(self.text.rstrip("\n").rpartition("\n")[2]) + 1)
        return Place(self.file, line, column)
