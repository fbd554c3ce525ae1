"""What a watcher sees: words, cadence, and nothing that a hostile name could do to a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from ftlab.cli.progress import LiveDisplay, PlainDisplay, end_line, fetch_line, open_display, running_line, summary_line
from ftlab.events import Status
from ftlab.execute.progress import RunEnd, RunningNow, SweepState
from ftlab.testing.fakes import fake_plan

RUN = RunningNow("r1", "lora r=8", "weights", "train", 30, 75, "steps", 1.2345, 1284.0)
STATE = SweepState(total=40, done=3, failed=1, running=(RUN,), elapsed=60.0, seconds_left=725.0)
CONFIG = fake_plan({"a": {"type": "fake_prompt"}}).runs[0]
HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]x[/bold] \u202eabc"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def end(**fields: object) -> RunEnd:
    return replace(RunEnd(CONFIG, "lora r=8", Path("a1"), Status.COMPLETE, None), **fields)


def test_the_words() -> None:
    assert summary_line(STATE) == "3 of 40 runs done, 1 failed, about 12 min 05 s left"
    assert summary_line(replace(STATE, seconds_left=None)) == "3 of 40 runs done, 1 failed, estimating the time left"
    assert summary_line(replace(STATE, done=40, failed=0)) == "40 of 40 runs done"
    assert running_line(RUN) == "lora r=8: weights, train 30 of 75 steps, loss 1.234, 1,284 tokens/s"
    waiting = replace(RUN, stage="benchmark builtin:piqa", phase="wait", loss=None, tokens_per_second=None)
    assert running_line(waiting) == "lora r=8: benchmark builtin:piqa, waiting for another worker"
    assert end_line(end()) == "lora r=8: complete"
    failed = end(status=Status.FAILED, reason="no column 'x'", will_retry=True)
    assert end_line(failed) == "lora r=8: failed (no column 'x'); trying again"
    fetching = {"phase": "fetch", "name": "model.gguf", "done": 12_000_000, "total": 98_100_000, "unit": "bytes"}
    assert fetch_line(fetching) == "fetch model.gguf: 12.0 MB of 98.1 MB"


def test_plain_lines_come_on_a_change_of_stage_and_else_every_five_seconds() -> None:
    stream, now = io.StringIO(), 0.0
    display = PlainDisplay(stream, clock=lambda: now)
    for step in range(240):  # a minute, four looks a second, a step each
        now = step / 4
        stage = "weights" if step < 126 else "predictions validation"
        display.update(replace(STATE, running=(replace(RUN, stage=stage, done=step),)))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 13, "at 0, 5, ..., 30 s, at the change, and every 5 s from there"
    assert all("3 of 40 runs done" in line and "\r" not in line for line in lines)


def test_an_unchanged_state_is_not_repeated() -> None:
    stream, now = io.StringIO(), 0.0
    display = PlainDisplay(stream, clock=lambda: now)
    for second in range(60):
        now = float(second)
        display.update(STATE)
    assert len(stream.getvalue().splitlines()) == 1


def test_hostile_names_and_reasons_are_only_text() -> None:
    for text in (running_line(replace(RUN, label=HOSTILE)), end_line(end(label=HOSTILE, reason=HOSTILE))):
        assert "\x1b" not in text
        assert "\u202e" not in text
    terminal = Terminal()
    display = LiveDisplay(terminal)
    display.ended(end(label=HOSTILE, status=Status.FAILED, reason=HOSTILE))
    display.update(replace(STATE, running=(replace(RUN, label=HOSTILE),)))
    display.close()
    shown = terminal.getvalue()
    assert "]0;title" not in shown
    assert "[bold]x[/bold]" in shown, "markup is shown, not followed"


def test_the_live_block_is_shown_and_removed(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    display = LiveDisplay(terminal)
    display.update(STATE)
    assert "3 of 40 runs done" in terminal.getvalue()
    assert "train 30 of 75 steps" in terminal.getvalue()
    display.close()
    display.close()


def test_a_pipe_and_ci_get_lines(monkeypatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_display(io.StringIO()), PlainDisplay)
    assert isinstance(open_display(Terminal()), LiveDisplay)
    monkeypatch.setenv("CI", "true")
    assert isinstance(open_display(Terminal()), PlainDisplay)


def test_a_reader_that_went_away_does_not_end_the_sweep() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    PlainDisplay(Closed()).update(STATE)
