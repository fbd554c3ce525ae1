"""The decision view on a terminal, in 80 to 120 columns, and just as well in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ftlab.decide.view import ArmView, DecisionView, Drift, Gate
from ftlab.report import format as fmt
from ftlab.report.course import course_lines
from ftlab.report.judge import judge_facts
from ftlab.report.leading import leading, left_out
from ftlab.report.spread import spread_rows
from ftlab.text import SHARE

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"use": "green", "keep_prompting": "green", "undecided": "yellow", "blocked": "red", "incomplete": "yellow"}
MARKS: dict[Gate, str] = {"yes": "✓", "no": "✗", "not shown": "?"}
_GATE_STYLES: dict[Gate, str] = {"yes": "green", "no": "red", "not shown": "yellow"}
_WIDE = 112
"""Columns from which every column of the table fits."""
MOST_ARMS = 100
"""Rows of a table that somebody still reads."""
_FEW = 3
"""Benchmarks that fit side by side on any terminal."""


def print_view(view: DecisionView, console: Console) -> None:
    """Print the conclusion, the method table, forgetting, and what is missing. Text from outside is shown as it is."""
    labels = {arm.arm_id: fmt.label(arm, 60) for arm in view.arms}
    view, missing = leading(view, MOST_ARMS)
    console.print(Text(fmt.one_line(view.name), style="bold"), Text(fmt.one_line(view.question, 200), style="dim"))
    console.print()
    console.print(Text(fmt.plain(view.conclusion.sentence), style=_STYLES[view.conclusion.kind]))
    if view.conclusion.caveat:
        console.print(Text(fmt.plain(view.conclusion.caveat), style="dim"))
    console.print()
    if view.arms:
        console.print(_methods(view, wide=console.width >= _WIDE))
        console.print(Text(method_note(view), style="dim"))
        if missing:
            console.print(Text(left_out(missing), style="dim"))
    if kept := fmt.limits(view):
        console.print()
        console.print(Text("Limits", style="bold"))
        for arm, gates in kept:
            console.print(Text(f"  {fmt.label(arm)}"))
            for gate in gates:
                console.print(
                    Text(f"    {MARKS[gate.state]} {gate.name}: {gate.words}", style=_GATE_STYLES[gate.state])
                )
    if any(arm.benchmarks and arm.family != "prompt" for arm in view.arms):
        console.print()
        console.print(_forgetting(view, wide=console.width >= _WIDE or len(view.benchmarks) <= _FEW))
        console.print(Text(forgetting_note(view), style="dim"))
    if fmt.drifting(view):
        console.print()
        console.print(_drift(view))
        console.print(Text(drift_note(view), style="dim"))
    _print_list(console, "Forgetting in the course of the training", course_lines(view))
    _print_list(console, "Chance", [f"{name}: {said}" for name, said in spread_rows(view)])
    slices = [f"{labels[found.arm_id]} {fmt.worst_slice(view, found)}" for found in view.worst_slices]
    _print_list(console, "Where it does worst (a lead, found by looking)", slices)
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
    interval = f"{fmt.level(view.confidence)} intervals{' that hold for all arms together' if joint else ''}"
    rows = fmt.count(view.examples) if view.examples else "the"
    return (
        f"Differences: {unit}{fmt.metric_name(view.metric)} against the best prompt, {fmt.label(baseline)}, on the "
        f"same {rows} {view.split} rows; {interval}. Fixed / broke: examples that got better / worse."
        f"{' Best in: the share of resampled rows on which an arm comes out first.' if _ranked(view) else ''}"
    )


def _ranked(view: DecisionView) -> bool:
    return any(arm.probability_best is not None for arm in view.arms)


def forgetting_note(view: DecisionView, marks: Mapping[Gate, str] = MARKS) -> str:
    """What the marks of the forgetting table mean; surfaces with room for words use the words themselves."""
    limit = fmt.loss_limits(view)
    blind = any(change.informative is False for arm in view.arms for change in arm.benchmarks)
    points = all(view.benchmark_units.get(task, SHARE) == SHARE for task in view.benchmarks)
    lead = "Points against the base" if points else "In points, or as named, against the base"
    return (
        f"{lead} on the same items. By its {fmt.level(view.confidence)} interval, {marks['yes']} is "
        f"shown to lose at most {limit}, {marks['no']} is shown to lose more, "
        f"{marks['not shown']} is too uncertain to tell."
        f"{' Base at chance: it is not shown to beat guessing there, so a loss cannot show.' if blind else ''}"
    )


def _methods(view: DecisionView, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("arm", overflow="fold", min_width=16)
    table.add_column(fmt.metric_name(view.metric), justify="right", no_wrap=True)
    table.add_column("vs best prompt", justify="right", no_wrap=True)
    if wide:
        table.add_column("fixed / broke", justify="right", no_wrap=True)
        table.add_column("best in", justify="right", no_wrap=True)
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
        return [name, Text(fmt.MISSING), status, *[Text(fmt.MISSING)] * (5 if wide else 2)]
    against = "best prompt" if arm.is_baseline else fmt.difference_short(arm.difference, view.metric_unit)
    cells = [name, Text(fmt.short_estimate(metric, view.metric_unit)), Text(against)]
    if wide:
        cells += [Text(fmt.flips(arm.difference)), Text(fmt.number(arm.probability_best, digits=0))]
    cells += [Text(fmt.duration(arm.cost.train_seconds)), Text(fmt.duration(arm.cost.seconds_per_1k_requests))]
    if wide:
        cells.append(Text(fmt.size(arm.cost.artifact_bytes)))
    return cells


def _forgetting(view: DecisionView, wide: bool) -> Table:
    """A column for each benchmark, or a row where that would not fit."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("forgetting", overflow="fold", min_width=16)
    arms = [arm for arm in view.arms if arm.family != "prompt" and arm.benchmarks]
    if not wide:
        table.add_column("on", overflow="fold")
        table.add_column("change", justify="right")
        for arm in arms:
            for index, task in enumerate(view.benchmarks):
                head = _task_head(view, task, ", ")
                table.add_row(Text("" if index else fmt.label(arm)), head, _changed(arm, task))
        return table
    for task in view.benchmarks:
        table.add_column(_task_head(view, task, "\n"), justify="right")
    for arm in arms:
        table.add_row(Text(fmt.label(arm)), *(_changed(arm, task) for task in view.benchmarks))
    return table


