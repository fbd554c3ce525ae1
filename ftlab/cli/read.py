"""The verbs that read the newest snapshot: ls, show, compare, examples, report. `export` has a module of its own."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftlab.cli.common import DEFAULT_RESULTS, AsJson, Results, console, print_json, say
from ftlab.cli.export import export
from ftlab.cli.select import LATEST, OpenResults, find_any, find_arm, find_experiment, find_target, open_results
from ftlab.errors import UsageError

if TYPE_CHECKING:
    from ftlab.cli.condition import Condition
    from ftlab.decide.view import ArmView, DecisionView, PairedDifference

__all__ = ["compare", "examples", "export", "ls", "report", "show"]

SCHEMA_VERSION = 1
REPORT_FORMATS = (".html", ".md", ".json")


class Mode(StrEnum):
    """Which examples to show."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    DIFFERENT = "different"
    INVALID = "invalid"
    ALL = "all"


def ls(
    experiment: Annotated[
        str | None, typer.Argument(help="List the runs of this experiment: name, id, or `latest`.", show_default=False)
    ] = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """List the experiments, or with EXPERIMENT its runs."""
    from ftlab.cli import tables
    from ftlab.store import queries

    with open_results(results) as opened:
        if experiment is None:
            rows = queries.experiments(opened.cursor)
            if as_json:
                print_json({"schema_version": SCHEMA_VERSION, "experiments": [asdict(row) for row in rows]})
            else:
                console().print(tables.experiments(rows))
            return
        experiment_id = find_experiment(opened.cursor, experiment)
        runs = queries.runs(opened.cursor, experiment_id)
    if as_json:
        print_json(
            {"schema_version": SCHEMA_VERSION, "experiment_id": experiment_id, "runs": [asdict(run) for run in runs]}
        )
    else:
        console().print(tables.runs(runs))


Split = Annotated[
    str | None,
    typer.Option("--split", help="validation or test; test once it was opened, when left out.", show_default=False),
]


def show(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="An experiment, arm or run: its id or the beginning of it, or `latest`.")
    ] = LATEST,
    split: Split = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show an experiment's comparison, one arm with its figures, or one run with its stages, attempts and warnings."""
    from ftlab.cli import tables

    with open_results(results) as opened:
        found = find_target(opened, identifier)
        if found.kind == "experiment":
            _print_view(opened.view(found.id, split), as_json)
        elif found.kind == "arm":
            view = opened.view(found.experiment_id, split)
            arm = find_arm(view, found.id)
            if as_json:
                print_json(
                    {
                        "schema_version": SCHEMA_VERSION,
                        "experiment_id": view.experiment_id,
                        "arm": arm.model_dump(mode="json"),
                    }
                )
            else:
                tables.print_arm(console(), view, arm)
        else:
            _show_run(opened, found.id, as_json)


def compare(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT] [ARM...]",
            help="Nothing or an experiment: the whole table. Two or more arms: each against the last of them.",
            show_default=False,
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            help="Exit with 4 when this holds for the decision metric of a compared arm, e.g. delta<0.02 or low<0.",
            metavar="CONDITION",
        ),
    ] = None,
    split: Split = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Compare every method with the best prompt, or chosen arms with each other, on the same examples.

    An arm is named by its id or the beginning of it, its label, or its method (then the best arm of the method).
    Conditions are about delta (the difference), low, high (its interval), p, fixed, broke or n; a number that
    could not be measured fails, too. With conditions, exit code 4 says that one holds.
    """
    from ftlab.cli import tables
    from ftlab.cli.condition import parse_condition

    conditions = [parse_condition(text) for text in fail_if or ()]
    with open_results(results) as opened:
        experiment_id, arms = _experiment_and_arms(opened, words or [])
        view = opened.view(experiment_id, split)
        if not arms:
            if conditions:
                raise UsageError("--fail-if needs the arms to compare: ftlab compare ARM BASELINE --fail-if ...")
            _print_view(view, as_json)
            return
        if len(arms) == 1:
            raise UsageError("name two arms or more to compare; the last one is what the others are compared with")
        chosen = [find_arm(view, word) for word in arms]
        baseline = chosen[-1]
        pairs = [(arm, _paired(opened, view, arm, baseline)) for arm in chosen[:-1]]
    if as_json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "experiment_id": view.experiment_id,
                "split": view.split,
                "baseline": baseline.arm_id,
                "comparisons": [
                    {"arm_id": arm.arm_id, "metric": metric, **difference.model_dump(mode="json")}
                    for arm, differences in pairs
                    for metric, difference in differences.items()
                ],
            }
        )
    else:
        tables.print_pairs(console(), view, baseline, pairs)
    if failures := _failures(view, pairs, conditions):
        say("\n".join(failures))
        raise typer.Exit(4)


def examples(
    arm: Annotated[str, typer.Argument(help="The arm in question: its id, label or method.")],
    baseline: Annotated[
        str | None, typer.Argument(help="What to lay beside it; the best prompt when left out.", show_default=False)
    ] = None,
    experiment: Annotated[str, typer.Option("--experiment", "-e", help="The experiment of the arms.")] = LATEST,
    mode: Annotated[Mode, typer.Option("--mode", "-m", help="Which examples to show.")] = Mode.REGRESSED,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Show at most so many.")] = 10,
    split: Split = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show outputs of ARM beside those of BASELINE: where it got worse, better, different, or left the asked form."""
    from ftlab.cli import tables
    from ftlab.store import side_by_side

    with open_results(results) as opened:
        view = opened.view(find_experiment(opened.cursor, experiment), split)
        after, before = find_arm(view, arm), _baseline(view, baseline)
        sides = [before, after] if before.arm_id != after.arm_id else [after]
        question = _question(opened, view, sides, mode)
        total = side_by_side.count_examples(opened.cursor, question)[mode.value]
        found = side_by_side.find_examples(opened.cursor, question, number)
    if as_json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "experiment_id": view.experiment_id,
                "split": view.split,
                "mode": mode.value,
                "arms": [side.arm_id for side in sides],
                "total": total,
                "examples": [asdict(example) for example in found],
            }
        )
    else:
        # On validation a fold's models answer its rows alone.
        fold = question.columns[0].fold if view.split == "validation" else None
        tables.print_examples(console(), sides, found, mode.value, total, fold)


