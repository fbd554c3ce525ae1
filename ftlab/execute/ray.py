"""Tasks of an existing Ray cluster, each of which attends to one worker on the node that Ray chose.

Whoever can speak to a Ray cluster can run code on it, so it is used only on the loopback of this machine or with Ray's
own token. Ray does not try a task again (`max_retries=0`): whether a run is, the coordinator decides.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ftlab
from ftlab.errors import MissingExtraError, UsageError, first_line
from ftlab.events import Status
from ftlab.execute.base import Finished, Handle
from ftlab.execute.cluster import ClusterExecutor
from ftlab.execute.provenance import ENVIRONMENT
from ftlab.execute.remote import Order, carry_out
from ftlab.spec.execution import ExecuteSpec

CONNECT_SECONDS = 5.0
HOPELESS_SECONDS = 60.0
"""How long a cluster may be without any node that could run a task: nodes are replaced, but not for ever."""
HANDED_ON = ("FTLAB_CACHE", *(name for name in ENVIRONMENT if name.startswith(("HF_", "CUBLAS_"))))
"""Variables of this process that a run has wherever it is executed."""
TOKEN_PLACES = "RAY_AUTH_MODE=token, and the token in RAY_AUTH_TOKEN or in a file that RAY_AUTH_TOKEN_PATH names"


class RayJobs:
    """Implements `ftlab.execute.cluster.Jobs`. A job is the reference to a task's result."""

    def __init__(self, address: str, needs: Mapping[str, float]) -> None:
        """`address` is `host:port`; `needs` are the resources of a run by Ray's names: CPU, GPU or a node's own."""
        self._address = address
        self._needs = {name: amount for name, amount in needs.items() if amount}
        self._ray: Any = None
        self._task: Any = None
        self._own = False
        self._lost: set[Any] = set()
        self._hopeless_since: float | None = None

    def prepare(self) -> None:
        if self._ray is None:
            self._connect()
        if missing := self._missing():
            raise UsageError(f"no node of the Ray cluster at {self._address} can ever run this: {missing}")

    def start(self, order: Order) -> Any:
        return self._task.remote(order)

    def ended(self, jobs: Sequence[Any], timeout: float) -> list[Any]:
        if self._hopeless():
            self._lost.update(jobs)
            return list(jobs)
        ready, _ = self._ray.wait(list(jobs), num_returns=1, timeout=timeout, fetch_local=False)
        if ready:
            ready, _ = self._ray.wait(list(jobs), num_returns=len(jobs), timeout=0, fetch_local=False)
        return list(ready)

    def outcome(self, job: Any, handle: Handle) -> Finished:
        if job in self._lost:
            self._lost.remove(job)
            self.kill(job)
            why = "no node of the Ray cluster is left that could run it"
            return Finished(handle, Status.KILLED, why, died=True)
        errors = self._ray.exceptions
        try:
            finished: Finished = self._ray.get(job)
            return finished
        except errors.OutOfMemoryError:
            return Finished(handle, Status.OOM, "Ray ended the run when its node's memory ran out", died=True)
        except errors.TaskCancelledError:
            return Finished(handle, Status.KILLED, "the Ray task was cancelled", died=True)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.LocalRayletDiedError):
            return Finished(handle, Status.KILLED, "the Ray node of the run went down, or its process there", died=True)
        except errors.RayError as error:
            return Finished(handle, Status.FAILED, f"{type(error).__name__}: {first_line(error)}", died=True)

    def kill(self, job: Any) -> None:
        self._ray.cancel(job, force=True)

    def close(self) -> None:
        if self._ray is not None and self._own:
            self._ray.shutdown()
        self._ray = self._task = None

    def _missing(self) -> str | None:
        return unplaceable(self._needs, [node["Resources"] for node in self._ray.nodes() if node["Alive"]])

    def _hopeless(self) -> bool:
        """Whether for a while no node has been there that could run a task: Ray would wait for one for ever."""
        if self._missing() is None:
            self._hopeless_since = None
            return False
        if self._hopeless_since is None:
            self._hopeless_since = time.monotonic()
        return time.monotonic() - self._hopeless_since > HOPELESS_SECONDS

    def _connect(self) -> None:
        """Connect, unless this process is connected already. Raises UsageError when no cluster answers, or one that
        anybody can speak to."""
        host, port = split_address(self._address)
        safe = check_safe(host, self._address)
        ray = _ray()
        self._own = not ray.is_initialized()
        if self._own:
            self._init(ray, host, port)
        elif (other := ray.get_runtime_context().gcs_address) != self._address:
            raise UsageError(f"this process is connected to another Ray cluster, {other}; disconnect by ray.shutdown()")
        if not safe and (open_to := _beyond_this_machine(ray.nodes())):
            self._ray = ray
            self.close()
            raise UsageError(
                f"the Ray cluster at {self._address} has a node at {open_to}, which the network reaches, and no token "
                f"is set; start it with one ({TOKEN_PLACES})"
            )
        self._ray = ray
        needs = dict(self._needs)
        cpus, gpus = needs.pop("CPU", 0), needs.pop("GPU", 0)
        task = ray.remote(max_retries=0)(carry_out)
        self._task = task.options(num_cpus=cpus, num_gpus=gpus, resources=needs, name="ftlab run")

    def _init(self, ray: Any, host: str, port: int) -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise UsageError(
                f"no Ray cluster answers at {self._address} ({error.strerror or error}); on this machine one is "
                f"started by: ray start --head --node-ip-address=127.0.0.1 --port={port}"
            ) from None
        try:
            ray.init(
                address=self._address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="ftlab",
                runtime_env=runtime_environment(),
            )
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"the Ray cluster at {self._address} cannot be used: {first_line(error)}") from error


