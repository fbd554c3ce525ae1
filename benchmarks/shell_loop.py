"""The whole quickstart through ftlab against a shell loop of the same: a plain TRL script and `lm_eval` per run.

Both sides start with the model and the data in the cache and with nothing computed. It takes a while: the loop's time
is what ftlab saves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shell import plain, plan_of

QUICKSTART = "experiments/quickstart.yaml"


def main() -> None:
    """Print the seconds of each run of the loop, of the sweep, and the ratio."""
    plan, dataset = plan_of(QUICKSTART)
    arms = {arm.arm_id: arm.label for arm in plan.arms}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ftlab.cli", "run", QUICKSTART, "--results", f"{folder}/results"],
            check=True,
            capture_output=True,
        )
        swept = time.perf_counter() - started
        loop = 0.0
        for run in plan.runs:
            measured = plain(run, dataset, Path(folder, run.run_id))
            loop += measured.seconds
            print(
                f"{arms[run.arm_id]:<32} script {measured.script_seconds:6.0f} s  "
                f"lm_eval {measured.benchmark_seconds:6.0f} s  accuracy {measured.accuracy:.3f}",
                flush=True,
            )
    print(f"shell loop {loop:.0f} s, ftlab {swept:.0f} s, ratio {loop / swept:.2f}")


if __name__ == "__main__":
    main()
