"""`ftlab gc`: remove what a results folder can do without, after showing it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, clean, console, print_json, results_option, say
from ftlab.text import size

if TYPE_CHECKING:
    from ftlab.execute.collect import Removal
    from ftlab.plan.run import Plan


def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Remove it; without this it is only shown.")] = False,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what can go, and with --apply remove it: the weights of arms that are not the best of their method,
    checkpoints of finished runs, and what killed processes left.

    Kept are the best arm of every trained method on validation, every arm that was opened on test, whatever an
    unfinished run needs, and all predictions, scores and benchmark items: no table changes. Weights that were removed
    are trained again when something new is asked of them, or by `ftlab retry --run RUN`.
    """
    from ftlab.execute.collect import find_removals, remove
    from ftlab.execute.experiments import experiment_folders, read_plan
    from ftlab.execute.hold import hold_results, refuse_if_held

    results = results.expanduser().absolute()
    plans = [read_plan(folder) for folder in experiment_folders(results)]
    refuse_if_held(results)
    if not apply:
        found = find_removals(results, plans, _kept(results, plans))
        _show(results, found, as_json=as_json, removed=None)
        return
    with hold_results(results):
        found = find_removals(results, plans, _kept(results, plans))
        freed = remove(results, found)
    _show(results, found, as_json=as_json, removed=freed)


def _kept(results: Path, plans: list[Plan]) -> set[str]:
    """The keys of the weights that stay: of the finalists of each experiment, and of what was opened on test.

    Of an experiment that cannot be judged yet all stay.
    """
    from ftlab.decide.facts import read_facts
    from ftlab.decide.finalists import choose_finalists
    from ftlab.errors import UsageError
    from ftlab.execute.openings import read_openings
    from ftlab.store.snapshot import current_number, open_snapshot

    opened = {arm.arm_id for opening in read_openings(results) for arm in opening.arms}
    kept: set[str] = set()
    published = current_number(results) is not None
    for plan in plans:
        chosen = {run.arm_id for run in plan.runs}
        if published:
            with open_snapshot(results) as snapshot:
                try:
                    finalists = choose_finalists(read_facts(snapshot.cursor(), plan.experiment_id), partial=True)
                    chosen = {one.arm.arm_id for one in finalists}
                except (UsageError, LookupError) as reason:
                    say(f"{plan.experiment_id}: all weights stay ({reason})")
        kept |= {key for run in plan.runs if run.arm_id in chosen | opened and (key := run.key("weights"))}
    return kept


def _show(results: Path, found: list[Removal], *, as_json: bool, removed: int | None) -> None:
    total = sum(removal.bytes for removal in found)
    if as_json:
        print_json(
            {
                "removed": removed is not None,
                "bytes": total if removed is None else removed,
                "removals": [
                    {"what": one.what, "path": str(one.path), "bytes": one.bytes, "label": one.label} for one in found
                ],
            }
        )
        return
    from rich.table import Table

    if not found:
        typer.echo("nothing can go")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("what", "of"):
        table.add_column(head)
    table.add_column("size", justify="right")
    table.add_column("where", overflow="fold")
    for one in found:
        table.add_row(one.what, clean(one.label), size(one.bytes), clean(one.path.relative_to(results)))
    console().print(table)
    counts = Counter(one.what for one in found)
    parts = ", ".join(f"{count} x {what}" for what, count in counts.items())
    if removed is None:
        typer.echo(f"\n{size(total)} can go ({parts}); remove it by: ftlab gc --apply{results_option(results)}")
    else:
        typer.echo(f"\nremoved {size(removed)} ({parts})")
