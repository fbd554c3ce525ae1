"""`ftlab status`: where an experiment stands, from its files and the newest snapshot. Changes nothing."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, console, is_interactive, print_json, results_option
from ftlab.cli.progress import running_line, summary_line
from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.text import duration, estimate, money, number, one_line, plural

if TYPE_CHECKING:
    from ftlab.decide.view import ArmView, DecisionView
    from ftlab.execute.standing import RunStanding, Standing
    from ftlab.plan.run import Plan
    from ftlab.search.front import Front

SCHEMA_VERSION = 1
WATCH_SECONDS = 1.0
MOST_RUNS = 10
"""Runs that failed or were given up are listed up to this many each."""
DONE = (Status.COMPLETE, Status.PRUNED)

Experiment = Annotated[
    str, typer.Argument(help="The experiment's name, its id or the beginning of it, or `latest`.", metavar="EXPERIMENT")
]


def status(
    experiment: Experiment = "latest",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until the sweep ends, or Ctrl-C.")] = False,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what is done, what runs now, what failed and why, what it took, the best arm so far, and who works on it."""
    from ftlab.execute.experiments import find_plan

    results = results.expanduser().absolute()
    if watch and as_json:
        raise UsageError("--watch is for people and --json for programs; choose one")
    if watch:
        _watch(results, experiment)
        return
    standing, view = _look(results, find_plan(results, experiment))
    if as_json:
        print_json({**_facts(standing, view), "fronts": front_facts(fronts(results, standing.plan))})
    else:
        typer.echo("\n".join(_lines(results, standing, view)))


def _look(results: Path, plan: Plan) -> tuple[Standing, DecisionView | None]:
    from ftlab.execute.standing import read_standing

    standing = read_standing(results, plan)
    return standing, newest_view(results, plan.experiment_id)


def _watch(results: Path, experiment: str) -> None:
    """Redraw on a terminal; in a pipe, a block of lines whenever they change. The last state stays to be read."""
    from ftlab.execute.experiments import find_plan

    show = _Redrawn() if is_interactive(sys.stdout) else _Printed()
    try:
        while True:
            standing, view = _look(results, find_plan(results, experiment))
            show("\n".join(_lines(results, standing, view)))
            if standing.holder is None:
                return
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return
    finally:
        show.close()


