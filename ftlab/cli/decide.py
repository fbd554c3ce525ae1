"""The session behind `ftlab decide`: choose the finalists, record the opening, answer the test rows, conclude."""

from __future__ import annotations

import getpass
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ftlab.cli.progress import open_display
from ftlab.cli.run import REAL_PIPELINE, conclude
from ftlab.text import one_line

if TYPE_CHECKING:
    from ftlab.execute.base import Executor
    from ftlab.execute.coordinator import Outcome
    from ftlab.execute.progress import Display
    from ftlab.plan.opening import Opening
    from ftlab.plan.run import Plan
    from ftlab.store.ledger import Ledger

VERDICT_FILE = "verdict.json"


def decide_plan(
    plan: Plan, results: Path, *, partial: bool, again: bool, why: str, as_json: bool, pipeline: str = REAL_PIPELINE
) -> int:
    """Measure the finalists of a plan on its test rows, print the verdict, and return the exit code.

    Raises UsageError when the experiment cannot be decided yet or the rows were opened before, StoreBusyError when
    another `ftlab run` has the folder, StorageError when it cannot be written.
    """
    from ftlab.cli.judge import judge_at_the_end
    from ftlab.cli.status import newest_view
    from ftlab.decide.compare import update_comparisons
    from ftlab.execute.base import open_executor
    from ftlab.execute.hold import hold_results
    from ftlab.files import write_atomic
    from ftlab.store.ledger import Ledger

    results = results.expanduser().absolute()
    display = open_display()
    executor = open_executor(results, pipeline, plan.execute)
    with hold_results(results), Ledger(results, derive=update_comparisons) as ledger:
        for message in ledger.messages:
            display.note(message)
        ledger.catch_up()
        opening = _open(plan, results, ledger, executor, partial=partial, again=again, why=why)
        display.note(_opened(opening))
        outcome = _measure(plan, opening, results, ledger, display, executor, fetch=pipeline == REAL_PIPELINE)
        if not outcome.interrupted:
            judge_at_the_end(plan, results, ledger, display)
    view = newest_view(results, plan.experiment_id)
    if view is not None:
        write_atomic(results / plan.experiment_id / VERDICT_FILE, view.model_dump_json(indent=2).encode() + b"\n")
    conclude(plan, results, outcome, as_json=as_json, verb="decide")
    return outcome.exit_code


def _open(
    plan: Plan, results: Path, ledger: Ledger, executor: Executor, *, partial: bool, again: bool, why: str
) -> Opening:
    """Put the opening on record, unless the last one says the same, and return what is open.

    Only once the executor can measure: rows that were opened for nothing stay opened.
    """
    from ftlab.decide.facts import read_facts
    from ftlab.decide.finalists import choose_finalists, propose_opening
    from ftlab.execute.openings import read_openings, write_opening
    from ftlab.plan.expand import with_split
    from ftlab.plan.identity import dataset_key
    from ftlab.plan.opening import TEST

    facts = read_facts(ledger.connection, plan.experiment_id)
    finalists = choose_finalists(facts, partial=partial)
    chosen = {one.arm.arm_id for one in finalists}
    runs = [with_split(run, TEST) for run in plan.runs if run.arm_id in chosen]
    predictions: dict[str, list[str]] = {}
    for run in runs:
        key = run.key("predictions", TEST)
        held = predictions.setdefault(run.arm_id, [])
        if key is not None and key not in held:
            held.append(key)
    earlier = read_openings(results)
    opening = propose_opening(
        facts,
        finalists,
        predictions,
        earlier,
        dataset=dataset_key(runs[0].data, runs[0].task),
        ts=time.time(),
        who=f"{getpass.getuser()}@{socket.gethostname()}",
        why=why,
        again=again,
    )
    if opening is None:
        return [one for one in earlier if one.experiment_id == plan.experiment_id][-1]
    executor.prepare()
    write_opening(results, opening)
    return opening


def _measure(
    plan: Plan, opening: Opening, results: Path, ledger: Ledger, display: Display, executor: Executor, *, fetch: bool
) -> Outcome:
    """One session over the opened arms' runs, with the test rows besides. `fetch`: what they need, before it."""
    from ftlab.execute.bookkeeping import Bookkeeping
    from ftlab.execute.coordinator import Coordinator, unfinished_runs
    from ftlab.execute.fetch import fetch_all
    from ftlab.plan.expand import with_split
    from ftlab.plan.opening import TEST, test_runs

    opened = [with_split(run, TEST) for run in test_runs(opening, plan.runs)]
    session = plan.model_copy(update={"runs": tuple(opened)})
    if unfinished := unfinished_runs(session, results):
        executor.prepare()
    if fetch and unfinished:
        try:
            fetch_all(unfinished, display.fetching)
        finally:
            display.close()
    return Coordinator(session, results, executor, Bookkeeping(ledger), display, whole=False).run()


def _opened(opening: Opening) -> str:
    arms = ", ".join(f"{one_line(arm.label, 60)} ({arm.role})" for arm in opening.arms)
    return f"test rows, opening {opening.number} of this experiment: {arms}"
