"""What each worker of a machine gets of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ftlab.errors import UsageError
from ftlab.execute.share import SPINS, share_gpus, share_threads, worker_environment
from ftlab.spec.execution import ExecuteSpec


@pytest.mark.parametrize(
    ("gpus", "workers", "each", "shares"),
    [
        ([], 2, None, [None, None]),
        (["0", "1"], 2, None, ["0", "1"]),
        (["0", "1", "2"], 2, None, ["0", "1"]),
        (["0", "1"], 4, 0.5, ["0", "1", "0", "1"]),
        (["0", "1"], 3, 0.5, ["0", "1", "0"]),
        (["GPU-a"], 3, 0.333, ["GPU-a"] * 3),
        (["0", "1", "2", "3"], 2, 2, ["0,1", "2,3"]),
        (["0", "1", "2"], 1, 3, ["0,1,2"]),
        (["0", "1"], 3, 0, ["", "", ""]),
    ],
)
def test_gpus_are_shared_out(gpus: list[str], workers: int, each: float | None, shares: list[str | None]) -> None:
    assert share_gpus(gpus, workers, each) == shares


@pytest.mark.parametrize(
    ("gpus", "workers", "each", "words"),
    [
        (["0"], 2, None, "set execute.workers to at most 1"),
        (["0", "1"], 5, 0.5, "set execute.workers to at most 4"),
        (["0", "1", "2"], 2, 2, "set execute.workers to at most 1"),
        (["0"], 1, 2, "set execute.gpus to at most 1"),
        ([], 1, 1, "this machine has none; set execute.gpus to at most 0"),
    ],
)
def test_more_than_there_is_is_refused_with_the_mend(
    gpus: list[str], workers: int, each: float | None, words: str
) -> None:
    with pytest.raises(UsageError) as error:
        share_gpus(gpus, workers, each)
    assert words in str(error.value)


def test_threads_are_divided_and_never_less_than_one() -> None:
    assert share_threads(9, 4, None) == 2
    assert share_threads(1, 8, None) == 1
    assert share_threads(8, 8, 4) == 4
    with pytest.raises(UsageError, match=r"16 CPU threads .* has 8"):
        share_threads(8, 1, 16)


@pytest.mark.parametrize("gpus", [0.75, 1.5, -1])
def test_a_share_of_a_gpu_is_one_over_a_whole_number(gpus: float) -> None:
    with pytest.raises(ValidationError):
        ExecuteSpec(gpus=gpus)


def test_a_workers_environment_is_this_one_narrowed(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    env = worker_environment(3)
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"], env["CUDA_VISIBLE_DEVICES"]) == ("3", "3", "5")
    assert env["TOKENIZERS_PARALLELISM"] == "false"
    assert worker_environment(3, "")["CUDA_VISIBLE_DEVICES"] == ""


def test_threads_of_a_worker_soon_sleep_while_they_wait_unless_the_user_says_otherwise(monkeypatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert worker_environment(1)["GOMP_SPINCOUNT"] == SPINS
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in worker_environment(1)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert worker_environment(1)["GOMP_SPINCOUNT"] == "7"
