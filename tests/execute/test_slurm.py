"""Jobs by submitit: its local executor passes the contract; Slurm's own tools are stood in for by scripts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ftlab.errors import MissingExtraError, UsageError
from ftlab.events import Status
from ftlab.execute import slurm
from ftlab.execute.attempts import create_attempt
from ftlab.execute.base import Finished, open_executor
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.cluster import ClusterExecutor
from ftlab.execute.coordinator import Coordinator, Outcome
from ftlab.execute.progress import Silent
from ftlab.execute.slurm import FOLDER, SlurmJobs, open_slurm, sbatch_flags
from ftlab.spec.execution import ExecuteSpec, SlurmSpec
from ftlab.store.ledger import Ledger
from ftlab.testing.executor_contract import FAKE_PIPELINE, ExecutorContract
from ftlab.testing.fakes import fake_plan

pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")


class TestSlurmExecutor(ExecutorContract):
    def make(self, results: Path, workers: int) -> ClusterExecutor:
        jobs = SlurmJobs(results / FOLDER, {}, cluster="local")
        return ClusterExecutor(results, FAKE_PIPELINE, jobs, workers, 1, patience=4, grace=1)

    def make_impossible(self, results: Path) -> ClusterExecutor:
        return open_slurm(results, FAKE_PIPELINE, ExecuteSpec(executor="slurm"))

    def kill_node(self, attempt: Path) -> None:
        """The worker and all of submitit that stands above it."""
        worker = psutil.Process(self.pid_of(attempt))
        for process in [*(above for above in worker.parents() if "submitit" in str(above.cmdline())), worker]:
            process.kill()


SPEC = ExecuteSpec(executor="slurm", workers=2, gpus=2, cpus=3, slurm=SlurmSpec(partition="gpu", time="4:00:00"))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch) -> Path:
    """Slurm's tools on the PATH, and the folder of what they were told."""
    home, tools = tmp_path / "slurm", tmp_path / "bin"
    home.mkdir()
    tools.mkdir()
    script = Path(__file__).with_name("slurm_stand_in.py")
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" {name} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STAND_IN", str(home))
    return home


@pytest.fixture
def executor(stand_in: Path, tmp_path: Path) -> Iterator[ClusterExecutor]:
    executor = open_slurm(tmp_path / "results", FAKE_PIPELINE, SPEC)
    yield executor
    executor.close()


def submit(executor: ClusterExecutor, tmp_path: Path, **fields: object) -> Path:
    config = fake_plan({"a": {"type": "fake_prompt", **fields}}, benchmarks=()).runs[0]
    attempt = create_attempt(tmp_path / "results", config)
    executor.submit(attempt, "base")
    return attempt


def wait(executor: ClusterExecutor) -> Finished:
    for _ in range(300):
        if ends := executor.poll(0.1):
            return ends[0]
    raise AssertionError("no end came")


def test_a_run_is_a_job_with_what_the_spec_asks_for(executor: ClusterExecutor, stand_in: Path, tmp_path: Path) -> None:
    executor.prepare()
    asked = (stand_in / "asked").read_text().splitlines()
    submit(executor, tmp_path)
    end = wait(executor)
    assert (end.status, end.reason) == (Status.COMPLETE, None)
    script = (stand_in / f"{number_of(stand_in)}.script").read_text()
    for option in ("partition=gpu", "time=4:00:00", "gpus-per-node=2", "cpus-per-task=3", "ntasks=1", "nodes=1"):
        assert f"#SBATCH --{option}\n" in script
        assert f"--{option}" in asked
    assert "#SBATCH --no-requeue\n" in script
    left = (tmp_path / "results" / FOLDER).glob(f"{number_of(stand_in)}_*")
    assert not list(left), "a job that did what it should leaves nothing"


