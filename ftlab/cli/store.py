"""`ftlab rebuild`: build the ledger anew from the journals."""

from __future__ import annotations

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, clean, print_json, say
from ftlab.text import plural


def rebuild(results: Results = DEFAULT_RESULTS, as_json: AsJson = False) -> None:
    """Build the ledger again from the plans, journals and stages in the results folder, and publish it.

    Nothing is computed again, and nothing but the ledger changes. Use it when the ledger was damaged, or was written
    by a newer version. The app and the other commands go on reading while it works.
    """
    from ftlab.decide.compare import update_comparisons
    from ftlab.store.rebuild import rebuild as build

    results = results.expanduser().absolute()
    done = build(results, update_comparisons)
    for problem in done.problems:
        say(f"not read: {problem}")
    if done.aside is not None:
        say(f"the old ledger could not be opened; it is kept as {done.aside}")
    if as_json:
        print_json(
            {
                "experiments": done.experiments,
                "runs": done.runs,
                "lines": done.lines,
                "bad_lines": done.bad_lines,
                "snapshot": done.snapshot,
                "problems": list(done.problems),
                "aside": None if done.aside is None else str(done.aside),
            }
        )
        return
    bad = f", {plural(done.bad_lines, 'bad line')} left out" if done.bad_lines else ""
    typer.echo(
        f"rebuilt {clean(results)}: {plural(done.experiments, 'experiment')}, {plural(done.runs, 'run')}, "
        f"{plural(done.lines, 'line')} read{bad}; snapshot {done.snapshot}"
    )
