#!/usr/bin/env python3
"""sbatch, srun, sacct and scancel for tests, by the name it is called: jobs are processes of this machine.

SLURM_STAND_IN names its folder. There, `<id>.script`, `<id>.pid`, `<id>.state`; whatever `refuse` holds, sbatch says.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

HOME = Path(os.environ["SLURM_STAND_IN"])


def sbatch(arguments: list[str]) -> int:
    if (HOME / "refuse").exists():
        print("sbatch: error: " + (HOME / "refuse").read_text(), file=sys.stderr)
        return 1
    if "--test-only" in arguments:
        (HOME / "asked").write_text("\n".join(arguments))
        print("sbatch: Job 1 to start at 2030-01-01T00:00:00", file=sys.stderr)
        return 0
    number = str(os.getpid())  # like Slurm's own, never used twice
    (HOME / f"{number}.script").write_text(Path(arguments[0]).read_text())
    (HOME / f"{number}.state").write_text("RUNNING")
    names = ("JOB_ID", "NTASKS", "JOB_NUM_NODES", "NODEID", "PROCID", "LOCALID")
    env = {f"SLURM_{name}": value for name, value in zip(names, (number, "1", "1", "0", "0", "0"), strict=True)}
    subprocess.Popen(
        [sys.executable, __file__, "supervise", number],
        env={**os.environ, **env},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(f"Submitted batch job {number}")
    return 0


def supervise(arguments: list[str]) -> int:
    (number,) = arguments
    (HOME / f"{number}.pid").write_text(str(os.getpid()))
    code = subprocess.call(["bash", str(HOME / f"{number}.script")])
    state = HOME / f"{number}.state"
    if state.read_text() == "RUNNING":
        state.write_text("COMPLETED" if code == 0 else "FAILED")
    return 0


def srun(arguments: list[str]) -> int:
    outputs = {}
    while arguments and arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            name = arguments.pop(0).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
            outputs[option] = open(name, "a")  # noqa: SIM115  as long as the process
    os.dup2(outputs["--output"].fileno(), 1)
    os.dup2(outputs["--error"].fileno(), 2)
    os.execvp(arguments[0], arguments)


def sacct(arguments: list[str]) -> int:
    print("JobID|State|NodeList")
    for option, value in pairwise(arguments):
        if option == "-j" and (HOME / f"{value}.state").exists():
            print(f"{value}|{(HOME / f'{value}.state').read_text()}|node1")
    return 0


def scancel(arguments: list[str]) -> int:
    end(arguments[0], "CANCELLED by 0")
    return 0


def end(number: str, state: str) -> None:
    """A job as Slurm ends it: all its processes at once."""
    (HOME / f"{number}.state").write_text(state)
    with suppress(ProcessLookupError, FileNotFoundError):
        os.killpg(int((HOME / f"{number}.pid").read_text()), signal.SIGKILL)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    verbs = {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel, "supervise": supervise}
    if name not in verbs:
        name = sys.argv.pop(1)
    sys.exit(verbs[name](sys.argv[1:]))
