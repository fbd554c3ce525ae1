"""`ftlab run`, `resume` and `decide`: bring an experiment to completion, say what came of it, and settle it on test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftlab.cli.common import (
    DEFAULT_RESULTS,
    AsJson,
    Overrides,
    Results,
    SpecPath,
    console,
    print_json,
    results_option,
    say,
)
from ftlab.cli.doctor import doctor
from ftlab.cli.progress import end_line, open_display
from ftlab.cli.status import Experiment, best_line, front_facts, front_lines, fronts, newest_view, spent_line, status
from ftlab.errors import FtlabError
from ftlab.events import Status
from ftlab.text import plural

if TYPE_CHECKING:
    from ftlab.decide.view import DecisionView
    from ftlab.execute.base import Executor
    from ftlab.execute.coordinator import Outcome
    from ftlab.execute.progress import Display
    from ftlab.plan.run import Plan, RunConfig
    from ftlab.spec.load import LoadedSpec

__all__ = ["decide", "doctor", "resume", "run", "status"]

REAL_PIPELINE = "ftlab.execute.real:RealPipeline"
SCHEMA_VERSION = 1
REPORT_FILE = "report.html"
SHOWN_FINDINGS = 5

Pipeline = Annotated[str, typer.Option("--pipeline", envvar="FTLAB_PIPELINE", hidden=True)]


def run(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
    pipeline: Pipeline = REAL_PIPELINE,
) -> None:
    """Execute every run of SPEC that is not done, and compare the methods.

    Work that is on disk is never done again. Runs that failed, ran out of memory or were killed in an earlier session
    are tried once more; within this session, `execute.retries` says how often. Ctrl-C stops in good order at the next
    step, a second Ctrl-C at once.

    Exit code 0: all done; 2: the spec or the folder is wrong; 3: some runs failed; 130: interrupted.
    """
    from ftlab.plan.expand import build_plan
    from ftlab.spec.load import load_spec

    loaded = load_spec(spec, overrides or ())
    plan = build_plan(loaded)
    raise typer.Exit(execute_plan(plan, results, as_json=as_json, pipeline=pipeline, loaded=loaded))


def resume(
    experiment: Experiment = "latest",
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
    pipeline: Pipeline = REAL_PIPELINE,
) -> None:
    """Continue an experiment as it was planned: everything unfinished, and once more whatever failed.

    It takes the plan that `ftlab run` stored. For a spec that was edited since, use `ftlab run`.
    """
    from ftlab.execute.experiments import find_plan

    plan = find_plan(results.expanduser().absolute(), experiment)
    raise typer.Exit(execute_plan(plan, results, as_json=as_json, pipeline=pipeline))


def decide(
    experiment: Experiment = "latest",
    partial: Annotated[bool, typer.Option("--partial", help="Decide without the runs that did not finish.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Look once more at test rows that were opened before.")
    ] = False,
    why: Annotated[str, typer.Option("--why", help="Why the rows are opened; kept and shown.", metavar="TEXT")] = "",
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
    pipeline: Pipeline = REAL_PIPELINE,
) -> None:
    """Open the sealed test rows for the finalists, and settle the question on them.

    The finalists are chosen on validation: the best arm of every trained method, the best prompt, and the bare base
    model where the spec has it. Who opened the rows, when, why and for which arms is recorded first. Decided again
    without a change it shows the answer; a look at anything new must be asked for by --again and --why, and is counted.

    Exit code 0: measured, whatever the answer; 2: it cannot be decided yet; 3: some arm failed; 130: interrupted.
    """
    from ftlab.cli.decide import decide_plan
    from ftlab.execute.experiments import find_plan

    plan = find_plan(results.expanduser().absolute(), experiment)
    raise typer.Exit(
        decide_plan(plan, results, partial=partial, again=again, why=why, as_json=as_json, pipeline=pipeline)
    )


def execute_plan(
    plan: Plan,
    results: Path,
    *,
    as_json: bool = False,
    pipeline: str = REAL_PIPELINE,
    loaded: LoadedSpec | None = None,
    whole: bool = True,
) -> int:
    """Run a plan with live progress, print what came of it, and return the exit code.

    `loaded` is the spec that the plan was made from: with it, what is wrong with the data is told with its place.
    `whole` is False for a plan of some runs only, which leaves the plan on record as it is.

    Raises StoreBusyError when another `ftlab run` has the folder, StorageError when it cannot be written.
    """
    from ftlab.cli.judge import warn_of_missing_key
    from ftlab.execute.base import open_executor
    from ftlab.execute.coordinator import unfinished_runs
    from ftlab.execute.hold import hold_results, refuse_if_held
    from ftlab.execute.notify import check_addresses
    from ftlab.plan.propose import with_samples
    from ftlab.redaction import remember
    from ftlab.search.clones import with_clones
    from ftlab.spec.secrets import variables

    results = results.expanduser().absolute()
    display = open_display()
    refuse_if_held(results)
    remember(variables(plan.secrets))
    check_addresses(plan.execute.notify)
    warn_of_missing_key(plan, display)
    plan = with_clones(plan, results) if whole else plan
    # What a search will propose needs the same data and model as one point of its space.
    sampled = with_samples(plan) if whole else plan
    executor = open_executor(results, pipeline, plan.execute)
    if unfinished := unfinished_runs(sampled, results):
        executor.prepare()
        if pipeline == REAL_PIPELINE:
            _prepare(sampled, unfinished, display, loaded)
    try:
        with hold_results(results):
            outcome = _work(plan, results, executor, display, whole)
    except FtlabError as error:
        _tell(plan, f"{plan.name}: stopped by an error", [str(error)], {"error": str(error)})
        raise
    conclude(plan, results, outcome, as_json=as_json)
    _tell_outcome(plan, results, outcome)
    return outcome.exit_code


def _tell_outcome(plan: Plan, results: Path, outcome: Outcome) -> None:
    """Notify who is to be notified: what finished, what failed and why, the answer so far, what it took, what next."""
    if not plan.execute.notify or not outcome.ends:
        return
    view = newest_view(results, plan.experiment_id)
    head, *failures = _summary(outcome)
    lines = [*failures, *([view.conclusion.sentence] if view is not None else []), *_next(plan, results, outcome, view)]
    _tell(plan, f"{plan.name}: {head}", lines, _facts(plan, outcome))


def _tell(plan: Plan, title: str, lines: Sequence[str], facts: dict[str, Any]) -> None:
    from ftlab.execute.notify import notify

    for failure in notify(plan.execute.notify, title, lines, facts):
        say(f"warning: {failure}")


def _prepare(plan: Plan, unfinished: Sequence[RunConfig], display: Display, loaded: LoadedSpec | None) -> None:
    """Look at the data and fetch what is missing before anything is written: what is wrong is said once, first."""
    from ftlab.execute.fetch import fetch_all
    from ftlab.plan.preflight import preflight
    from ftlab.spec.placed import placed

    findings = preflight(plan, loaded).findings
    for finding in findings[:SHOWN_FINDINGS]:
        display.note(f"warning: {finding.message}")
    if len(findings) > SHOWN_FINDINGS:
        display.note(f"`ftlab plan` shows {len(findings) - SHOWN_FINDINGS} more")
    try:
        with placed(loaded):
            fetch_all(unfinished, display.fetching)
    finally:
        display.close()


def _work(plan: Plan, results: Path, executor: Executor, display: Display, whole: bool) -> Outcome:
    """One session of the coordinator over the plan."""
    from ftlab.cli.judge import judge_at_the_end
    from ftlab.decide.compare import update_comparisons
    from ftlab.execute.bookkeeping import Bookkeeping
    from ftlab.execute.coordinator import Coordinator
    from ftlab.store.ledger import Ledger

    with Ledger(results, derive=update_comparisons) as ledger:
        told = len(ledger.messages)
        for message in ledger.messages:
            display.note(message)
        outcome = Coordinator(plan, results, executor, Bookkeeping(ledger), display, whole=whole).run()
        for message in ledger.messages[told:]:
            display.note(message)
        if whole and not outcome.interrupted:
            judge_at_the_end(plan, results, ledger, display)
        return outcome


def conclude(plan: Plan, results: Path, outcome: Outcome, *, as_json: bool, verb: str = "resume") -> None:
    """What was done, what failed and why, the comparison, and what to do next. `verb` goes on with what is left."""
    from ftlab.execute.experiments import read_plan
    from ftlab.report.html import write_report

    view = newest_view(results, plan.experiment_id)
    report = results / plan.experiment_id / REPORT_FILE
    if view is not None:
        write_report(view, report)
    if as_json:
        shown = {"view": view.model_dump(mode="json"), "report": str(report)} if view is not None else {}
        best = front_facts(fronts(results, read_plan(results / plan.experiment_id)))
        print_json({**_facts(plan, outcome), "fronts": best, **shown})
        return
    typer.echo("\n".join(_summary(outcome)))
    if view is not None and any(arm.metrics for arm in view.arms):
        from ftlab.report.terminal import print_view

        typer.echo()
        print_view(view, console())
        typer.echo(f"\nreport  {report}")
        typer.echo(f"open    ftlab ui{results_option(results)}")
    typer.echo("\n".join(_next(plan, results, outcome, view, verb)))


def _next(plan: Plan, results: Path, outcome: Outcome, view: DecisionView | None, verb: str = "resume") -> list[str]:
    """The best arm so far, what it took, and the exact command that goes on from here, where there is one."""
    from ftlab.execute.experiments import read_plan
    from ftlab.execute.standing import read_standing

    # The plan on record: this session's may lack arms that a search proposed, or hold some runs only.
    stored = read_plan(results / plan.experiment_id)
    best = best_line(view)
    lines = [*([best] if best else []), *front_lines(fronts(results, stored))]
    lines.append(spent_line(read_standing(results, stored)))
    option = results_option(results)
    if outcome.interrupted or outcome.failures:
        word = "resume" if outcome.interrupted else "retry "
        lines.append(f"{word}  ftlab {verb} {plan.experiment_id}{option}")
    elif view is not None and not view.openings and any(arm.difference for arm in view.arms):
        lines.append(f"decide  ftlab decide {plan.experiment_id}{option}")
    return lines


def _summary(outcome: Outcome) -> list[str]:
    finished = sum(end.status is Status.COMPLETE for end in outcome.ends)
    before = outcome.already_done - outcome.already_pruned
    parts = [f"{finished + before} of {plural(outcome.total, 'run')} done"]
    if outcome.ends and before:
        parts.append(f"{before} of them before")
    elif outcome.already_done and not outcome.ends:
        parts.append("nothing was left to do")
    pruned = [end for end in outcome.ends if end.status is Status.PRUNED]
    if pruned or outcome.already_pruned:
        parts.append(f"{len(pruned) + outcome.already_pruned} pruned")
    if outcome.failures:
        parts.append(f"{len(outcome.failures)} failed")
    if outcome.interrupted:
        parts.append("interrupted")
    return [", ".join(parts), *(f"  {end_line(end)}" for end in (*pruned, *outcome.failures))]


def _facts(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment_id": plan.experiment_id,
        "name": plan.name,
        "total": outcome.total,
        "already_done": outcome.already_done,
        "already_pruned": outcome.already_pruned,
        "interrupted": outcome.interrupted,
        "ended": [
            {"run_id": end.config.run_id, "label": end.label, "status": end.status, "reason": end.reason}
            for end in outcome.ends
        ],
    }
