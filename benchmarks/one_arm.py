"""One LoRA run, training, prediction and benchmark: ftlab against a plain TRL script and `lm_eval`.

Same rows, batch size, steps, length of answers and threads. ftlab's side includes all of its orchestration: planning,
journal, ledger, snapshots, report. Where the plan benchmarks the base too, both sides do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.shell import Shell, Taken, plan_of, swept

SPEC = str(Path(__file__).with_name("one_arm.yaml"))


def main() -> None:
    """Print both sides' seconds and the ratio."""
    plan, dataset = plan_of(SPEC)
    with tempfile.TemporaryDirectory() as folder:
        ours = swept(SPEC, Path(folder, "results"))
        print(f"ftlab  {ours}", flush=True)
        shell = Shell(dataset, Path(folder, "plain"))
        theirs = Taken()
        for run in plan.runs:
            measured = shell.run(run)
            theirs += measured.all
            print(f"plain  {run.method['type']:<6} {measured}", flush=True)
    print(f"plain  {theirs}")
    print(f"ratio  {theirs.seconds / ours.seconds:.2f}, of processor {theirs.processor / ours.processor:.2f}")


if __name__ == "__main__":
    main()