def runtime_environment() -> dict[str, Any]:
    """What every node runs: this ftlab, to the byte, and these variables; `carry_out` compares the other packages."""
    variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    return {
        "py_modules": [str(Path(ftlab.__file__).parent)],
        "excludes": ["__pycache__"],
        "env_vars": variables,
    }


def unplaceable(needs: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Why no node could run what needs this, were it idle; None when one could."""
    if any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in nodes):
        return None
    lacking = [
        f"a run needs {amount:g} {name}, and no node has more than {most:g}"
        for name, amount in needs.items()
        if (most := max((node.get(name, 0) for node in nodes), default=0)) < amount
    ]
    return "; ".join(lacking) or f"no single node has all of {', '.join(f'{n:g} {name}' for name, n in needs.items())}"


def split_address(address: str) -> tuple[str, int]:
    """Host and port. Raises UsageError for what is no `host:port`, Ray's client protocol included."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or "/" in host or not port.isdigit():
        raise UsageError(f"execute.ray.address: expected host:port of a Ray cluster's head, found '{address}'")
    return host.strip("[]"), int(port)


def check_safe(host: str, address: str) -> bool:
    """Whether Ray's token is set; to be asked before Ray is imported, since it reads its environment then.

    Raises UsageError when it is not and `host` is no loopback.
    """
    if token_is_set():
        os.environ["RAY_AUTH_MODE"] = "token"
        return True
    if not is_loopback(host):
        raise UsageError(
            f"execute.ray.address {address} is on the network and no token is set, so anybody there could run code; "
            f"set Ray's ({TOKEN_PLACES}), or use a cluster on 127.0.0.1"
        )
    # Without this Ray takes 127.0.0.1 for the address of the network card.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    return False


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone. A name other than localhost is not believed to be."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_is_set() -> bool:
    """Whether Ray will use its token authentication: the mode is not another, and there is a token where Ray looks."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return False
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return True
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return bool(file.read_text().strip())
    except OSError:
        return False


def _beyond_this_machine(nodes: Sequence[Mapping[str, Any]]) -> str | None:
    """The address of a node that is not on the loopback."""
    addresses = [str(node["NodeManagerAddress"]) for node in nodes if node["Alive"]]
    return next((address for address in addresses if not is_loopback(address)), None)


def open_ray(results: Path, pipeline: str, execute: ExecuteSpec) -> ClusterExecutor:
    """What `execute.executor: ray` stands for."""
    cpus = execute.cpus or 1
    jobs = RayJobs(execute.ray.address, {"CPU": cpus, "GPU": execute.gpus or 0, **execute.ray.resources})
    return ClusterExecutor(results, pipeline, jobs, execute.workers, cpus)


def _ray() -> Any:
    # Ray will soon leave CUDA_VISIBLE_DEVICES alone where no GPU is asked for, and warns until it is told to.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise MissingExtraError("execute.executor is ray, which needs Ray; run: pip install 'ftlab[ray]'") from None
    return ray
