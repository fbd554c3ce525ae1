"""The live view of a sweep on stderr: a moving display on a terminal, plain lines in a pipe or in CI.

Names and reasons come from specs and models: they are shown as text, never as markup, and without control characters.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from ftlab.cli.common import is_interactive
from ftlab.events import Status
from ftlab.execute.progress import Display, RunEnd, RunningNow, SweepState
from ftlab.text import count, duration, number, one_line, plural, rate, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LINE_SECONDS = 5.0
"""Plain lines come at most this often while nothing but a count changes."""
LABEL_CHARACTERS = 60
REASON_CHARACTERS = 200


def open_display(stream: TextIO | None = None) -> Display:
    """The display that suits `stream` (stderr by default): live on a terminal, else plain lines."""
    stream = stream if stream is not None else sys.stderr
    return LiveDisplay(stream) if is_interactive(stream) else PlainDisplay(stream)


def summary_line(state: SweepState) -> str:
    """`3 of 40 runs done, 1 failed, 12 min 05 s left`."""
    parts = [f"{state.done} of {plural(state.total, 'run')} done"]
    if state.pruned:
        parts.append(f"{state.pruned} pruned")
    if state.failed:
        parts.append(f"{state.failed} failed")
    if state.done + state.pruned + state.failed < state.total:
        left = "estimating the time left" if state.seconds_left is None else f"{duration(state.seconds_left)} left"
        parts.append(left if state.seconds_left is None else f"about {left}")
    return ", ".join(parts)


def running_line(run: RunningNow) -> str:
    """`lora r=8: weights, train 30 of 75 steps, loss 1.234, 1,284 tokens/s`."""
    parts = [run.stage or "starting"]
    if run.phase == "wait":
        parts.append("waiting for another worker")
    elif run.total:
        parts.append(f"{run.phase} {count(run.done)} of {count(run.total)} {run.unit}".rstrip())
    elif run.phase:
        parts.append(run.phase)
    if run.loss is not None:
        parts.append(f"loss {number(run.loss, '')}")
    if run.tokens_per_second is not None:
        parts.append(rate(run.tokens_per_second))
    return f"{one_line(run.label, LABEL_CHARACTERS)}: {one_line(', '.join(parts), 160)}"


def end_line(end: RunEnd) -> str:
    """`lora r=8: complete`, or the status with its reason."""
    line = f"{one_line(end.label, LABEL_CHARACTERS)}: {end.status}"
    if end.status is not Status.COMPLETE:
        line += f" ({one_line(end.reason or 'no reason given', REASON_CHARACTERS)})"
    return f"{line}; trying again" if end.will_retry else line


def fetch_line(progress: Mapping[str, Any]) -> str:
    """`fetch model.gguf: 12.0 MB of 98.1 MB`."""
    done, total, unit = int(progress.get("done", 0)), int(progress.get("total", 0)), str(progress.get("unit", ""))
    form = size if unit == "bytes" else lambda value: f"{count(value)} {unit}".rstrip()
    what = " ".join(str(progress[part]) for part in ("phase", "name") if progress.get(part))
    return one_line(f"{what}: {form(done)} of {form(total)}" if total else what, 160)


class PlainDisplay:
    """Lines: one at the end of every run and when a run changes its stage, else one in five seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stages: tuple[tuple[str, str], ...] | None = None
        self._last = ""
        self._last_at = float("-inf")

    def fetching(self, progress: Mapping[str, Any]) -> None:
        """A line in five seconds."""
        if self._clock() - self._last_at >= LINE_SECONDS:
            self._last_at = self._clock()
            self._write(fetch_line(progress))

    def update(self, state: SweepState) -> None:
        """Write a line when there is something new to say."""
        stages = tuple((run.run_id, run.stage) for run in state.running)
        waited = self._clock() - self._last_at
        if not state.running or waited < (1.0 if stages != self._stages else LINE_SECONDS):
            return
        line = " | ".join([summary_line(state), *map(running_line, state.running)])
        if line != self._last:
            self._stages, self._last, self._last_at = stages, line, self._clock()
            self._write(line)

    def ended(self, end: RunEnd) -> None:
        """One line."""
        self._write(end_line(end))

    def note(self, text: str) -> None:
        """One line."""
        self._write(text)

    def close(self) -> None:
        """Nothing to tidy."""

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # nobody reads it: no reason to end a sweep
            print(line, file=self._stream, flush=True)


class LiveDisplay:
    """A block that is redrawn in place: a bar for the sweep, a line for every running run; ends scroll by above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console: Console = Console(file=stream, no_color=bool(os.environ.get("NO_COLOR")))
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._started = False

    def fetching(self, progress: Mapping[str, Any]) -> None:
        """Redraw."""
        from rich.text import Text

        self._show(Text(fetch_line(progress)))

    def update(self, state: SweepState) -> None:
        """Redraw."""
        self._show(_block(state))

    def _show(self, block: RenderableType) -> None:
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(block, refresh=True)

    def ended(self, end: RunEnd) -> None:
        """A line above the block."""
        style = {Status.COMPLETE: "green", Status.CANCELLED: "yellow", Status.PRUNED: "cyan"}.get(end.status, "red")
        self._print(end_line(end), style)

    def note(self, text: str) -> None:
        """A line above the block."""
        self._print(text, "bold")

    def close(self) -> None:
        """Remove the block."""
        if self._started:
            self._live.stop()
            self._started = False

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(line, style=style), soft_wrap=True)


def _block(state: SweepState) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1))
    head.add_row(
        ProgressBar(total=max(1, state.total), completed=state.done + state.pruned + state.failed, width=24),
        Text(f"{summary_line(state)}, {duration(state.elapsed)} so far"),
    )
    lines = [Text(f"  {running_line(run)}", overflow="ellipsis", no_wrap=True) for run in state.running]
    return Group(head, *lines)
