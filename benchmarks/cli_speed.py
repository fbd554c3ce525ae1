"""How fast the light verbs answer: `--help`, `validate` and `plan` of the quickstart, as fresh processes.

`plan` wants its data in the cache: run `ftlab plan` once before. Bare `python -c pass` is shown beside, so that the
machine's own share is seen.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

QUICKSTART = "experiments/quickstart.yaml"
ROUNDS = 7


def seconds(*arguments: str) -> float:
    """The median wall time of a command, in seconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print the median seconds of each verb."""
    with tempfile.TemporaryDirectory() as results:
        commands = {
            "python -c pass": ("-c", "pass"),
            "ftlab --help": ("-m", "ftlab.cli", "--help"),
            "ftlab validate quickstart": ("-m", "ftlab.cli", "validate", QUICKSTART),
            "ftlab plan quickstart": ("-m", "ftlab.cli", "plan", QUICKSTART, "--results", results),
        }
        for name, command in commands.items():
            print(f"{name:<28} {seconds(*command):6.2f} s")


if __name__ == "__main__":
    main()
