"""What all verbs share: options, the two streams, JSON, and errors as sentences.

Results go to stdout, progress and complaints to stderr. Light: typer and the standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from ftlab.errors import FtlabError, StorageError
from ftlab.files import WRITE_ERRORS, storage_errors
from ftlab.text import plain

if TYPE_CHECKING:
    from rich.console import Console

SpecPath = Annotated[Path, typer.Argument(help="The experiment's YAML file.", metavar="SPEC", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", help="Override one value, e.g. -s methods.lora.r=16.", metavar="KEY=VALUE"),
]
Results = Annotated[
    Path, typer.Option("--results", envvar="FTLAB_RESULTS", help="The folder that holds all results.", metavar="DIR")
]
DEFAULT_RESULTS = Path("results")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

PIPE_WIDTH = 160
"""Columns of a table that is not shown on a terminal."""


def clean(text: object) -> str:
    """Text from models, data or specs as a terminal may show it: no escape sequences, no control characters."""
    return plain(str(text))


def console(stderr: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no emoji names, no guessing of numbers to colour.

    NO_COLOR is honoured; a pipe gets neither colours nor the width of a terminal that is not there.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width)


def is_interactive(stream: IO[str] | None = None) -> bool:
    """Whether someone watches `stream` (stderr by default): a terminal that can move its cursor, outside CI."""
    stream = stream if stream is not None else sys.stderr
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def print_json(value: Any) -> None:
    """Print plain data or a pydantic model as JSON on stdout. ASCII only, so that no text can steer a terminal."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def say(text: str) -> None:
    """One message on stderr, cleaned."""
    sys.stderr.write(f"{clean(text)}\n")


def prepare_streams() -> None:
    """A character that the terminal's encoding lacks is shown as an escape instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_code_of(error: BaseException, verbose: bool = False) -> int:
    """Say what went wrong on stderr, and return the exit code: the one place where errors become words."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        say("interrupted")
        return 130
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, FtlabError):
        if verbose:
            traceback.print_exception(error, file=sys.stderr)
        else:
            say(f"error: {error}" if "\n" not in str(error) else str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # Whoever read our output has seen enough. Python would complain again when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
        return exit_code_of(_as_storage_error(error), verbose)
    if verbose:
        traceback.print_exception(error, file=sys.stderr)
        return 1
    first = str(error).strip().splitlines() or [""]
    say(f"internal error: {type(error).__name__}: {first[0][:300]} (run again as `ftlab -v ...` for the traceback)")
    return 1


def _as_storage_error(error: OSError) -> StorageError:
    try:
        with storage_errors(Path(os.fsdecode(error.filename or "the results folder"))):
            raise error
    except StorageError as clear:
        return clear


def _usage(error: typer.TyperException) -> int:
    """A wrong command line: what is wrong, and where the help is."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and message == context.get_help():
        say(message)
    else:
        say(f"error: {message}")
        if context is not None:
            say(f"Try '{context.command_path} --help'.")
    return int(error.exit_code)


def results_option(results: Path) -> str:
    """The option that makes a printed command work when it is copied, quoted for a shell; empty for the default."""
    return "" if results == DEFAULT_RESULTS.absolute() else f" --results {shlex.quote(str(results))}"
