"""Statuses follow their rules."""

from __future__ import annotations

from ftlab.events import Status


def test_only_waiting_and_running_can_still_change() -> None:
    assert {status for status in Status if not status.is_final} == {Status.WAITING, Status.RUNNING}


def test_each_end_but_complete_needs_a_reason() -> None:
    assert {status for status in Status if status.needs_reason} == {
        Status.PRUNED,
        Status.FAILED,
        Status.OOM,
        Status.CANCELLED,
        Status.KILLED,
    }
