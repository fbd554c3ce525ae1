"""One LoRA run, training, prediction and benchmark: ftlab against a plain TRL script and `lm_eval`.

ftlab's side includes all of its orchestration: planning, journal, ledger, snapshots, report. Neither side benchmarks
the base here, since the spec has no prompting arm.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shell import plain, plan_of

SPEC = str(Path(__file__).with_name("one_arm.yaml"))


def main() -> None:
    """Print both sides' seconds and the ratio."""
    plan, dataset = plan_of(SPEC)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ftlab.cli", "run", SPEC, "--results", f"{folder}/results"],
            check=True,
            capture_output=True,
        )
        swept = time.perf_counter() - started
        measured = plain(plan.runs[0], dataset, Path(folder, "plain"))
    print(
        f"plain: script {measured.script_seconds:.0f} s, lm_eval {measured.benchmark_seconds:.0f} s, "
        f"accuracy {measured.accuracy:.3f}"
    )
    print(f"ftlab: {swept:.0f} s; ratio {measured.seconds / swept:.2f}")


if __name__ == "__main__":
    main()
