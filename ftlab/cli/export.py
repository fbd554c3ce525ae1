"""`ftlab export`: tables for other tools, or an arm's weights with their evidence."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, print_json
from ftlab.cli.select import LATEST, Found, OpenResults, find_target, open_results
from ftlab.errors import UsageError

if TYPE_CHECKING:
    from ftlab.decide.view import ArmView, DecisionView
    from ftlab.plan.run import RunConfig

SCHEMA_VERSION = 1


class Form(StrEnum):
    """What to write."""

    CSV = "csv"
    PARQUET = "parquet"
    ADAPTER = "adapter"
    MERGED = "merged"


def export(
    to: Annotated[
        Path, typer.Option("--to", help="A new folder; one that exists is never overwritten.", metavar="DIR")
    ],
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="An experiment, arm or run: its id or the beginning of it, or `latest`.")
    ] = LATEST,
    form: Annotated[
        Form, typer.Option("--format", "-f", help="Tables as csv or parquet, or weights as adapter or merged.")
    ] = Form.CSV,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Export tables (runs, stages, metrics, comparisons, predictions), or weights in safetensors with a model card.

    In CSV, text cells that start with = + - @ or a tab get an apostrophe in front, so that no spreadsheet runs them.
    Of an experiment, the weights are those of the arm that its conclusion names; of an arm, those of its first seed.
    """
    from ftlab.report.export import export_adapter, export_merged, export_tables

    to = to.expanduser().absolute()
    results = results.expanduser().absolute()
    with open_results(results) as opened:
        found = find_target(opened, identifier)
        if form in (Form.CSV, Form.PARQUET):
            export_tables(opened.cursor, _runs(opened, found), to, form.value)
        else:
            view = opened.view(found.experiment_id)
            arm, config = _weights(opened, view, found)
            write = export_adapter if form is Form.ADAPTER else export_merged
            write(results, view, arm, config, to)
    files = sorted(path.name for path in to.iterdir())
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "path": str(to), "files": files})
    else:
        typer.echo("\n".join([str(to), *(f"  {name}" for name in files)]))


def _runs(opened: OpenResults, found: Found) -> list[str]:
    column = {"experiment": "experiment_id", "arm": "arm_id", "run": "run_id"}[found.kind]
    rows = opened.cursor.execute(
        f"SELECT run_id FROM runs WHERE {column} = ? AND (current OR run_id = ?) ORDER BY position",
        [found.id, found.id],
    ).fetchall()
    return [row[0] for row in rows]


def _weights(opened: OpenResults, view: DecisionView, found: Found) -> tuple[ArmView, RunConfig]:
    """The arm and the config of the run whose weights are meant."""
    from ftlab.plan.run import RunConfig

    wanted = view.conclusion.arm_id if found.kind == "experiment" else found.id
    if wanted is None:
        raise UsageError("the experiment has no conclusion yet, so name the arm or run whose weights you want")
    arm = next((arm for arm in view.arms if wanted in (arm.arm_id, *arm.run_ids)), None)
    if arm is None:
        raise UsageError(f"'{wanted}' is not in the experiment's present plan; run its spec again to have it there")
    row = opened.cursor.execute(
        "SELECT r.config_json FROM runs r LEFT JOIN run_stages s ON s.run_id = r.run_id AND s.kind = 'weights' "
        "WHERE r.run_id = $id OR r.arm_id = $id "
        "ORDER BY coalesce(s.state, '') = 'complete' DESC, r.position, r.seed LIMIT 1",
        {"id": wanted},
    ).fetchone()
    if row is None or row[0] is None:
        raise UsageError(f"{arm.label} has not run yet; run it first: ftlab resume {view.experiment_id}")
    return arm, RunConfig.model_validate_json(row[0])
