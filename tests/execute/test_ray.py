"""Tasks of a Ray cluster: two CPU-only nodes on the loopback pass the contract, and what is unsafe is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from ftlab.errors import MissingExtraError, UsageError
from ftlab.events import Status
from ftlab.execute import ray
from ftlab.execute.cluster import ClusterExecutor
from ftlab.execute.ray import RayJobs, check_safe, open_ray, split_address, unplaceable
from ftlab.spec.execution import ExecuteSpec, RaySpec
from ftlab.testing.executor_contract import FAKE_PIPELINE, ExecutorContract

CLUSTER = "FTLAB_TEST_RAY"
"""The variable that tells a driver in a process of its own where the cluster is."""


def test_a_request_is_checked_against_single_nodes() -> None:
    nodes = [{"CPU": 2.0, "memory": 1e9}, {"CPU": 8.0, "GPU": 1.0, "a100": 1.0}]
    assert unplaceable({"CPU": 8, "GPU": 0.5, "a100": 1}, nodes) is None
    assert unplaceable({"GPU": 4}, nodes) == "a run needs 4 GPU, and no node has more than 1"
    assert unplaceable({"GPU": 1, "memory": 1e9}, nodes) == "no single node has all of 1 GPU, 1e+09 memory"
    assert unplaceable({"CPU": 1}, []) == "a run needs 1 CPU, and no node has more than 0"


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "head", ":6379", "head:port"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(UsageError, match="expected host:port"):
        split_address(address)


@pytest.fixture
def no_token(monkeypatch, tmp_path: Path) -> Path:
    """An environment without a token; the home folder that it would be in."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return tmp_path


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_the_loopback_needs_no_token(no_token: Path, host: str) -> None:
    assert not check_safe(host, host)


@pytest.mark.parametrize("host", ["10.0.0.5", "head.example.org", "0.0.0.0", "localhost.example.org"])
def test_another_machine_needs_rays_token(no_token: Path, monkeypatch, host: str) -> None:
    with pytest.raises(UsageError, match="no token is set, so anybody there could run code"):
        check_safe(host, f"{host}:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t" * 32)
    assert check_safe(host, f"{host}:6379")
    assert os.environ["RAY_AUTH_MODE"] == "token", "a Ray that has it off by default is told"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UsageError, match="no token is set"):
        check_safe(host, f"{host}:6379")


def test_a_token_may_be_in_a_file(no_token: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    (no_token / ".ray").mkdir()
    (no_token / ".ray" / "auth_token").write_text("t" * 32)
    assert check_safe("10.0.0.5", "10.0.0.5:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "none"))
    with pytest.raises(UsageError, match="no token is set"):
        check_safe("10.0.0.5", "10.0.0.5:6379")


def test_a_cluster_that_is_not_there_is_told_at_once(no_token: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    spec = ExecuteSpec(executor="ray", ray=RaySpec(address="127.0.0.1:1"))
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 .* ray start --head"):
        open_ray(tmp_path, FAKE_PIPELINE, spec).prepare()


def test_without_ray_the_install_line_is_told(no_token: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ftlab\[ray\]'"):
        open_ray(tmp_path, FAKE_PIPELINE, ExecuteSpec(executor="ray")).prepare()


@pytest.fixture(scope="module")
def cluster() -> Iterator[subprocess.Popen[str]]:
    """The process that keeps the cluster."""
    if find_spec("ray") is None:
        pytest.skip("the extra 'ray' is not installed")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ray_stand_in.py"))],
            env={**env, "RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        patch.setenv(CLUSTER, address)
        # One connection for all tests here: each takes Ray seconds, and new processes on the nodes.
        first = RayJobs(address, {"CPU": 1})
        first.prepare()
        yield process
        first.close()
        process.communicate(timeout=60)


@pytest.mark.ray
class TestRayExecutor(ExecutorContract):
    patience = 60.0

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: subprocess.Popen[str]) -> None:
        self.cluster = cluster
        self.have_both_nodes()

    def have_both_nodes(self) -> None:
        """Replace the second node if it is down."""
        assert self.cluster.stdin is not None
        assert self.cluster.stdout is not None
        self.cluster.stdin.write("\n")
        self.cluster.stdin.flush()
        assert self.cluster.stdout.readline() == "ready\n"

    def make(self, results: Path, workers: int) -> ClusterExecutor:
        jobs = RayJobs(os.environ[CLUSTER], {"CPU": 1, "second": 0.01})
        return ClusterExecutor(results, FAKE_PIPELINE, jobs, workers, 1, patience=20, grace=1)

    def make_impossible(self, results: Path) -> ClusterExecutor:
        spec = ExecuteSpec(executor="ray", gpus=1, ray=RaySpec(address=os.environ[CLUSTER]))
        return open_ray(results, FAKE_PIPELINE, spec)

    def kill_node(self, attempt: Path) -> None:
        self.kill_second_node(attempt)
        self.have_both_nodes()

    def kill_second_node(self, attempt: Path) -> None:
        """With every process that Ray has there."""
        (raylet,) = [one for one in psutil.Process(self.pid_of(attempt)).parents() if one.name() == "raylet"]
        for process in [raylet, *raylet.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        import ray as cluster

        deadline = time.monotonic() + self.patience
        while sum(node["Alive"] for node in cluster.nodes()) > 1:
            assert time.monotonic() < deadline, "Ray still believes in the node"
            time.sleep(0.1)

    def test_a_run_that_no_node_is_left_for_is_told_of(
        self, executor: ClusterExecutor, results: Path, monkeypatch
    ) -> None:
        monkeypatch.setattr(ray, "HOPELESS_SECONDS", 1.0)
        first = self.submit(executor, results, "first", fault="hang")
        self.wait_for_stage(first.attempt, "predictions")
        self.kill_second_node(first.attempt)
        with pytest.raises(UsageError, match="no node of the Ray cluster"):
            self.submit(executor, results, "second")
        with monkeypatch.context() as patch:
            patch.setattr(RayJobs, "prepare", lambda self: None)  # as if the node had gone down a moment later
            third = self.submit(executor, results, "third")
        ends = {end.handle: end for end in self.wait(executor, 2)}
        assert {end.status for end in ends.values()} == {Status.KILLED}
        assert ends[third].reason == "no node of the Ray cluster is left that could run it"