def test_a_job_that_is_told_of_its_time_limit_ends_at_a_step(
    executor: ClusterExecutor, stand_in: Path, tmp_path: Path
) -> None:
    attempt = submit(executor, tmp_path, type="fake_trained", seconds=5)
    while not (attempt / "checkpoints" / "step").exists():
        executor.poll(0.1)
    group = int((stand_in / f"{number_of(stand_in)}.pid").read_text())
    (step,) = [
        process
        for process in psutil.Process(group).children(recursive=True)
        if "submitit.core._submit" in process.cmdline() and process.cmdline()[0] != "bash"
    ]
    step.send_signal(signal.SIGUSR2)
    end = wait(executor)
    assert (end.status, end.reason) == (Status.KILLED, slurm.GIVEN_BACK.reason)
    assert (attempt / "checkpoints" / "step").exists(), "the next attempt goes on from here"


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("TIMEOUT", Status.KILLED, "time limit"),
        ("PREEMPTED", Status.KILLED, "preemption"),
        ("NODE_FAIL", Status.KILLED, "node failed"),
        ("CANCELLED by 0", Status.KILLED, "scancel"),
        ("OUT_OF_MEMORY", Status.OOM, "execute.slurm.mem"),
        ("FAILED", Status.FAILED, "ended as FAILED"),
    ],
)
def test_what_slurm_does_to_a_job_is_told_in_words(
    executor: ClusterExecutor, stand_in: Path, tmp_path: Path, monkeypatch, state: str, status: Status, words: str
) -> None:
    monkeypatch.setattr(slurm, "SACCT_SECONDS", 0.1)
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 0)
    attempt = submit(executor, tmp_path, fault="hang")
    while not (attempt / "events.jsonl").exists():
        executor.poll(0.1)
    slurm_end(stand_in, state)
    end = wait(executor)
    assert (end.status, end.died) == (status, True)
    assert words in (end.reason or "")


def number_of(stand_in: Path) -> str:
    (script,) = stand_in.glob("*.script")
    return script.stem


def slurm_end(stand_in: Path, state: str) -> None:
    number = number_of(stand_in)
    (stand_in / f"{number}.state").write_text(state)
    os.killpg(int((stand_in / f"{number}.pid").read_text()), signal.SIGKILL)


def test_what_slurm_refuses_is_one_sentence(executor: ClusterExecutor, stand_in: Path, tmp_path: Path) -> None:
    (stand_in / "refuse").write_text("invalid partition specified: gpu")
    with pytest.raises(UsageError, match=r"^Slurm refuses what execute asks for: invalid partition specified: gpu$"):
        executor.prepare()


def test_a_part_of_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whole GPUs"):
        sbatch_flags(ExecuteSpec(executor="slurm", gpus=0.5))


@pytest.mark.parametrize("value", ["gpu\ncurl example.org", "a b", ""])
def test_no_option_can_become_a_line_of_the_script(value: str) -> None:
    with pytest.raises(ValueError, match="string_pattern_mismatch"):
        SlurmSpec(partition=value)


def test_without_submitit_the_install_line_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ftlab\[slurm\]'"):
        open_slurm(tmp_path, FAKE_PIPELINE, ExecuteSpec(executor="slurm")).prepare()


def test_a_whole_sweep_goes_through_slurm_and_a_run_that_was_killed_is_tried_again(
    stand_in: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    methods = {"good": {"type": "fake_trained"}, "doomed": {"type": "fake_prompt", "fault": "kill", "fault_times": 1}}
    plan = fake_plan(methods, benchmarks=(), execute=SPEC.model_copy(update={"retries": 1}))

    def sweep() -> Outcome:
        with Ledger(results) as ledger:
            executor = open_executor(results, FAKE_PIPELINE, plan.execute)
            return Coordinator(plan, results, executor, Bookkeeping(ledger), Silent()).run()

    outcome = sweep()
    assert [(end.label, end.status) for end in sorted(outcome.ends, key=lambda end: end.label)] == [
        ("doomed", Status.COMPLETE),
        ("good", Status.COMPLETE),
    ]
    assert len(list(stand_in.glob("*.script"))) == 3
    assert sweep().already_done == 2
    assert len(list(stand_in.glob("*.script"))) == 3, "nothing is done twice"
