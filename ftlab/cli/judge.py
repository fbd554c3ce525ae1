"""`ftlab judge`: ask the judge of an experiment about every arm's answers. `run` and `decide` end with the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, print_json
from ftlab.cli.progress import open_display
from ftlab.cli.status import Experiment
from ftlab.errors import UsageError
from ftlab.text import one_line

if TYPE_CHECKING:
    from ftlab.execute.judgements import JudgeRecord
    from ftlab.execute.progress import Display
    from ftlab.plan.run import Plan
    from ftlab.store.ledger import Ledger

UNANSWERED_CODE = 3
"""The exit code when the judge did not answer: some of the work could not be done."""


def judge(
    experiment: Experiment = "latest",
    split: Annotated[str | None, typer.Option("--split", help="Only these rows: validation or test.")] = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Let the judge of EXPERIMENT compare every arm's answers with the best prompt's, in both orders.

    What it was asked before is not asked again; its agreement with people is measured anew from the ratings there are.
    `ftlab run` and `ftlab decide` do the same at their end.

    Exit code 0: judged; 2: there is no judge, or nothing to judge; 3: the judge did not answer.
    """
    from ftlab.decide.compare import update_comparisons
    from ftlab.execute.experiments import find_plan
    from ftlab.execute.hold import hold_results
    from ftlab.report.judge import judge_facts
    from ftlab.store.ledger import Ledger

    results = results.expanduser().absolute()
    plan = find_plan(results, experiment)
    if plan.judge is None:
        raise UsageError(f"{plan.name} has no judge; add `judge:` to its spec and run it")
    display = open_display()
    with hold_results(results), Ledger(results, derive=update_comparisons) as ledger:
        ledger.catch_up()
        records = ask_judge(plan, results, ledger, display, split)
    if not records:
        raise UsageError(
            f"there is nothing to judge in {plan.name} yet: it takes the answers of a prompt and another arm"
        )
    if as_json:
        print_json({"schema_version": 1, "judgements": [record.model_dump(mode="json") for record in records]})
    else:
        for record in records:
            rows = [("rows", record.split), ("judge", one_line(record.judge, 100)), *judge_facts(record)]
            width = max(len(name) for name, _ in rows)
            typer.echo("\n".join(f"{name.ljust(width)}  {said}" for name, said in rows))
    raise typer.Exit(0 if all(record.answered for record in records) else UNANSWERED_CODE)


def ask_judge(
    plan: Plan, results: Path, ledger: Ledger, display: Display, split: str | None = None
) -> list[JudgeRecord]:
    """Judge one split, or every one that has answers, and bring ledger and snapshot up to date.

    Raises UsageError for a split without answers and for a judge that cannot be asked, StorageError for a full disk.
    """
    from ftlab.decide.facts import read_facts
    from ftlab.decide.judging import Asked, judge_split

    if plan.judge is None:
        return []
    facts = read_facts(ledger.connection, plan.experiment_id)
    splits = [name for name in facts.splits if facts.arms_on(name)]
    if split is not None and split not in splits:
        raise UsageError(f"there are no answers on '{split}' to judge (there are: {', '.join(splits) or 'none'})")
    asked = Asked(plan.judge, plan)
    told: dict[str, int] = {}

    def progress(label: str, done: int, total: int) -> None:
        # Every quarter of an arm's questions is a line: a judge may take hours.
        quarter = 4 * done // total if total else 4
        if told.get(label) != quarter:
            told[label] = quarter
            display.note(f"judge: {one_line(label, 60)}, {done} of {total} answers")

    found = []
    for name in [split] if split else splits:
        record = judge_split(ledger.connection, plan, results, name, asked, progress)
        told.clear()
        if record is not None:
            found.append(record)
            if record.why:
                display.note(f"warning: the judge's scores on {name} do not count: {record.why}")
        ledger.catch_up()
    ledger.publish()
    return found


def warn_of_missing_key(plan: Plan, display: Display) -> None:
    """Say before a long run that its judge cannot be asked at the end of it."""
    if plan.judge is None or plan.judge.endpoint is None:
        return
    from ftlab.evaluate.judge_endpoint import EndpointJudge

    try:
        EndpointJudge(plan.judge.endpoint)
    except UsageError as error:
        display.note(f"warning: the judge cannot be asked as it stands: {error}")


def judge_at_the_end(plan: Plan, results: Path, ledger: Ledger, display: Display) -> None:
    """The judge's part of `run` and `decide`: what keeps it from being asked is told, and changes nothing else."""
    if plan.judge is None:
        return
    try:
        ask_judge(plan, results, ledger, display)
    except UsageError as error:
        display.note(f"warning: the judge was not asked: {error}; then `ftlab judge {plan.experiment_id}` asks it")
