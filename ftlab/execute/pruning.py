"""The coordinator's word that a run is hopeless: a file in the attempt's folder, which its worker looks for between
two steps. A file that is not there, torn or not understood means: go on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ftlab.events import EventType
from ftlab.files import write_atomic
from ftlab.store.journal import read_events

PRUNE_FILE = "prune.json"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a run is to end, and the step that showed it."""

    step: int
    """The optimizer step of the evaluation; 0 where the run was judged by another of its arm."""
    reason: str

    @property
    def words(self) -> str:
        """The reason of an attempt that ended by it before anybody could say where."""
        return stopped(self.step, self.reason)


def stopped(step: int, reason: str) -> str:
    """`stopped at step 40: a validation loss of ...`."""
    return f"stopped at step {step}: {reason}" if step else f"not trained to its end: {reason}"


def write_verdict(attempt: Path, verdict: Verdict) -> None:
    """Leave the verdict for the worker, whole or not at all. Raises StorageError."""
    write_atomic(attempt / PRUNE_FILE, json.dumps(asdict(verdict)).encode())


def read_verdict(attempt: Path) -> Verdict | None:
    """The verdict on an attempt; None where there is none that can be read."""
    try:
        fields = json.loads((attempt / PRUNE_FILE).read_bytes())
        return Verdict(int(fields["step"]), str(fields["reason"])) if fields["reason"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def standing_verdict(attempt: Path) -> Verdict | None:
    """The verdict that an attempt without an end still falls under; None when its training was through before."""
    verdict = read_verdict(attempt)
    return None if verdict is None or trained(attempt) else verdict


def trained(attempt: Path) -> bool:
    """Whether the attempt has its weights, be it among those of a training's course."""
    try:
        events, _ = read_events(attempt / "events.jsonl")
    except FileNotFoundError:
        return False
    return any(event["type"] == EventType.STAGE and event["kind"] in ("candidates", "weights") for event in events)
