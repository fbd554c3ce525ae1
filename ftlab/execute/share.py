"""What each worker of a machine gets of it: CPU threads and GPUs, told by the environment of its process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ftlab.errors import UsageError

SPINS = "2000"
"""How often a thread of libgomp looks again before it sleeps: some ten microseconds, which most waits are shorter than.

On two cores a LoRA step took 1.8 s by this, 1.7 s by 200,000, and 2.6 s by sleeping at once; beside two busy processes
3.1 s by this and 4.4 s by sleeping (`GOMP_SPINCOUNT=... python -m benchmarks.training_step --methods lora`).
"""


def share_threads(cores: int, workers: int, each: int | None) -> int:
    """The CPU threads of each of `workers`: `each`, or an equal share of `cores`, and never less than one.

    Raises UsageError when a run asks for more than there are.
    """
    if each is not None and each > cores:
        raise UsageError(f"execute.cpus asks for {each} CPU threads for each run, and this machine has {cores}")
    return each or max(1, cores // workers)


def share_gpus(gpus: Sequence[str], workers: int, each: float | None) -> list[str | None]:
    """The value of CUDA_VISIBLE_DEVICES for each of `workers`, or None to leave it as it is.

    `gpus` are the ids of this machine's; `each` is how many of them a run has, 0.5 to share one between two, and None
    for one each where there are any. Raises UsageError when there are fewer than that takes.
    """
    if each is None and not gpus:
        return [None] * workers
    each = 1.0 if each is None else each
    if not each:
        return [""] * workers
    sharing = max(1, round(1 / each))
    whole = max(1, round(each))
    fit = len(gpus) // whole * sharing
    if workers > fit:
        raise UsageError(_too_few(len(gpus), workers, each, fit))
    # Neighbours get GPUs of their own before any is shared.
    groups = [",".join(gpus[start : start + whole]) for start in range(0, len(gpus) - whole + 1, whole)]
    return [groups[slot % len(groups)] for slot in range(workers)]


def _too_few(found: int, workers: int, each: float, fit: int) -> str:
    asked = f"execute.workers is {workers} with {each:g} GPU{'s' if each > 1 else ''} for each run"
    has = f"and this machine has {found or 'none'}"
    if fit:
        return f"{asked}, {has}; set execute.workers to at most {fit}, or share them by execute.gpus: 1/n, e.g. 0.5"
    return f"{asked}, {has}; set execute.gpus to at most {found}"


def worker_environment(threads: int, gpus: str | None = None) -> dict[str, str]:
    """This process's environment, narrowed to a worker's share. `gpus` is its CUDA_VISIBLE_DEVICES; None leaves it."""
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env.update({name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")})
    # A thread that spins long while it waits for its peers keeps them off the core that they wait for, beside any
    # other busy process; one that sleeps at once takes half as long again on a quiet machine. So: spin briefly.
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & env.keys():
        env["GOMP_SPINCOUNT"] = SPINS
    if gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = gpus
    return env
