"""Jobs of a Slurm cluster, by submitit: submitted from a login node, watched by their result files and sacct."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlab.errors import MissingExtraError, UsageError, first_line
from ftlab.events import Status
from ftlab.execute.base import Finished, Handle
from ftlab.execute.cluster import ClusterExecutor
from ftlab.execute.remote import GIVEN_BACK, Order, carry_out
from ftlab.spec.execution import ExecuteSpec

FOLDER = ".slurm"
"""In the results folder: scripts, pickled orders and what jobs print."""
NOTICE_SECONDS = 90
"""How long before its time limit a job is told, so that its run can end at a step with a checkpoint."""
LOOK_SECONDS = 0.2
SACCT_SECONDS = 30.0
"""How often Slurm is asked about jobs that left no result; submitit alone would ask every ten minutes."""
RESULT_SECONDS = 10
"""How long the result of a job that has ended may take to show on a shared disk."""

STATES: Mapping[str, tuple[Status, str]] = {
    "TIMEOUT": (Status.KILLED, "the job reached its time limit (execute.slurm.time)"),
    "PREEMPTED": (Status.KILLED, GIVEN_BACK.reason),
    "NODE_FAIL": (Status.KILLED, "the job's node failed"),
    "BOOT_FAIL": (Status.KILLED, "the job's node did not start"),
    "CANCELLED": (Status.KILLED, "the job was cancelled (scancel)"),
    "INTERRUPTED": (Status.KILLED, "the job was killed"),
    "DEADLINE": (Status.KILLED, "the job reached its deadline"),
    "OUT_OF_MEMORY": (Status.OOM, "the job needed more memory than it asked for (execute.slurm.mem)"),
}
"""What became of a run whose job left no result, by Slurm's state of it."""


class SlurmJobs:
    """Implements `ftlab.execute.cluster.Jobs`."""

    def __init__(self, folder: Path, flags: Mapping[str, Any], cluster: str = "slurm") -> None:
        """`flags` are sbatch's long options without dashes; True stands for an option without a value.

        `cluster` may name another of submitit's executors: `local` starts jobs on this machine, without `flags`.
        """
        self._folder = folder
        self._flags = dict(flags)
        self._cluster = cluster
        self._executor: Any = None
        self._asked = time.monotonic()

    def prepare(self) -> None:
        if self._executor is not None:
            return
        submitit = _submitit()
        if self._cluster == "slurm":
            self._test()
        executor = submitit.AutoExecutor(self._folder, cluster=self._cluster)
        executor.update_parameters(
            name="ftlab",
            slurm_signal_delay_s=NOTICE_SECONDS,
            slurm_additional_parameters={**self._flags, "no-requeue": True},
        )
        if self._cluster != "slurm":
            executor.update_parameters(timeout_min=24 * 60)
        self._executor = executor

    def start(self, order: Order) -> Any:
        try:
            return self._executor.submit(carry_out, order)
        except (_submitit().core.utils.FailedJobError, OSError) as error:
            raise UsageError(f"Slurm did not take a job: {_refusal(str(error))}") from error

    def ended(self, jobs: Sequence[Any], timeout: float) -> list[Any]:
        deadline = time.monotonic() + timeout
        if self._cluster == "slurm" and time.monotonic() > self._asked + SACCT_SECONDS:
            jobs[0].watcher.update()
            self._asked = time.monotonic()
        while True:
            # submitit waits for a preempted job to be queued again, which is asked not to be.
            ended = [job for job in jobs if job.done() or job.state == "PREEMPTED"]
            if ended or time.monotonic() >= deadline:
                return ended
            time.sleep(LOOK_SECONDS)

    def outcome(self, job: Any, handle: Handle) -> Finished:
        if not job.paths.result_pickle.exists():
            for state, (status, reason) in STATES.items():
                if job.state.startswith(state):  # "CANCELLED by 1000"
                    return Finished(handle, status, f"{reason}; job {job.job_id}", died=True)
        job._results_timeout_s = RESULT_SECONDS
        error = job.exception()
        if error is None:
            finished: Finished = job.result()
            self._tidy(job)
            return finished
        lines = [line.strip() for line in str(error).splitlines()]
        why = next((line for line in reversed(lines) if "Error" in line), "it left no result")
        reason = f"job {job.job_id} ended as {job.state}: {why[:300]}; see {job.paths.stderr}"
        return Finished(handle, Status.FAILED, reason, died=True)

    def kill(self, job: Any) -> None:
        job.cancel(check=False)

    def close(self) -> None:
        self._executor = None

    def _test(self) -> None:
        """Ask sbatch whether such a job could ever run. Raises UsageError with its answer when not."""
        if shutil.which("sbatch") is None:
            raise UsageError("execute.executor is slurm, and there is no sbatch here; run ftlab on a login node")
        flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in self._flags.items()]
        command = ["sbatch", "--test-only", *flags, "--wrap=true"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        except subprocess.TimeoutExpired as error:
            raise UsageError("sbatch did not answer within 60 s; is the cluster up?") from error
        if done.returncode:
            raise UsageError(f"Slurm refuses what execute asks for: {_refusal(done.stderr)}")

    def _tidy(self, job: Any) -> None:
        """The files of a job that did what it should are of no more use."""
        for file in self._folder.glob(f"{job.job_id}_*"):
            file.unlink(missing_ok=True)


def open_slurm(results: Path, pipeline: str, execute: ExecuteSpec) -> ClusterExecutor:
    """What `execute.executor: slurm` stands for."""
    jobs = SlurmJobs(results.absolute() / FOLDER, sbatch_flags(execute))
    return ClusterExecutor(results, pipeline, jobs, execute.workers, execute.cpus or 1)


def sbatch_flags(execute: ExecuteSpec) -> dict[str, Any]:
    """sbatch's options for one run. Raises UsageError for a part of a GPU, which Slurm has not to give."""
    if execute.gpus is not None and execute.gpus != int(execute.gpus):
        raise UsageError(f"execute.gpus is {execute.gpus:g}; a job of Slurm has whole GPUs: set 1, or leave it out")
    asked = {name: value for name, value in execute.slurm.model_dump().items() if value not in (None, False)}
    flags = {**asked, "nodes": 1, "ntasks": 1, "cpus-per-task": execute.cpus or 1}
    if execute.gpus:
        flags["gpus-per-node"] = int(execute.gpus)
    return flags


def _refusal(text: str) -> str:
    """The line in which sbatch says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line]
    return lines[0].partition("error:")[2].strip()[:300] if lines else first_line(ValueError(text))


def _submitit() -> Any:
    try:
        import submitit
        import submitit.core.utils
    except ImportError:
        raise MissingExtraError(
            "execute.executor is slurm, which needs submitit; run: pip install 'ftlab[slurm]'"
        ) from None
    return submitit
