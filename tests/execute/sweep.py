"""A whole sweep of fakes in a process of its own, for tests that kill it: `python sweep.py RESULTS OPTIONS_JSON`.

Prints the outcome as JSON and exits with its code, as `ftlab run` does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ftlab.errors import FtlabError
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.coordinator import Coordinator
from ftlab.execute.hold import hold_results
from ftlab.execute.local import LocalExecutor
from ftlab.execute.progress import Silent
from ftlab.plan.run import Plan
from ftlab.spec.schema import ExecuteSpec
from ftlab.store.ledger import Ledger
from ftlab.testing.fakes import fake_plan

PIPELINE = "ftlab.testing.fakes:FakePipeline"


def plan_of(options: dict) -> Plan:
    execute = ExecuteSpec(workers=options.get("workers", 1), retries=options.get("retries", 0))
    keep = {key: options[key] for key in ("benchmarks", "metric_version", "seeds") if key in options}
    return fake_plan(options["methods"], execute=execute, **keep)


def main() -> int:
    results, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    plan = plan_of(options)
    with hold_results(results), Ledger(results) as ledger:
        executor = LocalExecutor(results, PIPELINE, plan.execute.workers)
        books = Bookkeeping(ledger)
        outcome = Coordinator(plan, results, executor, books, Silent(), grace=options.get("grace", 5)).run()
    ends = {end.label: [end.status, end.reason] for end in outcome.ends}
    print(json.dumps({"total": outcome.total, "already_done": outcome.already_done, "ends": ends}))
    return outcome.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FtlabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