def report(
    experiment: Annotated[str, typer.Argument(help="Its name, id, or the beginning of it.")] = LATEST,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="FILE.html, FILE.md or FILE.json; a file that exists is replaced."),
    ] = None,
    split: Split = None,
    results: Results = DEFAULT_RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the comparison as one self-contained HTML file, as Markdown or as JSON."""
    from ftlab.files import check_user_file, write_user_file
    from ftlab.report.html import render_report
    from ftlab.report.markdown import render_markdown

    if output is not None and output.suffix.lower() not in REPORT_FORMATS:
        raise UsageError(f"expected a file that ends with {', '.join(REPORT_FORMATS)} after -o, found '{output}'")
    if output is not None:
        check_user_file(output)
    with open_results(results) as opened:
        view = opened.view(find_experiment(opened.cursor, experiment), split)
    path = output if output is not None else Path(f"{view.experiment_id}.html")
    text = {
        ".html": lambda: render_report(view),
        ".md": lambda: render_markdown(view),
        ".json": lambda: view.model_dump_json(indent=2) + "\n",
    }[path.suffix.lower()]()
    write_user_file(path, text.encode())
    if as_json:
        print_json(
            {"schema_version": SCHEMA_VERSION, "experiment_id": view.experiment_id, "path": str(path.absolute())}
        )
    else:
        typer.echo(str(path))


def _print_view(view: DecisionView, as_json: bool) -> None:
    from ftlab.report.terminal import print_view

    if as_json:
        print_json(view)
    else:
        print_view(view, console())


def _show_run(opened: OpenResults, run_id: str, as_json: bool) -> None:
    from ftlab.cli import tables
    from ftlab.store import queries
    from ftlab.store.classes import class_reports

    detail = queries.run_detail(opened.cursor, run_id)
    if detail is None:
        raise UsageError(f"no run '{run_id}' in these results; `ftlab ls EXPERIMENT` lists them")
    classes = class_reports(opened.cursor, run_id)
    if as_json:
        print_json(
            {"schema_version": SCHEMA_VERSION, **asdict(detail), "classes": [asdict(report) for report in classes]}
        )
    else:
        tables.print_run(console(), detail, classes)


def _experiment_and_arms(opened: OpenResults, words: list[str]) -> tuple[str, list[str]]:
    """The experiment that the first word names, or else the one that the first word is an arm of, or the newest."""
    if not words:
        return find_experiment(opened.cursor), []
    try:
        found = find_any(opened.cursor, words[0])
    except UsageError:
        if len(words) == 1:
            raise
        return find_experiment(opened.cursor), words
    return (found.id, words[1:]) if found.kind == "experiment" else (found.experiment_id, words)


def _failures(
    view: DecisionView, pairs: list[tuple[ArmView, dict[str, PairedDifference]]], conditions: list[Condition]
) -> list[str]:
    """A sentence for every condition that holds for the decision metric of a compared arm."""
    found = []
    for arm, differences in pairs:
        difference = differences.get(view.metric)
        for condition in conditions:
            if difference is None:
                found.append(f"gate not met: {arm.label} has no {view.metric} on {view.split} to judge by")
            elif condition.met_by(difference):
                value = condition.value(difference)
                shown = "not measured" if value is None else f"{value:.6g}"
                found.append(f"gate not met: {condition.text} holds for {arm.label} ({condition.field} is {shown})")
    return found


def _paired(opened: OpenResults, view: DecisionView, arm: ArmView, baseline: ArmView) -> dict[str, PairedDifference]:
    """Every metric's paired difference, computed now; metrics that one of the two lacks are left out."""
    from ftlab.decide.build import pair_of

    found: dict[str, Any] = {
        metric: pair_of(opened.cursor, view.experiment_id, arm.arm_id, baseline.arm_id, view.split, metric)
        for metric in view.metric_units
    }
    return {metric: difference for metric, difference in found.items() if difference is not None}


def _baseline(view: DecisionView, word: str | None) -> ArmView:
    if word is not None:
        return find_arm(view, word)
    best = next((arm for arm in view.arms if arm.is_baseline), None)
    if best is None:
        raise UsageError("no prompting arm has a result yet; name the arm to compare with")
    return best


def _question(opened: OpenResults, view: DecisionView, sides: list[ArmView], mode: Mode) -> Any:
    from ftlab.store import side_by_side

    columns = side_by_side.columns(opened.cursor, [side.arm_id for side in sides], view.split)
    for side in sides:
        if side.arm_id not in columns:
            raise UsageError(
                f"{side.label} has no outputs yet ({side.reason or side.status}); `ftlab status` says how far it is"
            )
    ordered = tuple(columns[side.arm_id] for side in sides)
    scores = ordered[0].scores
    return side_by_side.Question(
        dataset=side_by_side.dataset_key(opened.cursor, ordered[0].run_id) or "",
        split=view.split,
        columns=ordered,
        metric=side_by_side.scored_by(opened.cursor, scores, view.metric) if scores else None,
        mode=mode.value,
    )
