"""The experiments of a results folder, found by their files: what `resume` and `status` start from."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ftlab.catalog import suggest
from ftlab.errors import StoreVersionError, UsageError
from ftlab.plan.run import Plan, RunConfig

LATEST = "latest"
PLAN_FILE = "resolved.json"


def experiment_folders(results: Path) -> list[Path]:
    """The folders of all experiments, the one that was planned last first."""
    plans = sorted(results.glob(f"*/{PLAN_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [plan.parent for plan in plans]


def find_plan(results: Path, wanted: str = LATEST) -> Plan:
    """The plan of an experiment: by `latest`, its name, its id, or the beginning of its id.

    Raises UsageError when there is none, or more than one.
    """
    folders = experiment_folders(results)
    if not folders:
        raise UsageError(f"{results} holds no experiment yet; start one by `ftlab run SPEC`, or say where by --results")
    if wanted == LATEST:
        return read_plan(folders[0])
    plans = [read_plan(folder) for folder in folders if folder.name.startswith(wanted)]
    plans = plans or [plan for folder in folders if (plan := read_plan(folder)).name == wanted]
    if len(plans) == 1:
        return plans[0]
    ids = [folder.name for folder in folders]
    if not plans:
        raise UsageError(f"no experiment '{wanted}' in {results}{suggest(wanted, ids)} (there are: {', '.join(ids)})")
    exact = [plan for plan in plans if wanted in (plan.experiment_id, plan.name)]
    if len(exact) == 1:
        return exact[0]
    found = ", ".join(plan.experiment_id for plan in plans)
    raise UsageError(f"'{wanted}' fits more than one experiment: {found}; write a few letters more")


def find_run(results: Path, begin: str) -> tuple[Plan, RunConfig]:
    """A run that some experiment plans now, by its id or the beginning of it, with its plan. Raises UsageError."""
    plans = [read_plan(folder) for folder in experiment_folders(results)]
    found = [(plan, run) for plan in plans for run in plan.runs if run.run_id.startswith(begin)]
    if len(found) != 1:
        what = f"{len(found)} runs begin" if found else "no run begins"
        raise UsageError(f"{what} with '{begin}' in {results}; `ftlab ls EXPERIMENT` lists them")
    return found[0]


def read_plan(folder: Path) -> Plan:
    """The plan in an experiment's folder. Raises StoreVersionError when this ftlab cannot read it."""
    try:
        return Plan.model_validate_json((folder / PLAN_FILE).read_bytes())
    except ValidationError as error:
        raise StoreVersionError(
            f"{folder / PLAN_FILE} was written by another version of ftlab; run its spec again: "
            f"ftlab run {folder / 'spec.yaml'}"
        ) from error
