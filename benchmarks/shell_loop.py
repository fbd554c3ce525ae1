"""The quickstart through ftlab against a shell loop of it: a plain TRL script per run, `lm_eval` per set of weights.

    python -m benchmarks.shell_loop [--whole]

Both sides start with the model and the data in the cache and with nothing computed. All arms of the quickstart, on
about half of its rows; `--whole` takes all of them, and twice the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.shell import Shell, Taken, plan_of, swept

QUICKSTART = "experiments/quickstart.yaml"
SMALLER = ("data.splits.train=160", "data.splits.validation=80", "benchmarks.limit=30")


def main(arguments: Sequence[str] = ()) -> None:
    """Print the seconds of the sweep, of each run of the loop, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="the quickstart's own sizes")
    sizes = () if parser.parse_args(arguments).whole else SMALLER
    plan, dataset = plan_of(QUICKSTART, sizes)
    arms = {arm.arm_id: arm.label for arm in plan.arms}
    with tempfile.TemporaryDirectory() as folder:
        ours = swept(QUICKSTART, Path(folder, "results"), sizes)
        print(f"{'ftlab, all of it':<30} {ours}", flush=True)
        shell = Shell(dataset, Path(folder, "plain"))
        loop = Taken()
        for run in plan.runs:
            measured = shell.run(run)
            loop += measured.all
            print(f"{arms[run.arm_id]:<30} {measured}", flush=True)
    print(f"{'shell loop, all of it':<30} {loop}")
    print(f"ratio {loop.seconds / ours.seconds:.2f}, of processor {loop.processor / ours.processor:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
