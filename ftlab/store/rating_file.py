"""What people think of answers, in files: `<experiment>/ratings/<rater>.jsonl`, one rating a line. No DuckDB here.

A rating belongs to outputs (the keys of their predictions), not to an arm: other outputs of the same arm are not rated
by it. Lines are only ever added; who changes their mind adds a line, and the last one counts. One line is one
`os.write` under a `flock`, made durable at once, so that several windows and commands may write one file. A line counts
once its newline is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ftlab.errors import StorageError, UsageError
from ftlab.files import fsync_dir, make_folder, storage_errors
from ftlab.text import plain

FOLDER = "ratings"
SWITCH = "FTLAB_RATINGS"
"""The variable by which `ftlab ui` tells the app whether answers can be rated: `off` when `--no-ratings` is given."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,79}\.jsonl")
LONGEST_NAME = 60
"""Characters of a rater's name."""
MAX_LINE_BYTES = 16 * 1024
"""A longer line is no rating."""
_TICK_BYTES = 1024 * MAX_LINE_BYTES

Choice = Literal["a", "b", "tie"]


class _Rating(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    time: str = Field(min_length=10, max_length=40)
    """ISO 8601."""
    rater: str = Field(min_length=1, max_length=200)
    split: str = Field(min_length=1, max_length=64)
    example_id: str = Field(min_length=1, max_length=512)


class PairRating(_Rating):
    """Which of two answers to one example somebody finds better."""

    kind: Literal["pair"] = "pair"
    arm_a: str = Field(min_length=1, max_length=128)
    arm_b: str = Field(min_length=1, max_length=128)
    key_a: str = Field(min_length=1, max_length=128)
    """The predictions that answer a is one of."""
    key_b: str = Field(min_length=1, max_length=128)
    choice: Choice

    def seen_from(self, key: str, other: str) -> Choice | None:
        """The choice when `key` is called a and `other` b; None for ratings of other predictions."""
        if (self.key_a, self.key_b) == (key, other):
            return self.choice
        turned: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie"}
        return turned[self.choice] if (self.key_a, self.key_b) == (other, key) else None


class ScoreRating(_Rating):
    """How good somebody finds one answer, from 0 to 1."""

    kind: Literal["score"] = "score"
    arm: str = Field(min_length=1, max_length=128)
    key: str = Field(min_length=1, max_length=128)
    """The predictions that the answer is one of."""
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


Rating = PairRating | ScoreRating
_ADAPTER: TypeAdapter[Rating] = TypeAdapter(Annotated[Rating, Field(discriminator="kind")])


class RatingLine(NamedTuple):
    """One rating and where its line begins."""

    offset: int
    rating: Rating


class RatingBatch(NamedTuple):
    """What one reading of a ratings file gave."""

    lines: list[RatingLine]
    offset: int
    """Where the next reading starts: behind the last whole line."""
    bad_lines: int
    """Whole lines among those read that are no ratings."""
    torn: bool
    """Whether the file ends in the middle of a line, as after a power cut; the next rating repairs it."""


def now() -> str:
    """This moment as ratings keep it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def rater_name(text: str) -> str:
    """A rater's name as it is kept: composed Unicode, single blanks, no control characters.

    Raises UsageError for an empty name or one of more than 60 characters.
    """
    name = " ".join(plain(unicodedata.normalize("NFC", text)).split())
    if not name:
        raise UsageError("a rater needs a name; give one, e.g. --rater anna")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"a rater's name has at most {LONGEST_NAME} characters, found {len(name)}")
    return name


def file_name(rater: str) -> str:
    """The name of a rater's file: what is plain of the name, for people, and a hash, which tells raters apart.

    The name itself is data and never a path.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", unicodedata.normalize("NFKD", rater).lower()).strip("-")[:30].strip("-")
    digest = hashlib.sha256(rater.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable}-{digest}.jsonl" if readable else f"{digest}.jsonl"


def append_ratings(results: Path, experiment_id: str, rater: str, ratings: Sequence[Rating]) -> Path:
    """Add ratings by one rater, durably, all of them or none; returns the file.

    Raises UsageError for a name that `rater_name` refuses, StorageError when the file cannot be written, as in a folder
    that is read-only, and ValueError for a rating by somebody else.
    """
    rater = rater_name(rater)
    if any(rating.rater != rater for rating in ratings):
        raise ValueError(f"expected ratings by {rater!r} only")
    folder = results / experiment_id / FOLDER
    path = folder / file_name(rater)
    data = b"".join(_line(rating) for rating in ratings)
    if not (results / experiment_id).is_dir():
        raise StorageError(f"cannot write {path}: the folder of the experiment is not there")
    make_folder(folder)
    with storage_errors(path):
        # Never through a link: what lies in the folder may come from somebody else.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            whole = b"\n" + data if torn else data
            if os.write(descriptor, whole) != len(whole):
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise StorageError(f"cannot write {path}: the disk is full; free some space and try again")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fsync_dir(folder)
    return path


def _line(rating: Rating) -> bytes:
    line = json.dumps(rating.model_dump(), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a rating of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
    return line


def rating_files(results: Path, experiment_id: str) -> list[tuple[str, int]]:
    """The ratings files of an experiment by their path from the results folder, with `/`, and their sizes, sorted.

    Links and whatever has another name are passed over. Raises OSError when the folder cannot be listed.
    """
    try:
        with os.scandir(results / experiment_id / FOLDER) as entries:
            states = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        (f"{experiment_id}/{FOLDER}/{name}", state.st_size)
        for name, state in states
        if NAME.fullmatch(name) and stat.S_ISREG(state.st_mode)
    )


def read_ratings(path: Path, offset: int = 0, end: int | None = None) -> RatingBatch:
    """The ratings on the whole lines between two offsets, up to the end of the file when `end` is left out.

    Takes in about 16 MiB at a time; a line that is longer is passed over as a bad one.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size if end is None else end
        file.seek(offset)
        data = file.read(min(_TICK_BYTES, max(0, size - offset)))
    reached = offset + len(data)
    stop = data.rfind(b"\n") + 1
    if not stop and len(data) == _TICK_BYTES:
        return RatingBatch([], reached, 1, False)
    lines: list[RatingLine] = []
    bad = 0
    start = 0
    while start < stop:
        after = data.index(b"\n", start) + 1
        rating = parse_rating(data[start:after])
        if rating is not None:
            lines.append(RatingLine(offset + start, rating))
        elif data[start:after].strip():
            bad += 1
        start = after
    return RatingBatch(lines, offset + stop, bad, reached == size and stop < len(data))


def pair_ratings(results: Path, experiment_id: str) -> list[PairRating]:
    """Every pair that somebody rated; of one rater's ratings of the same outputs the last. Files that cannot be read
    are passed over."""
    latest: dict[tuple[str, ...], PairRating] = {}
    for place, size in rating_files(results, experiment_id):
        offset = 0
        with suppress(OSError):
            while offset < size:
                batch = read_ratings(results / place, offset, size)
                for _, rating in batch.lines:
                    if isinstance(rating, PairRating):
                        sides = sorted((rating.key_a, rating.key_b))
                        latest[rating.rater, rating.split, rating.example_id, *sides] = rating
                if batch.offset == offset:
                    break
                offset = batch.offset
    return list(latest.values())


def parse_rating(line: bytes) -> Rating | None:
    """The rating on a line, or None for what is none."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        return _ADAPTER.validate_python(_storable(json.loads(line)))
    except (ValueError, RecursionError, ValidationError):
        return None


def _storable(value: Any) -> Any:
    """A lone surrogate has no UTF-8, and so no place in the ledger."""
    if isinstance(value, dict):
        return {
            key: item.encode("utf-8", "replace").decode() if isinstance(item, str) else item
            for key, item in value.items()
        }
    return value