class _Printed:
    """Blocks of lines, each when it differs from the last."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, text: str) -> None:
        if text != self._last:
            typer.echo(f"\n{text}" if self._last else text)
            sys.stdout.flush()
            self._last = text

    def close(self) -> None:
        """Nothing to tidy."""


class _Redrawn:
    """One block that is drawn again in its place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False, vertical_overflow="visible")
        self._live.start()

    def __call__(self, text: str) -> None:
        from rich.text import Text

        self._live.update(Text(text), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was, the last block on it."""
        self._live.stop()


def newest_view(results: Path, experiment_id: str) -> DecisionView | None:
    """The view from the newest snapshot, or None while no snapshot knows the experiment."""
    from ftlab.decide.build import build_view
    from ftlab.store.present import correct, ended_runs
    from ftlab.store.ratings import ingested, lay_ratings, newer_ratings
    from ftlab.store.snapshot import current_number, open_snapshot

    if current_number(results) is None:
        return None
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        known = cursor.execute("SELECT 1 FROM experiments WHERE experiment_id = ?", [experiment_id]).fetchone()
        corrected = correct(cursor, ended_runs(cursor, results))
        lay_ratings(corrected, results, newer_ratings(results, ingested(cursor)))
        return build_view(corrected, experiment_id, snapshot.number) if known else None


def _best(view: DecisionView | None) -> ArmView | None:
    arms = [arm for arm in view.arms if view.metric in arm.metrics] if view is not None else []
    if view is None or not arms:
        return None
    sign = 1 if view.metric_direction == "higher" else -1
    return max(arms, key=lambda arm: sign * arm.metrics[view.metric].value)


def best_line(view: DecisionView | None) -> str | None:
    """The arm with the best value so far and its interval; None while no arm has a value."""
    best = _best(view)
    if view is None or best is None:
        return None
    found = best.metrics[view.metric]
    value = estimate(found.value, found.low, found.high, view.metric_unit)
    measured = sum(view.metric in arm.metrics for arm in view.arms)
    picked = f", the best value of {measured} arms" if measured > 1 else ""
    return f"best so far: {one_line(best.label, 60)} with {view.metric} {value} on {view.split}{picked}"


def _facts(standing: Standing, view: DecisionView | None) -> dict[str, Any]:
    best = _best(view)
    return {
        "schema_version": SCHEMA_VERSION,
        "experiment_id": standing.plan.experiment_id,
        "name": standing.plan.name,
        "held_by": {"pid": standing.holder.pid, "host": standing.holder.host} if standing.holder else None,
        "total": len(standing.runs),
        "by_status": _counts(standing),
        "seconds_left": standing.state.seconds_left if standing.holder else None,
        "spent_seconds": standing.spent_seconds,
        "running": [
            {"run_id": run.run_id, "label": run.label, "stage": run.stage, "done": run.done, "total": run.total}
            for run in standing.state.running
        ],
        "failed": [_run_facts(run) for run in standing.failures],
        "pruned": [_run_facts(run) for run in standing.pruned],
        "last_error": _run_facts(standing.last_failure) if standing.last_failure else None,
        "best": _best_facts(view, best) if view is not None and best is not None else None,
        "conclusion": view.conclusion.sentence if view is not None else None,
        "snapshot": view.snapshot if view is not None else None,
    }


def _best_facts(view: DecisionView, best: ArmView) -> dict[str, Any]:
    found = best.metrics[view.metric]
    measured = {"metric": view.metric, "split": view.split, "value": found.value, "low": found.low, "high": found.high}
    return {"arm_id": best.arm_id, "label": best.label, **measured}


def _run_facts(run: RunStanding) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "label": run.label,
        "status": run.status,
        "reason": run.reason,
        "attempt": run.attempt,
        "log": str(run.log) if run.log is not None else None,
    }


def _counts(standing: Standing) -> dict[str, int]:
    found = Counter(run.status for run in standing.runs)
    return {str(status): found[status] for status in Status if found[status]}


def _failure(run: RunStanding) -> str:
    return f"{one_line(run.label, 60)}: {run.status} ({one_line(run.reason or 'no reason given', 200)})"


def spent_line(standing: Standing) -> str:
    """What the finished work took, in machine time, and in money where the spec has a price for it."""
    prices = standing.plan.prices
    words = f"spent so far: {duration(standing.spent_seconds)} of computing"
    if prices.machine_hour is None:
        return words
    return f"{words}, {money(standing.spent_seconds / 3600 * prices.machine_hour, prices.currency)}"


def fronts(results: Path, plan: Plan) -> list[Front]:
    """The best arms of the searches with several objectives or constraints; without such a search nothing is read."""
    if not any(len(one.search.objectives) > 1 or one.search.constraints for one in plan.searches):
        return []
    from ftlab.search.session import SearchSession

    return SearchSession(plan, results).fronts()


def front_lines(found: Sequence[Front]) -> list[str]:
    """The arms that none beats, with what they have in each objective."""
    lines = []
    for front in found:
        within = f" within {', '.join(front.constraints)}" if front.constraints else ""
        broken = f", {plural(front.broken, 'other arm')} beyond the limits" if front.broken else ""
        head = f"best of {one_line(front.method, 60)} by {' and '.join(front.objectives)}{within}"
        if not front.arms:
            lines.append(f"{head}: no arm yet{broken}")
            continue
        several = len(front.objectives) > 1
        meaning = "none is beaten in all of them (the Pareto front)" if several else "the best that keeps to it"
        lines.append(f"{head}: {plural(len(front.arms), 'arm')}, {meaning}{broken}")
        for arm in front.arms:
            values = zip(front.objectives, arm.values, strict=True)
            shown = ", ".join(f"{name} {number(value, '')}" for name, value in values)
            lines.append(f"  {one_line(arm.label, 60)}: {shown}")
    return lines


def front_facts(found: Sequence[Front]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "method": front.method,
            "constraints": list(front.constraints),
            "broken": front.broken,
            "arms": [
                {"label": arm.label, **dict(zip(front.objectives, arm.values, strict=True))} for arm in front.arms
            ],
        }
        for front in found
    ]


def _lines(results: Path, standing: Standing, view: DecisionView | None) -> list[str]:
    from ftlab.plan.opening import TEST

    lines = [f"{one_line(standing.plan.name)}  {standing.plan.experiment_id}"]
    if standing.holder is not None:
        lines.append(f"`ftlab run` works on it: process {standing.holder.pid} on {standing.holder.host}")
        lines.append(summary_line(standing.state))
    else:
        counts = ", ".join(f"{count} {status}" for status, count in _counts(standing).items())
        lines.append(f"nobody works on it; {plural(len(standing.runs), 'run')}: {counts}")
    lines.append(spent_line(standing))
    lines += [f"  {running_line(run)}" for run in standing.state.running]
    for ended in (standing.pruned, standing.failures):
        lines += [f"  {_failure(run)}" for run in ended[:MOST_RUNS]]
        if len(ended) > MOST_RUNS:
            lines.append(f"  and {len(ended) - MOST_RUNS} more; `ftlab ls {standing.plan.experiment_id}` lists them")
    if (last := standing.last_failure) is not None and last.log is not None:
        lines.append(f"last error: {_failure(last)}, see {last.log}")
    if view is not None and (best := best_line(view)) is not None:
        lines += [best, one_line(view.conclusion.sentence, 500)]
    lines += front_lines(fronts(results, standing.plan))
    # Test rows that were opened are answered by the verb that opened them.
    answering = view is not None and bool(view.openings) and view.split != TEST
    if standing.holder is None and (answering or any(run.status not in DONE for run in standing.runs)):
        verb = "decide" if answering else "resume"
        lines.append(f"continue with: ftlab {verb} {standing.plan.experiment_id}{results_option(results)}")
    return lines
