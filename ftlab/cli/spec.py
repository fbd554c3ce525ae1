"""`ftlab init`, `validate`, `plan`, `schema`: everything about a spec before anything runs. No torch here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Overrides, Results, SpecPath, clean, console, print_json
from ftlab.errors import SpecError, UsageError
from ftlab.files import make_folder, storage_errors, write_atomic, write_user_file
from ftlab.spec.measures import MEASURES, SIZES, Measure
from ftlab.text import MISSING, amount, count, duration, number, plural, size

if TYPE_CHECKING:
    from ftlab.data.records import Finding
    from ftlab.plan.estimate import Estimate, PastStage, RaceEstimate
    from ftlab.plan.power import Sight
    from ftlab.plan.run import Plan, StageKey
    from ftlab.spec.load import LoadedSpec

JSON_VERSION = 1
"""Raised when the shape of what `--json` prints changes."""
SPEC_NAME = "experiment.yaml"
IGNORED = "# Written by ftlab: results are large and can be computed again.\nresults/\n"


def init(
    directory: Annotated[
        Path, typer.Argument(help="Where to write; made if it is not there.", metavar="[DIR]")
    ] = Path(),
) -> None:
    """Write a first experiment into DIR: a spec that runs on the CPU in minutes, its schema, and a .gitignore.

    Files that are there already are never overwritten: the command then writes nothing.
    """
    from ftlab.spec.json_schema import FILE_NAME, schema_text

    files = {SPEC_NAME: starter_text(), FILE_NAME: schema_text(), ".gitignore": IGNORED}
    with storage_errors(directory):
        taken = [name for name in (SPEC_NAME, FILE_NAME) if (directory / name).exists()]
    if taken:
        raise UsageError(f"{directory / taken[0]} is there already; choose another folder or move it away first")
    if (directory / ".gitignore").exists():
        del files[".gitignore"]
    make_folder(directory)
    for name, text in files.items():
        write_atomic(directory / name, text.encode())
    spec = clean(directory / SPEC_NAME)
    typer.echo(f"wrote {spec}\n\nnext:\n  ftlab plan {spec}\n  ftlab run {spec}")


def starter_text() -> str:
    """The spec that `init` writes."""
    return resources.files("ftlab.spec").joinpath("starter.yaml").read_text(encoding="utf-8")


def validate(spec: SpecPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check SPEC, its templates and the rows of small local files, and show everything that is wrong, each with its
    place. Fetches nothing. Exit code 2 when something is wrong.
    """
    from ftlab.plan.expand import count_proposals, count_runs

    try:
        loaded = _looked_at(spec, overrides)
    except SpecError as error:
        if not as_json:
            raise
        print_json(
            {"version": JSON_VERSION, "valid": False, "problems": [asdict(problem) for problem in error.problems]}
        )
        raise typer.Exit(error.exit_code) from None
    arms = len(loaded.arms) * len(loaded.models)
    runs = count_runs(loaded)
    if as_json:
        print_json({"version": JSON_VERSION, "valid": True, "problems": [], "arms": arms, "runs": runs})
        return
    methods = plural(len(loaded.spec.methods), "method")
    typer.echo(clean(f"{spec} is valid: {methods}, {plural(arms, 'arm')}, {plural(runs, 'run')}"))
    for search in loaded.searches:
        most = plural(count_proposals(loaded, search), "arm")
        typer.echo(clean(f"{search.place}  '{search.name}' is searched by {search.search.sampler}: up to {most}"))


def _looked_at(spec: Path, overrides: list[str] | None) -> LoadedSpec:
    """The spec, checked, its templates and small files of data too. Raises SpecError with all that is wrong."""
    from ftlab.data.look import look_at
    from ftlab.spec.load import load_spec
    from ftlab.spec.placed import problem_of

    loaded = load_spec(spec, overrides or ())
    if faults := look_at(loaded):
        raise SpecError([problem_of(loaded, fault) for fault in faults])
    return loaded


