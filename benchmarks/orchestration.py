"""What a sweep costs beside its own work: 40 runs of one second each, through coordinator, worker, journal and ledger.

The runs are fakes that sleep, so every second beyond 40 is ftlab's own. Less than 10% is the promise. Each run has its
own training and prediction, and its curves and scores go into the ledger as those of a real run do. Starting the worker
is counted too. The processor time is printed beside: on a busy machine it says more than the clock.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from ftlab.decide.compare import update_comparisons
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.coordinator import Coordinator, Outcome
from ftlab.execute.hold import hold_results
from ftlab.execute.local import LocalExecutor
from ftlab.execute.progress import Silent
from ftlab.plan.run import Plan
from ftlab.store.ledger import Ledger
from ftlab.testing.executor_contract import FAKE_PIPELINE
from ftlab.testing.fakes import fake_plan

RUNS = 40
STAGES = 2
"""Stages of a run that sleep: weights and predictions."""
LIMIT = 0.10


def sweep(plan: Plan, results: Path) -> Outcome:
    """One session, as `ftlab run` has it, without a display."""
    with hold_results(results), Ledger(results, derive=update_comparisons) as ledger:
        executor = LocalExecutor(results, FAKE_PIPELINE, 1)
        return Coordinator(plan, results, executor, Bookkeeping(ledger), Silent()).run()


def main() -> None:
    """Print the overhead as a share of the work, and what a second session with nothing to do takes."""
    methods = {
        f"arm{number}": {"type": "fake_trained", "seconds": 1 / STAGES, "learning_rate": 0.1 / (number + 1)}
        for number in range(RUNS)
    }
    plan = fake_plan(methods, benchmarks=())
    with tempfile.TemporaryDirectory() as folder:
        first, processor = _timed(plan, Path(folder))
        second, _ = _timed(plan, Path(folder))
    overhead = (first - RUNS) / RUNS
    print(f"{RUNS} runs of 1 s on 1 worker    {first:6.1f} s, of processor {processor:.1f} s")
    print(f"overhead                     {overhead:6.1%}   (promised: below {LIMIT:.0%})")
    print(f"a second session, no work    {second:6.2f} s")


def _timed(plan: Plan, results: Path) -> tuple[float, float]:
    """Wall seconds and processor seconds (this process and its workers) of one session."""
    started, used = time.perf_counter(), _processor_seconds()
    outcome = sweep(plan, results)
    assert outcome.exit_code == 0, outcome.failures
    return time.perf_counter() - started, _processor_seconds() - used


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
