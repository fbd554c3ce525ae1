"""Imports point down, and what must answer at once imports nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ftlab"

LAYERS: list[set[str]] = [
    {"errors", "events", "catalog", "text", "paths", "files", "redaction", "wheels", "hub", "statistics"},
    {"spec"},
    # What a run is and what makes two of them the same: read by everything above.
    {"plan.run", "plan.identity", "plan"},
    {"data", "models", "methods", "train", "evaluate"},
    # Making a plan settles models and data by their light halves, so it stands above them.
    {
        "plan.expand",
        "plan.propose",
        "plan.clone",
        "plan.settle",
        "plan.preflight",
        "plan.lengths",
        "plan.model_facts",
        "plan.speeds",
        "plan.estimate",
    },
    {"execute", "search", "store"},
    {"decide"},
    {"report", "ui", "cli"},
    {"testing"},
]
"""From the ground up. A name is a package or a module of ftlab; the longest one that fits a module decides."""

HEAVY = ("torch", "transformers", "peft", "trl", "accelerate", "lm_eval", "streamlit", "datasets", "duckdb", "pandas")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def layer(module: str) -> int:
    names = [".".join(module.split(".")[:length]) for length in range(len(module.split(".")), 0, -1)]
    for name in names:
        for rank, members in enumerate(LAYERS):
            if name in members:
                return rank
    raise AssertionError(f"ftlab.{module} is in no layer; add it to LAYERS in {__file__}")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every ftlab module that a file imports, wherever the import stands, without the leading `ftlab.`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ftlab."):
                    yield node.lineno, alias.name.removeprefix("ftlab.")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where an arrow points"
            if node.module == "ftlab":
                yield from ((node.lineno, alias.name) for alias in node.names if not alias.name.startswith("__"))
            elif node.module and node.module.startswith("ftlab."):
                yield node.lineno, node.module.removeprefix("ftlab.")


def test_imports_point_down() -> None:
    found = modules()
    assert len(found) > 30, "the package was not found"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports ftlab.{target}"
        for module, path in found.items()
        if module
        for line, target in imports(path)
        if layer(target) > layer(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_layer_exists() -> None:
    found = set(modules())
    assert {name for members in LAYERS for name in members} <= found


def test_an_arrow_that_points_up_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "low.py"
    path.write_text(
        "def f():\n    from ftlab.cli.main import main\n    import ftlab.decide.view\n    from ftlab import ui\n"
    )
    assert list(imports(path)) == [(2, "cli.main"), (3, "decide.view"), (4, "ui")]
    assert layer("cli.main") > layer("spec.load")


def heavy_after(arguments: list[str], env: dict[str, str]) -> list[str]:
    """The heavy packages that are loaded once a command line has been run in a fresh process."""
    code = (
        "import sys; from ftlab.cli import main; code = main(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize("verb", [["--help"], ["validate"], ["plan"], ["schema"]], ids=lambda verb: verb[0])
def test_what_must_answer_at_once_imports_nothing_heavy(verb: list[str], tmp_path: Path) -> None:
    rows = [f"question {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,label", *rows, ""]), encoding="utf-8")
    quickstart = (ROOT / "experiments" / "quickstart.yaml").read_text(encoding="utf-8")
    assert "source: builtin:medical-specialty" in quickstart
    spec = tmp_path / "spec.yaml"
    spec.write_text(quickstart, encoding="utf-8")
    overrides = [
        "-s",
        "data={source: rows.csv, splits: {train: 30, validation: 20, test: 10}}",
        "-s",
        "task.labels=['yes', 'no']",
    ]
    arguments = [*verb, str(spec), *overrides] if verb[0] in ("validate", "plan") else verb
    env = {"FTLAB_CACHE": str(tmp_path / "cache"), "FTLAB_RESULTS": str(tmp_path / "results")}
    assert heavy_after(arguments, env) == []
