"""What a spec may say about where and how its runs are executed. Nothing here is part of any identity."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from ftlab.spec.block import Block
from ftlab.spec.secrets import IN_SCHEMA, reference

ROUNDING = 0.01
"""How far one over a part may be from a whole number: 0.333 is a third."""


def whole_or_part(gpus: float) -> float:
    """`gpus` if a run can have so many: a whole number, or one over a whole number. Raises ValueError."""
    parts = 1 / gpus if 0 < gpus < 1 else gpus
    if abs(parts - round(parts)) > ROUNDING:
        raise ValueError(f"expected a whole number of GPUs, or one over a whole number such as 0.5, found {gpus:g}")
    return gpus


Word = Annotated[str, StringConstraints(pattern=r"^\S{1,200}$")]
"""What is handed to a cluster's own tools: one word, so that it can never become a line of a script."""


class SlurmSpec(Block):
    """What each job asks of Slurm, by the names of sbatch's options; GPUs and CPUs come from `execute`."""

    partition: Word | None = None
    """Where jobs are queued; the cluster's default when left out."""
    account: Word | None = None
    """Who pays."""
    qos: Word | None = None
    """The quality of service."""
    time: Annotated[str, StringConstraints(pattern=r"^(\d+-)?\d+(:\d+){0,2}$")] = "24:00:00"
    """The longest a run may take, e.g. `4:00:00` or `1-12`. One that reaches it ends as killed with its checkpoint
    kept, and is tried again by `execute.retries`."""
    mem: Word | None = None
    """The memory of a run, e.g. `32G`."""
    constraint: Word | None = None
    """Features that a node must have."""
    gres: Word | None = None
    """Other generic resources, e.g. `gpu:a100:1` in place of `execute.gpus`."""
    reservation: Word | None = None
    """A reservation to use."""
    nodelist: Word | None = None
    """The only nodes to use."""
    exclude: Word | None = None
    """Nodes not to use."""
    exclusive: bool = False
    """Whether a run has its node for itself."""


class RaySpec(Block):
    """Which Ray cluster, and what of it a run needs besides GPUs and CPUs, which come from `execute`."""

    address: Word = "127.0.0.1:6379"
    """`host:port` of the cluster's head. On another machine Ray's token must be set (RAY_AUTH_MODE=token)."""
    resources: dict[Word, Annotated[float, Field(gt=0)]] = Field(default={})
    """Resources of the cluster's own that a run needs, by name, e.g. `{a100: 1}`."""


class ExecuteSpec(Block):
    """How the runs are executed; nothing here changes a result."""

    executor: str = "local"
    """Where runs are executed: `local`, on this machine; `slurm`, one job for each run, or `ray`, one task for each,
    on a cluster that shares the disk of the results folder."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """How many runs are executed at once. On this machine its CPU threads are divided among them."""
    gpus: Annotated[float, Field(ge=0, le=64), AfterValidator(whole_or_part)] | None = None
    """GPUs of one run: a whole number, or a part such as 0.5, by which two runs share one. When left out, one each on
    this machine if it has any, and none on a cluster."""
    cpus: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of one run; when left out, an equal share of this machine's, and 1 on a cluster."""
    slurm: SlurmSpec = SlurmSpec()
    """What jobs ask for, where the executor is `slurm`."""
    ray: RaySpec = RaySpec()
    """Which cluster, where the executor is `ray`."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """How often a run that failed or was killed is tried again within one `ftlab run`; one that ran out of memory or
    diverged would end the same, and is not."""
    eval_batch_tokens: Annotated[int, Field(ge=64)] = 4096
    """Tokens per batch in prediction and benchmarks: the memory bound, not a result."""
    latency_requests: Annotated[int, Field(ge=2, le=1000)] | None = None
    """How many requests are answered one at a time to measure latency. When left out 20, on the test rows alone; with
    `decision.max_p95_ms` 80, on every split, since fewer cannot show a limit on the slowest twentieth."""
    notify: list[Annotated[str, AfterValidator(partial(reference, what="address")), IN_SCHEMA]] = Field(default=[])
    """Who is told when a sweep ends: `${env:NAME}`, the variable that holds a webhook's address, or one that apprise
    understands. The address is never stored."""