def plan(
    spec: SpecPath, overrides: Overrides = None, results: Results = DEFAULT_RESULTS, as_json: AsJson = False
) -> None:
    """Show what SPEC will run, what of it is done, what the rest will take, and what the data and the spec should make
    you think twice about. Runs nothing; the data is fetched when it is not there yet.
    """
    from ftlab.plan.estimate import estimate_plan, estimate_race
    from ftlab.plan.expand import build_plan
    from ftlab.plan.preflight import preflight
    from ftlab.plan.propose import with_samples
    from ftlab.search.clones import with_clones
    from ftlab.spec.load import load_spec

    loaded = load_spec(spec, overrides or ())
    # A search is reckoned with by one point of its space: what it will propose nobody knows yet.
    expanded = with_samples(with_clones(build_plan(loaded), results.expanduser()))
    findings, lengths, seen = preflight(expanded, loaded)
    is_done, past = _stages_on_disk(results)
    estimate = estimate_plan(expanded, is_done, lengths, past)
    race = estimate_race(expanded, is_done, lengths, past)
    if as_json:
        detectable = [asdict(sight) for sight in seen]
        raced = {"race": asdict(race)} if race is not None else {}
        print_json({**_as_data(expanded, estimate, findings), **raced, "detectable": detectable})
    else:
        _show(expanded, estimate, race, findings, seen)


def schema(
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write to this file.", metavar="FILE")] = None,
) -> None:
    """Print the JSON Schema of a spec: by the head line that `ftlab init` writes, editors complete and check."""
    from ftlab.spec.json_schema import schema_text

    if out is None:
        sys.stdout.write(schema_text())
        return
    write_user_file(out, schema_text().encode())
    typer.echo(f"wrote {clean(out)}", err=True)


def _stages_on_disk(results: Path) -> tuple[Callable[[StageKey], bool], list[PastStage]]:
    """Whether a stage is done, and every stage that ever was: what it took tells how fast this machine is."""
    from ftlab.execute.stages import StageStore, is_identifier
    from ftlab.plan.estimate import PastStage

    store = StageStore(results.expanduser())

    def is_done(stage: StageKey) -> bool:
        return store.complete(stage.kind, stage.key) is not None

    def names(folder: Path) -> Iterator[str]:
        if folder.is_dir():
            yield from (item.name for item in folder.iterdir() if item.is_dir() and is_identifier(item.name))

    past = [
        PastStage(kind, record.seconds, record.bytes, record.summary)
        for kind in ("weights", "predictions", "benchmark")
        for key in names(store.root / kind)
        if (record := store.complete(kind, key))
    ]
    return is_done, past


def _as_data(expanded: Plan, estimate: Estimate, findings: list[Finding]) -> dict[str, Any]:
    from ftlab.evaluate.benchmarks import benchmark_facts

    return {
        "version": JSON_VERSION,
        "experiment_id": expanded.experiment_id,
        "name": expanded.name,
        "spec_hash": expanded.spec_hash,
        "estimate": asdict(estimate),
        "warnings": [asdict(finding) for finding in findings],
        "benchmarks": [{"task": task, **benchmark_facts(task)} for task in expanded.benchmarks.tasks],
        "arms": [
            {"arm_id": arm.arm_id, "label": arm.label, "family": arm.family, "place": arm.place, "varied": arm.varied}
            for arm in expanded.arms
        ],
        "runs": [
            {
                "run_id": run.run_id,
                "arm_id": run.arm_id,
                "seed": run.seed,
                "stages": [stage.model_dump(mode="json") for stage in run.stages],
            }
            for run in expanded.runs
        ],
    }


