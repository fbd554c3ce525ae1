"""`ftlab stop`, `retry` and `clone`: say what a sweep shall do, while it runs and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, print_json, say
from ftlab.cli.run import REAL_PIPELINE, Pipeline, execute_plan, results_option
from ftlab.cli.status import Experiment
from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.text import plural

if TYPE_CHECKING:
    from ftlab.execute.stages import StageStore
    from ftlab.plan.run import Plan, RunConfig

STOP_SECONDS = 120.0
FAILED = (Status.FAILED, Status.OOM, Status.KILLED)
"""What `retry --failed` tries again."""


def stop(
    now: Annotated[bool, typer.Option("--now", help="At once: work since the last checkpoint is lost.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Wait for its end at most so long.", metavar="SECONDS")
    ] = STOP_SECONDS,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Stop the `ftlab run` that works in the results folder: the step is finished, a checkpoint written, then it ends.

    Exit code 0: it has ended; 2: nobody works there, or it has not ended within --wait.
    """
    from ftlab.execute.stop import ask_to_stop, wait_until_free

    results = results.expanduser().absolute()
    who = ask_to_stop(results, now=now)
    if not as_json:
        say(f"asked process {who.pid} to stop {'at once' if now else 'at its next step'}")
    if not wait_until_free(results, wait):
        raise UsageError(
            f"process {who.pid} has not ended within {wait:g} s; wait longer, or stop it by `ftlab stop --now`"
        )
    if as_json:
        print_json({"pid": who.pid, "host": who.host, "stopped": True})
    else:
        typer.echo(f"stopped; continue with: ftlab resume{results_option(results)}")


def retry(
    experiment: Experiment = "latest",
    failed: Annotated[
        bool, typer.Option("--failed", help="Every run that failed, was killed or needed too much memory.")
    ] = False,
    runs: Annotated[
        list[str] | None, typer.Option("--run", help="One run, by its id or the beginning of it.", metavar="RUN")
    ] = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
    pipeline: Pipeline = REAL_PIPELINE,
) -> None:
    """Try runs again that did not end well, and nothing else. `ftlab resume` also continues what has not been tried.

    Exit codes as of `ftlab run`.
    """
    from ftlab.execute.experiments import find_plan

    results = results.expanduser().absolute()
    plan = find_plan(results, experiment)
    chosen = _chosen(plan, results, failed=failed, wanted=runs or [])
    if not chosen:
        say("no run of this experiment has failed; nothing to try again")
        raise typer.Exit(0)
    say(f"trying {plural(len(chosen), 'run')} again")
    session = plan.model_copy(update={"runs": tuple(chosen)})
    raise typer.Exit(execute_plan(session, results, as_json=as_json, pipeline=pipeline, whole=False))


def clone(
    run: Annotated[
        str, typer.Argument(help="The run, by its id or the beginning of it.", metavar="RUN", show_default=False)
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "-s", "--set", help="Change a field of its method, e.g. -s learning_rate=1e-4.", metavar="KEY=VALUE"
        ),
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Train from the run's weights instead of from the base.")
    ] = False,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
    pipeline: Pipeline = REAL_PIPELINE,
) -> None:
    """Add an arm to RUN's experiment: RUN's config with some fields changed. Then continue as `ftlab resume` does.

    Fields that are not named stay as RUN had them. The arm has every seed that the others have, is called a clone
    wherever it is shown, and counts as an arm tried. With --warm-start each of its runs begins from RUN's weights.

    Exit codes as of `ftlab run`.
    """
    from ftlab.execute.experiments import find_run
    from ftlab.execute.hold import hold_results
    from ftlab.execute.runner import whole_weights
    from ftlab.execute.stages import StageStore
    from ftlab.plan.clone import cloned, make_clone
    from ftlab.search.clones import Clones, with_clones

    results = results.expanduser().absolute()
    plan, config = find_run(results, run)
    with hold_results(results):
        plan = with_clones(plan, results)
        made = make_clone(plan, config, changes or (), warm=warm_start)
        for key in made.warm_start.keys if made.warm_start is not None else ():
            whole_weights(StageStore(results), key, config.run_id)
        Clones(results, plan.experiment_id).add(made)
    plan = cloned(plan, made)
    say(f"new arm: {plan.arms[-1].label}")
    raise typer.Exit(execute_plan(plan, results, as_json=as_json, pipeline=pipeline))


def _chosen(plan: Plan, results: Path, *, failed: bool, wanted: list[str]) -> list[RunConfig]:
    """The runs to try again, in the plan's order. Raises UsageError for a run that is not there, or done."""
    from ftlab.execute.stages import StageStore
    from ftlab.execute.standing import read_standing

    if failed == bool(wanted):
        raise UsageError("say which: --failed for every run that failed, or --run RUN, once or more")
    standing = {run.run_id: run for run in read_standing(results, plan).runs}
    if failed:
        return [config for config in plan.runs if standing[config.run_id].status in FAILED]
    for begin in wanted:
        found = [run for run_id, run in standing.items() if run_id.startswith(begin)]
        if len(found) != 1:
            what = f"{len(found)} runs begin" if found else "no run begins"
            raise UsageError(
                f"{what} with '{begin}' in {plan.experiment_id}; `ftlab ls {plan.experiment_id}` lists them"
            )
        config = next(config for config in plan.runs if config.run_id == found[0].run_id)
        if found[0].status is Status.PRUNED:
            raise UsageError(
                f"run {found[0].run_id} ({found[0].label}) was given up by its search; nothing to try again"
            )
        if found[0].status is Status.COMPLETE and not _train_again(config, StageStore(results)):
            raise UsageError(f"run {found[0].run_id} ({found[0].label}) is complete; nothing to try again")
    return [config for config in plan.runs if config.run_id.startswith(tuple(wanted))]


def _train_again(config: RunConfig, stages: StageStore) -> bool:
    """Whether the run's weights were removed by `ftlab gc`: what is left of them makes room for new ones."""
    key = config.key("weights")
    record = stages.complete("weights", key) if key is not None else None
    if key is None or record is None or not record.collected:
        return False
    stages.forget("weights", key)
    return True
