"""A function of the user's own, `module:function`: where its source is and what it takes, found without running it.

Checking and planning a spec must run nobody's code, so the source file is parsed, never imported. The module is looked
for next to the spec first (`scores:polite` is `polite` in `scores.py`), then among the installed packages.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

ARGUMENTS = ("output", "target", "row")
"""What a metric's function may ask for by name: the model's text, the right answer, the row's columns as a dict."""

_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class FoundFunction:
    """A function that was looked for. `wrong` says in one sentence why it cannot be used; the rest is then empty."""

    path: Path | None = None
    """Its source file."""
    module: str = ""
    name: str = ""
    installed: bool = False
    """Whether it is part of an installed package rather than a file beside the spec."""
    arguments: tuple[str, ...] = ()
    """Those of `ARGUMENTS` that it takes."""
    wrong: str | None = None

    @property
    def sha256(self) -> str:
        """The hash of the whole source file: any change in it may change what the function gives."""
        assert self.path is not None, "only what was found has a source"
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def find_function(reference: str, root: Path) -> FoundFunction:
    """Look for `module:function`, in `root` first. Runs no code and raises nothing."""
    if not _REFERENCE.fullmatch(reference):
        return FoundFunction(wrong=f"expected 'module:function', found '{reference[:80]}'")
    module, _, name = reference.partition(":")
    beside = _beside(module, root)
    path = beside or _installed(module)
    if path is None:
        start = root.absolute()
        return FoundFunction(wrong=f"there is no module '{module}' in {start}, nor one with Python source installed")
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return FoundFunction(wrong=f"{path}{line}: cannot be read as Python ({reason})")
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name not in functions:
        listed = f" (there are: {', '.join(list(functions)[:12])})" if functions else ""
        return FoundFunction(wrong=f"there is no function '{name}' in {path}{listed}")
    taken, wrong = _arguments(functions[name].args)
    if wrong is not None:
        return FoundFunction(wrong=f"{path}, line {functions[name].lineno}: '{name}' {wrong}")
    return FoundFunction(path, module, name, beside is None, taken)


def _beside(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_name(f"{base.name}.py"), base / "__init__.py") if path.is_file()), None)


def _installed(module: str) -> Path | None:
    """The source of an installed module. Only the top package's place is asked for, which imports nothing."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
    folders = spec.submodule_search_locations or ()
    return next((path for folder in folders if (path := _beside(".".join(rest), Path(folder))) is not None), None)


def _arguments(arguments: ast.arguments) -> tuple[tuple[str, ...], str | None]:
    """Those of `ARGUMENTS` that a function takes, and what is wrong with its arguments, if anything."""
    named = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]
    defaults = [*[None] * (len(arguments.args) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    required = [name for name, default in zip(named, defaults, strict=True) if default is None]
    strange = [
        *(argument.arg for argument in arguments.posonlyargs),
        *(name for name in required if name not in ARGUMENTS),
    ]
    if strange:
        return (), f"takes '{strange[0]}'; a metric's function takes some of: {', '.join(ARGUMENTS)}"
    taken = tuple(name for name in ARGUMENTS if name in named or arguments.kwarg is not None)
    return (taken, None) if taken else ((), f"takes none of: {', '.join(ARGUMENTS)}")