def _task_head(view: DecisionView, task: str, between: str) -> Text:
    """A benchmark and what it measures."""
    group = fmt.group(view.benchmark_groups.get(task, ""))
    return Text(fmt.task_name(task)).append(f"{between}{group}" if group else "", style="not bold")


def _changed(arm: ArmView, task: str) -> Text:
    """How an arm changed on a benchmark, with its mark."""
    change = next((change for change in arm.benchmarks if change.task == task), None)
    if change is None:
        return Text(fmt.MISSING)
    blind = " base at chance" if change.informative is False else ""
    words = f"{fmt.change_value(change)} {MARKS[change.within_limit]}{blind}"
    return Text(words, style="dim" if blind else _GATE_STYLES[change.within_limit])


def drift_note(view: DecisionView, mark: str = "*") -> str:
    """What the drift table shows, in a sentence or two. `mark`: what a surface marks news with."""
    gate = "closes a gate where the spec limits it" if _limited(view) else "closes no gate"
    return (
        f"Default behaviour on general prompts against the base, with {fmt.level(view.confidence)} intervals that hold "
        "for all of them together. "
        f"A changed habit is neither good nor bad by itself, and {gate}; {mark} marks where the interval excludes zero."
    )


def drift_words(moved: Drift) -> str:
    """One drift with its mark, and its gate where the spec limits it."""
    mark = " *" if fmt.is_news(moved) else ""
    gate = f", {fmt.gate(moved.within_limit)}" if moved.within_limit else ""
    return f"{fmt.drift_short(moved)}{mark}{gate}"


def _limited(view: DecisionView) -> bool:
    return any(moved.limit is not None for arm in view.arms for moved in arm.drift)


def _drift(view: DecisionView) -> Table:
    """A row for each arm and measure: the cells are too long for a column each."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("drift", overflow="fold", min_width=16)
    for head in ("of", "base → arm", "change"):
        table.add_column(head, overflow="fold")
    for arm in fmt.drifting(view):
        for index, moved in enumerate(arm.drift):
            style = "" if fmt.is_news(moved) else "dim"
            cells = (fmt.label(arm) if not index else "", fmt.task_name(moved.task), fmt.before_after(moved))
            table.add_row(*map(Text, cells), Text(drift_words(moved), style=style))
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
