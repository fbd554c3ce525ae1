"""What the reading verbs print, as rich renderables. Text from outside is cleaned and never read as markup."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ftlab.decide.view import ArmView, DecisionView, PairedDifference
from ftlab.report import format as fmt
from ftlab.report.terminal import drift_words
from ftlab.store.classes import ClassReport
from ftlab.store.queries import ExperimentRow, RunDetail, RunRow
from ftlab.store.side_by_side import Example
from ftlab.text import estimate

if TYPE_CHECKING:
    from rich.console import Console

_STATUS_STYLES = {"complete": "green", "failed": "red", "oom": "red", "killed": "red", "running": "cyan"}


def experiments(rows: Sequence[ExperimentRow]) -> Table:
    """One line for each experiment."""
    table = _table("id", "name", "runs", "updated")
    for row in rows:
        others = [f"{count} {fmt.status(word)}" for word, count in row.by_status.items() if word != "complete"]
        done = f"{row.by_status.get('complete', 0)} of {row.runs} complete"
        table.add_row(
            _text(row.experiment_id),
            _text(fmt.one_line(row.name, 48)),
            _text(", ".join([done, *others])),
            _text(fmt.date(row.updated_ts)),
        )
    return table


def runs(rows: Sequence[RunRow]) -> Table:
    """One line for each run, with its metrics and why it has none."""
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))[:3]
    folded = any(row.fold is not None for row in rows)
    heads = ("run", "arm", "seed", *(["fold"] if folded else []), "status")
    table = _table(*heads, *(name.partition("/")[2] for name in names), "training", "reason")
    for row in rows:
        table.add_row(
            _text(row.run_id),
            _text(fmt.one_line(row.label or fmt.MISSING, 60)),
            _text(fmt.count(row.seed)),
            *([_text(fmt.count(row.fold))] if folded else []),
            Text(fmt.status(row.status), style=_STATUS_STYLES.get(row.status, "")),
            *(_text(fmt.number(row.metrics.get(name))) for name in names),
            _text(fmt.duration(row.cost.get("train_seconds"))),
            _text(fmt.one_line(row.reason or "", 80)),
        )
    return table


def print_arm(console: Console, view: DecisionView, arm: ArmView) -> None:
    """One arm: metrics, difference, benchmarks, cost, config."""
    console.print(Text(fmt.label(arm), style="bold"), _text(f"{arm.arm_id}, {fmt.state(arm) or arm.status}"))
    unit = view.metric_unit
    rows = [(fmt.metric_name(name), fmt.estimate(arm.metrics.get(name), u)) for name, u in view.metric_units.items()]
    against = "it is the best prompt" if arm.is_baseline else fmt.difference(arm.difference, unit)
    rows += [("against the best prompt", against), ("fixed / broke", fmt.flips(arm.difference))]
    for change in arm.benchmarks:
        words = f"{fmt.change(change)}, {fmt.lost_gained(change)}, {fmt.gate(change.within_limit)}"
        name = f"{fmt.task_name(change.task)} ({fmt.group(change.group)})"
        rows.append((name, f"{fmt.before_after(change)}: {words}"))
    rows += [
        (fmt.task_name(moved.task), f"{fmt.before_after(moved)}: {drift_words(moved)}, {fmt.drift_counts(moved)}")
        for moved in arm.drift
    ]
    rows += [(f"limit of {gate.name}", f"{fmt.gate(gate.state)}: {gate.words}") for gate in arm.gates]
    cost = arm.cost
    rows += [
        ("training", fmt.duration(cost.train_seconds)),
        ("training tokens", fmt.count(cost.train_tokens)),
        ("peak memory in training", fmt.size(cost.peak_memory_bytes)),
        ("peak memory in serving", fmt.size(cost.serving_memory_bytes)),
        ("trainable parameters", fmt.count(cost.trainable_parameters)),
        ("to store", fmt.size(cost.artifact_bytes)),
        ("1,000 requests", fmt.duration(cost.seconds_per_1k_requests)),
        ("one request alone", fmt.latency(arm)),
        ("serving speed", fmt.rate(cost.prediction_tokens_per_second)),
        ("runs", ", ".join(arm.run_ids)),
        ("model", arm.model),
    ]
    console.print(_facts(rows))
    _print_config(console, arm.config)


def print_run(console: Console, detail: RunDetail, classes: Sequence[ClassReport]) -> None:
    """One run: where it stands, figures by label, stages, attempts, warnings, config."""
    run = detail.run
    console.print(Text(fmt.one_line(run.label or run.run_id), style="bold"), _text(f"{run.replicate}, {run.run_id}"))
    rows = [("status", fmt.status(run.status)), ("reason", fmt.one_line(run.reason or "", 400))]
    rows += [(name, fmt.number(value)) for name, value in run.metrics.items()]
    console.print(_facts([row for row in rows if row[1]]))
    for report in classes:
        console.print(_classes(report))
    stages = _table("stage", "name", "state", "seconds", "size", "key")
    for stage in detail.stages:
        state = f"{stage.state}, reused" if stage.cached else stage.state
        stages.add_row(
            _text(stage.kind),
            _text(fmt.task_name(stage.name)),
            _text(state),
            _text(fmt.duration(stage.seconds)),
            _text(fmt.size(stage.bytes)),
            _text(stage.key[:12]),
        )
    console.print(stages)
    for attempt in detail.attempts:
        reason = f": {fmt.one_line(attempt.reason, 300)}" if attempt.reason else ""
        console.print(
            _text(f"attempt {attempt.attempt}, {fmt.date(attempt.started_ts)}, {fmt.status(attempt.status)}{reason}")
        )
    for warning in detail.warnings:
        at = "" if warning.step is None else f"at step {fmt.count(warning.step)}: "
        console.print(_text(f"warning  {at}{fmt.one_line(warning.message, 400)}"))
    _print_config(console, detail.config.get("method") or {})


def _classes(report: ClassReport) -> Table:
    """One line for each label of one split."""
    table = _table(f"label, {report.split}", "cases", "recall", "precision", "most often taken for")
    for index, row in enumerate(report.rows):
        mistake = report.mistake(index)
        taken = fmt.MISSING
        if mistake is not None:
            label, n = mistake
            taken = f"{'no label' if label is None else fmt.one_line(label, 40)} ({fmt.count(n)})"
        table.add_row(
            _text(fmt.one_line(row.label, 48)),
            _text(fmt.count(row.support)),
            *(_text(estimate(share.value, share.low, share.high)) for share in (row.recall, row.precision)),
            _text(taken),
        )
    return table


def print_pairs(
    console: Console,
    view: DecisionView,
    baseline: ArmView,
    pairs: Sequence[tuple[ArmView, Mapping[str, PairedDifference]]],
) -> None:
    """Chosen arms against one of them."""
    console.print(Text(f"Against {fmt.label(baseline)}, on the same {view.split} examples", style="bold"))
    table = _table("arm", "metric", "difference", "fixed / broke", "p", "examples", "dropped")
    for arm, differences in pairs:
        for metric, found in differences.items():
            table.add_row(
                _text(fmt.label(arm)),
                _text(fmt.metric_name(metric)),
                _text(fmt.difference(found, view.metric_units[metric])),
                _text(fmt.flips(found)),
                _text(fmt.p_value(found.p_value)),
                _text(fmt.count(found.estimate.n)),
                _text(fmt.count(found.dropped)),
            )
        if not differences:
            table.add_row(_text(fmt.label(arm)), *[_text(fmt.MISSING)] * 6)
    console.print(table)
    console.print(Text("Ordinary intervals: of two arms picked after looking at many they say too much.", style="dim"))


def print_examples(
    console: Console, sides: Sequence[ArmView], found: Sequence[Example], mode: str, total: int, fold: int | None = None
) -> None:
    """Examples with the outputs of one or two arms under each other; `fold` where they are those of one alone."""
    names = " beside ".join(fmt.label(side) for side in reversed(sides))
    shown = f"{len(found)} of {fmt.plural(total, 'example')}" if total else "no example"
    held_out = "" if fold is None else f" of fold {fold}"
    console.print(Text(f"{mode}: {shown}{held_out}, {names}", style="bold"))
    for example in found:
        console.print()
        console.print(Text(f"{example.example_id}", style="dim"), _text(fmt.shorten(example.text, 800)))
        console.print(_text(f"  right answer: {fmt.one_line(example.target, 200)}"))
        for side, cell in zip(sides, example.cells, strict=True):
            output = fmt.MISSING if cell is None else fmt.shorten(cell.output, 400) or "(empty)"
            mark = "" if cell is None or cell.parsed is not None else " (not a label)"
            console.print(_text(f"  {fmt.label(side, 40)}: {output}{mark}"))


def _print_config(console: Console, config: Mapping[str, Any]) -> None:
    if config:
        console.print(Text("config", style="bold"))
        # JSON in ASCII: a hostile value cannot steer the terminal.
        console.print(_text(json.dumps(config, indent=2)))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(fmt.one_line(column, 40)), overflow="fold")
    return table


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(_text(name), _text(value))
    return table


def _text(words: str) -> Text:
    return Text(fmt.plain(words))
