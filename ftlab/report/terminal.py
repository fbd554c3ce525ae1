"""The decision view on a terminal, in 80 to 120 columns, and just as well in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ftlab.decide.view import ArmView, DecisionView, Gate
from ftlab.report import format as fmt
from ftlab.report.judge import judge_facts

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"use": "green", "keep_prompting": "green", "undecided": "yellow", "blocked": "red", "incomplete": "yellow"}
MARKS: dict[Gate, str] = {"yes": "✓", "no": "✗", "not shown": "?"}
_GATE_STYLES: dict[Gate, str] = {"yes": "green", "no": "red", "not shown": "yellow"}
_WIDE = 112
"""Columns from which every column of the table fits."""


def print_view(view: DecisionView, console: Console) -> None:
    """Print the conclusion, the method table, forgetting, and what is missing. Text from outside is shown as it is."""
    console.print(Text(fmt.one_line(view.name), style="bold"), Text(fmt.one_line(view.question, 200), style="dim"))
    console.print()
    console.print(Text(fmt.plain(view.conclusion.sentence), style=_STYLES[view.conclusion.kind]))
    if view.conclusion.caveat:
        console.print(Text(fmt.plain(view.conclusion.caveat), style="dim"))
    console.print()
    if view.arms:
        console.print(_methods(view, wide=console.width >= _WIDE))
        console.print(Text(method_note(view), style="dim"))
    if any(arm.benchmarks and arm.family != "prompt" for arm in view.arms):
        console.print()
        console.print(_forgetting(view))
        console.print(Text(forgetting_note(view), style="dim"))
    if view.judge is not None:
        said = [f"{name}: {what}" for name, what in judge_facts(view.judge)]
        _print_list(console, f"Judge: {fmt.one_line(view.judge.name, 100)}", said)
    _print_list(console, "Missing", [f"{part.what}: {part.why}" for part in view.missing])
    _print_list(console, "Warnings", view.warnings)


def method_note(view: DecisionView) -> str:
    """What the difference column means, in one sentence."""
    baseline = next((arm for arm in view.arms if arm.is_baseline), None)
    if baseline is None:
        return "There is no best prompt yet, so there are no differences."
    unit = "points of " if view.metric_unit == "share" else ""
    joint = any(arm.difference and arm.difference.simultaneous for arm in view.arms)
    interval = "95% intervals that hold for all arms together" if joint else "95% intervals"
    rows = fmt.count(view.examples) if view.examples else "the"
    return (
        f"Differences: {unit}{fmt.metric_name(view.metric)} against the best prompt, {fmt.label(baseline)}, on the "
        f"same {rows} {view.split} rows; {interval}. Fixed / broke: examples that got better / worse."
    )


def forgetting_note(view: DecisionView, marks: Mapping[Gate, str] = MARKS) -> str:
    """What the marks of the forgetting table mean; surfaces with room for words use the words themselves."""
    limit = fmt.loss_limits(view)
    blind = any(change.informative is False for arm in view.arms for change in arm.benchmarks)
    return (
        f"Points against the base on the same items. By its 95% interval, {marks['yes']} is shown to lose "
        f"at most {limit}, {marks['no']} is shown to lose more, {marks['not shown']} is too uncertain to tell."
        f"{' Base at chance: it is not shown to beat guessing there, so a loss cannot show.' if blind else ''}"
    )


def _methods(view: DecisionView, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold", min_width=16)
    table.add_column(fmt.metric_name(view.metric), justify="right", no_wrap=True)
    table.add_column("vs best prompt", justify="right", no_wrap=True)
    if wide:
        table.add_column("fixed / broke", justify="right", no_wrap=True)
    table.add_column("training", justify="right", no_wrap=True)
    table.add_column("1,000 req.", justify="right", no_wrap=True)
    if wide:
        table.add_column("to store", justify="right", no_wrap=True)
    for arm in view.arms:
        table.add_row(*_cells(view, arm, wide))
    return table


def _cells(view: DecisionView, arm: ArmView, wide: bool) -> list[Text]:
    name = Text(fmt.label(arm), style="bold" if arm.arm_id == view.conclusion.arm_id else "")
    metric = arm.metrics.get(view.metric)
    if metric is None:
        word = fmt.STATUS_WORDS.get(arm.status, arm.status)
        status = Text(word, style="red" if arm.status in ("failed", "oom", "killed") else "dim")
        return [name, Text(fmt.MISSING), status, *[Text(fmt.MISSING)] * (4 if wide else 2)]
    against = "best prompt" if arm.is_baseline else fmt.difference_short(arm.difference, view.metric_unit)
    cells = [name, Text(fmt.short_estimate(metric, view.metric_unit)), Text(against)]
    if wide:
        cells.append(Text(fmt.flips(arm.difference)))
    cells += [Text(fmt.duration(arm.cost.train_seconds)), Text(fmt.duration(arm.cost.seconds_per_1k_requests))]
    if wide:
        cells.append(Text(fmt.size(arm.cost.artifact_bytes)))
    return cells


def _forgetting(view: DecisionView) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("forgetting", overflow="fold", min_width=16)
    for task in view.benchmarks:
        table.add_column(fmt.task_name(task), justify="right", no_wrap=True)
    for arm in view.arms:
        if arm.family == "prompt" or not arm.benchmarks:
            continue
        changes = {change.task: change for change in arm.benchmarks}
        cells = [Text(fmt.label(arm))]
        for task in view.benchmarks:
            change = changes.get(task)
            if change is None:
                cells.append(Text(fmt.MISSING))
                continue
            shown = fmt.signed(change.difference.estimate.value)
            blind = " base at chance" if change.informative is False else ""
            words = f"{shown} {MARKS[change.within_limit]}{blind}"
            cells.append(Text(words, style="dim" if blind else _GATE_STYLES[change.within_limit]))
        table.add_row(*cells)
    return table


def _print_list(console: Console, title: str, lines: list[str], most: int = 8) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, style="bold"))
    for line in lines[:most]:
        console.print(Text(f"  {fmt.one_line(line, 300)}"))
    if len(lines) > most:
        console.print(Text(f"  and {fmt.count(len(lines) - most)} more (see the report or --json)", style="dim"))
