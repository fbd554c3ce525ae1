"""One tree of errors. Every class carries the exit code the command line ends with.

A `UsageError` is the user's to mend: its message is one clear sentence that names the place and the mend, and it is
shown without a traceback. Anything else that escapes is a defect of ftlab and ends with exit code 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

SpecPath = tuple[str | int, ...]
"""Where something stands in a spec: `("data", "files", "train")`."""


class FtlabError(Exception):
    """The root of every error that ftlab raises on purpose."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with what a spec names."""

    message: str
    at: SpecPath = ()
    """The part of the spec that names it; empty where nobody has said."""


class UsageError(FtlabError, ValueError):
    """Bad input: a spec, an option, a file, a name. Nothing half-written is left behind."""

    exit_code: ClassVar[int] = 2

    def __init__(self, *args: object, at: SpecPath = ()) -> None:
        super().__init__(*args)
        self.faults: tuple[Fault, ...] = (Fault(str(self), at),)
        """All that is wrong, each with the part of the spec to blame where it is known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a spec, with its place.

    `line` and `column` count from 1 and are 0 when the problem has no place in a file (an override on the command line,
    say; `file` then names the override).
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}  {self.path}  {self.message}" if self.path else f"{place}  {self.message}"


class SpecError(UsageError):
    """All that is wrong with a spec, reported at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UsageError):
    """Data that cannot be read, is empty, or does not hold what the spec says of it."""

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> DataError:
        """Several faults as one error, each a line of its message; equal ones once."""
        found = tuple(dict.fromkeys(faults))
        error = cls("\n".join(fault.message for fault in found))
        error.faults = found
        return error


class ModelError(UsageError):
    """A model that is unknown or cannot be loaded."""


class UnknownNameError(UsageError, KeyError):
    """A name that no registry knows; the message suggests the nearest one and lists what exists."""

    def __str__(self) -> str:
        # KeyError would show the message inside quotes.
        return str(self.args[0]) if self.args else ""


class FetchError(UsageError):
    """Something outside could not be fetched, or what came is not what was expected (sha256)."""


class StoreBusyError(UsageError):
    """Another process holds the results folder; the message names its pid and host."""


class StoreVersionError(UsageError):
    """The ledger was written by a newer ftlab than this one."""


class StorageError(UsageError):
    """The results folder or the cache cannot be written: disk full, read-only, no permission."""


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is missing; the message is the exact line that installs it."""


class OutOfMemoryError(FtlabError):
    """A run needed more memory than there is. The attempt ends as `oom`; the sweep goes on."""


class TrainingError(FtlabError):
    """Training cannot go on: its loss is no longer a number, or `on_diverge` ends it. The attempt ends as `failed`; the
    sweep goes on."""


@contextmanager
def blame(*at: str | int) -> Iterator[None]:
    """Say which part of the spec the errors of the block are about, unless they say so themselves.

    A disk that is full is nobody's fault in a spec: StorageError and the like pass as they are.
    """
    try:
        yield
    except (DataError, ModelError, FetchError, UnknownNameError) as error:
        error.faults = tuple(Fault(fault.message, fault.at or at) for fault in error.faults)
        raise


@contextmanager
def gathered(faults: list[Fault], *at: str | int) -> Iterator[None]:
    """Add the faults of the block to `faults`, blamed on `at` where they name no part, instead of ending the work."""
    try:
        with blame(*at):
            yield
    except (DataError, ModelError, FetchError, UnknownNameError) as error:
        faults += error.faults


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that memory ran out.

    torch says it by a class of its own on a GPU, and by a RuntimeError of its allocator on the CPU; the system by an
    OSError. No import of torch is needed to tell.
    """
    if isinstance(error, (MemoryError, OutOfMemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return True
    if not isinstance(error, (RuntimeError, OSError)):
        return False
    said = str(error).lower()
    return any(sign in said for sign in ("allocate memory", "not enough memory", "alloc_failed"))


def first_line(error: BaseException) -> str:
    """What another library's error says, in at most 200 characters of one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
