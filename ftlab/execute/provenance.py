"""What a run was made with: enough to repeat it, and nothing secret.

Environment variables are taken from a list of known names, never by pattern: a token must not end up in a report.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import ftlab

PACKAGES = (
    "accelerate",
    "datasets",
    "duckdb",
    "lm-eval",
    "numpy",
    "peft",
    "pyarrow",
    "pydantic",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)
"""Whose version can change a number."""

ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_OFFLINE",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
)
"""Variables that can change a result or its speed."""


def provenance(root: Path, threads: int | None = None) -> dict[str, Any]:
    """Everything that is known of where and with what a run executes. Imports nothing heavy.

    `root` is the folder of the spec, whose git commit counts; `threads` the CPU threads that the run may use.
    """
    return {
        "ftlab": ftlab.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "git": git_state(root),
        "device": "cuda" if visible_gpus() else "cpu",
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": threads,
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


@cache
def package_versions() -> dict[str, str | None]:
    """Installed versions by distribution name; None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the work tree that `folder` is in, or None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    # A hook or a monitor configured in a stranger's repository must not run.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def visible_gpus() -> list[str]:
    """The ids of the NVIDIA GPUs that this process may use, found without importing torch."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu.strip() for gpu in allowed.split(",") if gpu.strip() and gpu.strip() != "-1"]
    devices = Path("/dev").glob("nvidia[0-9]*")
    return sorted((device.name.removeprefix("nvidia") for device in devices), key=int)


def usable_cores() -> int:
    """The CPU cores that this process may use, which in a container are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def cpu_name() -> str:
    """The processor's name for people."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or sys.platform
