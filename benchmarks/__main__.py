"""Run every measurement, or those named: `python -m benchmarks [NAME ...]`.

Each module prints its figures and the ratio it is about. Ratios within one run carry over between machines; seconds do
not.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

MEASUREMENTS = {
    "cli_speed": "how fast the light verbs answer",
    "orchestration": "what a sweep costs beside its own work",
    "training_step": "a training step against TRL's defaults",
    "statistics_speed": "what the intervals of a large sweep cost beside a plain bootstrap",
    "kills": "200 SIGKILLs over all processes of sweeps, and what is found after the resume",
    "scale": "ten thousand arms planned, resumed and asked for their status",
    "readers": "eight readers for a minute while four workers write",
    "harness_speed": "benchmarks against lm-eval's own model class",
    "pruning_pays": "what a search with hyperband saves beside the same search whole",
    "one_arm": "a whole LoRA run against a plain TRL script and lm_eval",
    "shell_loop": "the whole quickstart against a shell loop of the same",
}


def main() -> None:
    """Run the measurements in order and say how long each took."""
    names = sys.argv[1:] or list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        sys.exit(f"unknown measurement {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}")
    for name in names:
        print(f"== {name}: {MEASUREMENTS[name]}", flush=True)
        started = time.perf_counter()
        import_module(f"benchmarks.{name}").main()
        print(f"-- {name} took {time.perf_counter() - started:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
