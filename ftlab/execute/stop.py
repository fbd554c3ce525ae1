"""Ask the `ftlab run` that works in a results folder to stop, from another terminal.

The first signal asks for an orderly end: the step that is being computed is finished and kept as a checkpoint. A second
one ends at once. Two different signals, since two of a kind that wait at the same time count as one.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from ftlab.errors import UsageError
from ftlab.execute.hold import Holder, holder

POLL_SECONDS = 0.1


def ask_to_stop(results: Path, *, now: bool = False) -> Holder:
    """Signal the holder of `results` and return who it is. Does not wait.

    Raises UsageError when nobody works there, or somebody on another machine does.
    """
    who = holder(results)
    if who is None:
        raise UsageError(f"nobody works in {results}; there is nothing to stop")
    if who.host != socket.gethostname() or who.pid is None:
        process = f"process {who.pid}" if who.pid is not None else "a process"
        raise UsageError(f"{process} on {who.host} works in {results}; run `ftlab stop` on that machine")
    try:
        os.kill(who.pid, signal.SIGTERM)
        if now:
            os.kill(who.pid, signal.SIGINT)
    except ProcessLookupError:
        pass  # it ended a moment ago, which is what was asked for
    except PermissionError as error:
        raise UsageError(f"process {who.pid} belongs to another user; ask them, or stop it as that user") from error
    return who


def wait_until_free(results: Path, seconds: float) -> bool:
    """Whether nobody works in `results` any more, after at most `seconds`."""
    deadline = time.monotonic() + seconds
    while holder(results) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