def _show(
    expanded: Plan, estimate: Estimate, race: RaceEstimate | None, findings: list[Finding], seen: list[Sight]
) -> None:
    from rich.table import Table
    from rich.text import Text

    from ftlab.plan.power import ASSUMED

    out = console()
    out.print(
        Text(clean(f"{expanded.name}: {expanded.question}" if expanded.question else expanded.name), style="bold")
    )
    out.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("method")
    table.add_column("type")
    for head in ("arms", "runs", "done", "stages", "done", "time left", "disk"):
        table.add_column(head, justify="right", no_wrap=True)
    for method in estimate.methods:
        table.add_row(
            clean(method.method),
            clean(method.type),
            *(
                count(number)
                for number in (method.arms, method.runs, method.runs_done, method.stages, method.stages_done)
            ),
            f"≈ {duration(method.seconds)}" if method.seconds else duration(method.seconds),
            size(method.disk_bytes),
        )
    out.print(table)
    out.print()
    for line in [*_totals(estimate), *_benchmarks(expanded.benchmarks.tasks)]:
        out.print(line, soft_wrap=True)
    for line in [*_searches(expanded, estimate), *_race(expanded, race)]:
        out.print(line, soft_wrap=True)
    for index, sight in enumerate(seen):
        out.print(f"{'' if index else 'detects':<11}{sight.words}{'' if index else f', {ASSUMED}'}", soft_wrap=True)
    if findings:
        out.print(Text(f"\n{plural(len(findings), 'warning')}:", style="bold"))
        for finding in findings:
            out.print(f"  - {clean(finding.message)}", soft_wrap=True)


def _searches(expanded: Plan, estimate: Estimate) -> Iterator[str]:
    """What each search may try; the rows above reckon with one arm of it."""
    seconds = {method.method: method.seconds for method in estimate.methods}
    for search in expanded.searches:
        told, name = search.search, search.arm.method_name
        fields = ", ".join(dimension.field for dimension in search.dimensions)
        arms = told.arms or 1
        one = seconds.get(name)
        time = f", about {duration(one * arms)} if each takes as long as the one above" if one else ""
        yield clean(f"search     {name}: {told.sampler} over {fields}, up to {plural(arms, 'arm')}{time}")


def _race(expanded: Plan, race: RaceEstimate | None) -> Iterator[str]:
    """What further seeds may add to the rows above, whoever leads."""
    if race is None or expanded.race is None:
        return
    first, seeds = expanded.race.first, expanded.race.seeds
    time = f", about {duration(race.seconds)} if the arms that take longest lead" if race.seconds else ""
    yield (
        f"race       {plural(first, 'seed')} for every arm, {len(seeds)} for the leading {expanded.race.top} of each "
        f"method: up to {plural(race.runs, 'further run')}{time}"
    )


def _benchmarks(tasks: Sequence[str]) -> Iterator[str]:
    """What each builtin benchmark measures, and how many broken rows its file has, where there is something to say."""
    from ftlab.evaluate.benchmarks import benchmark_facts

    for task in tasks:
        facts = benchmark_facts(task)
        if task in MEASURES:
            yield f"{clean(task)}: {_measured(MEASURES[task], SIZES[task])}"
        if facts["chance"] is None:
            continue
        dropped = facts["rows_dropped"]
        words = f"; {plural(dropped, 'broken or repeated row')} left out" if dropped else ""
        yield f"{clean(task)}: {facts['group']}, {number(facts['chance'])} without any skill{words}"


def _measured(measures: Sequence[Measure], size: int) -> str:
    """What ftlab asks itself, and which losses close the gate unless the spec names a limit."""
    gated = (
        f"{each.group.replace('_', ' ')} (limit {amount(each.tolerance, each.unit)})" for each in measures if each.gated
    )
    drift = [each.suffix for each in measures if not each.gated]
    return f"{plural(size, 'item')}, {', '.join(gated)}; not gated unless named: {', '.join(drift)}"


def _totals(estimate: Estimate) -> list[str]:
    done = f"{count(estimate.runs_done)} of {plural(estimate.runs, 'run')} done"
    stages = f"{count(estimate.stages_done)} of {plural(estimate.stages, 'stage')} on disk"
    if estimate.runs_done == estimate.runs:
        return [f"{done}, {stages}: nothing is left to do"]
    left = duration(estimate.seconds)
    lines = [
        f"{done}, {stages}",
        f"time left  {left if left == MISSING else f'about {left}'}, one worker or several: they share the CPU",
        f"memory     {_about(size(estimate.memory_bytes))} per worker at its peak",
        f"disk       {_about(size(estimate.disk_bytes))} more",
    ]
    return [*lines, *(f"basis      {clean(sentence)}" for sentence in estimate.basis)]


def _about(text: str) -> str:
    return text if text == MISSING else f"about {text}"
