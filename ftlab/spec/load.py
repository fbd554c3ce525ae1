"""Read a spec, check it, and resolve its methods into arms. All that is wrong is reported at once, with its place."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftlab.errors import Problem, SpecError
from ftlab.spec.checks import check_references
from ftlab.spec.overrides import apply_overrides
from ftlab.spec.problems import problems_from
from ftlab.spec.resolve import ResolvedMethod, SearchedMethod, resolve_methods
from ftlab.spec.scalars import found_value
from ftlab.spec.schema import ExperimentSpec, ModelSpec
from ftlab.spec.tree import MAX_BYTES, Node, Place, read_tree

__all__ = ["LoadedSpec", "ResolvedMethod", "SearchedMethod", "load_spec", "parse_spec"]


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec, and every arm that its methods stand for (before models and seeds multiply them)."""

    spec: ExperimentSpec
    path: Path
    """The file it came from; relative names in it start from `root`."""
    text: str
    """The file as it is, the overrides as comments below it."""
    data: dict[str, Any]
    """The spec as plain values, overrides applied: what its hash is taken from."""
    arms: tuple[ResolvedMethod, ...]
    """Every point of every method, in the order of the spec."""
    searches: tuple[SearchedMethod, ...]
    """Methods with a `search:` block; their arms are proposed while the experiment runs."""
    tree: Node
    """The spec with places, for problems that show up later."""

    @property
    def root(self) -> Path:
        """The folder that relative file names in the spec start from."""
        return self.path.parent

    @property
    def models(self) -> list[ModelSpec]:
        """The base models, always as a list of blocks."""
        given = self.spec.model if isinstance(self.spec.model, list) else [self.spec.model]
        return [ModelSpec(source=model) if isinstance(model, str) else model for model in given]

    def place(self, *path: str | int) -> Place:
        """Where the value at a path stands, or the nearest thing above it."""
        return self.tree.place_of(path, key=True)


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Read and check a spec file.

    Args:
        overrides: `key=value` strings, e.g. `methods.lora.r=16`; values are YAML.

    Raises:
        SpecError: with every problem there is.
    """
    path = Path(path)
    return parse_spec(_read(path), path, overrides)


def parse_spec(text: str, path: Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Check the text of a spec as if it stood in `path`. Raises SpecError with every problem there is."""
    file = str(path)
    tree, problems = read_tree(text, file)
    top = Place(file, 1, 1)
    if tree is None or tree.content is None:
        raise SpecError([*problems, top.problem((), "the file is empty; `ftlab init` writes a spec to start from")])
    if not isinstance(tree.content, dict):
        found = found_value(tree.plain())
        raise SpecError([*problems, tree.place.problem((), f"expected a mapping at the top of a spec, found {found}")])
    tree, wrong = apply_overrides(tree, overrides)
    problems += wrong
    spec, data = _validate(tree, problems)
    arms, searches = resolve_methods(tree, problems)
    check_references(tree, path.parent, problems)
    if problems or spec is None:
        raise SpecError(_in_order(problems))
    return LoadedSpec(spec, path, _with_overrides(text, overrides), data, tuple(arms), tuple(searches), tree)


def _read(path: Path) -> str:
    place = Place(str(path), 0, 0)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError([place.problem((), f"no such file{_near_files(path)}")]) from None
    except IsADirectoryError:
        raise SpecError([place.problem((), f"expected a file, found a folder{_near_files(path / 'x')}")]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise SpecError(
            [Place(str(path), line, column).problem((), "expected UTF-8 text, found other bytes")]
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError([place.problem((), f"cannot be read: {reason}")]) from None


def _near_files(path: Path) -> str:
    try:
        names = sorted(item.name for item in path.parent.glob("*.y*ml"))
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, n=1) or names[:1]
    return f", did you mean '{path.parent / near[0]}'?" if near else ""


def _validate(tree: Node, problems: list[Problem]) -> tuple[ExperimentSpec | None, dict[str, Any]]:
    data = tree.plain()
    try:
        # JSON mode with strict types: a quoted number is text, yes is text, and true is no number.
        return ExperimentSpec.model_validate_json(json.dumps(data), strict=True), data
    except ValidationError as error:
        problems.extend(problems_from(error, tree, (), ExperimentSpec))
        return None, data


def _in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By place, one problem per place: the first that was found is the cause of those that follow at the same spot."""
    unique: dict[Any, Problem] = {}
    for problem in problems:
        same: tuple[Any, ...] = (problem.file, problem.line, problem.column)
        if not problem.line or problem.message.endswith("is missing"):
            same = (*same, problem.path, problem.message)
        unique.setdefault(same, problem)
    return sorted(unique.values(), key=lambda problem: (problem.line == 0, problem.line, problem.column))


def _with_overrides(text: str, overrides: Sequence[str]) -> str:
    if not overrides:
        return text
    lines = [f"# -s {json.dumps(override, ensure_ascii=False)}" for override in overrides]
    return "\n".join([text.rstrip("\n"), "", "# Run with these overrides:", *lines, ""])
