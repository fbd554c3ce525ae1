"""What a user means by a word: `latest`, a name, an id or the beginning of one. Never a guess between two."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ftlab.catalog import suggest
from ftlab.errors import UsageError
from ftlab.text import one_line

if TYPE_CHECKING:
    import duckdb

    from ftlab.decide.view import ArmView, DecisionView

LATEST = "latest"
_MOST_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """What a word stands for."""

    kind: Literal["experiment", "arm", "run"]
    experiment_id: str
    id: str


@dataclass(frozen=True, slots=True)
class OpenResults:
    """The newest snapshot, open for reading."""

    cursor: duckdb.DuckDBPyConnection
    number: int

    def view(self, experiment_id: str, split: str | None = None) -> DecisionView:
        """The decision view of an experiment, on the split that its conclusion rests on unless another is named."""
        from ftlab.decide.build import build_view

        return build_view(self.cursor, experiment_id, self.number, split)


@contextmanager
def open_results(results: Path) -> Iterator[OpenResults]:
    """Open what was published last, with what the files know better: runs that were killed, new ratings.

    Raises UsageError, naming the command that helps, when nothing was published.
    """
    from ftlab.store.present import correct, ended_runs, unpublished
    from ftlab.store.ratings import ingested, lay_ratings, newer_ratings
    from ftlab.store.snapshot import current_number, open_snapshot

    results = results.expanduser().absolute()
    if current_number(results) is None and (why := unpublished(results)) is not None:
        sentence, command = why
        raise UsageError(f"{sentence}; try: {command} --results {shlex.quote(str(results))}")
    with open_snapshot(results) as snapshot:
        cursor = snapshot.cursor()
        correct(cursor, ended_runs(cursor, results))
        lay_ratings(cursor, results, newer_ratings(results, ingested(cursor)))
        yield OpenResults(cursor, snapshot.number)


def find_experiment(cursor: duckdb.DuckDBPyConnection, word: str = LATEST) -> str:
    """The id of an experiment by `latest`, its id, its name, or the beginning of its id. Raises UsageError."""
    rows = cursor.execute(
        "SELECT experiment_id, name FROM experiments ORDER BY created_ts DESC, experiment_id"
    ).fetchall()
    if not rows:
        raise UsageError("there are no experiments in these results yet; start one: ftlab run SPEC")
    if word == LATEST:
        return rows[0][0]
    by_name = [identifier for identifier, name in rows if name == word]
    if len(by_name) == 1:
        return by_name[0]
    return _one(word, dict(rows), "experiment", "`ftlab ls` lists them")


def find_any(cursor: duckdb.DuckDBPyConnection, word: str) -> Found:
    """An experiment, arm or run by its id or the beginning of it, or `latest` experiment. Raises UsageError."""
    if word == LATEST:
        newest = find_experiment(cursor)
        return Found("experiment", newest, newest)
    rows = cursor.execute(
        "SELECT 'experiment', experiment_id, experiment_id, name FROM experiments "
        # The base model itself is no arm of a comparison; what it did is found by its run.
        "UNION ALL SELECT 'arm', experiment_id, arm_id, label FROM arms WHERE current AND family <> 'base' "
        "UNION ALL SELECT 'run', r.experiment_id, r.run_id, a.label || ', seed ' || r.seed "
        "FROM runs r JOIN arms a ON a.arm_id = r.arm_id"
    ).fetchall()
    for kind, experiment_id, identifier, name in rows:
        if identifier == word or (kind == "experiment" and name == word):
            return Found(kind, experiment_id, identifier)
    names = {identifier: f"{kind}: {name}" for kind, _, identifier, name in rows}
    chosen = _one(word, names, "experiment, arm or run", "`ftlab ls` and `ftlab ls EXPERIMENT` list them")
    return next(Found(kind, experiment, identifier) for kind, experiment, identifier, _ in rows if identifier == chosen)


def find_target(opened: OpenResults, word: str) -> Found:
    """As `find_any`, and else an arm of the newest experiment by its label or its method. Raises UsageError."""
    try:
        return find_any(opened.cursor, word)
    except UsageError:
        view = opened.view(find_experiment(opened.cursor))
        if not any(word in (arm.label, arm.method_name) for arm in view.arms):
            raise
        return Found("arm", view.experiment_id, find_arm(view, word).arm_id)


def find_arm(view: DecisionView, word: str) -> ArmView:
    """An arm by its id or the beginning of it, its label, its method's name (then the best one), or one of its runs.

    Raises UsageError.
    """
    for arm in view.arms:
        if word in (arm.arm_id, arm.label):
            return arm
    named = [arm for arm in view.arms if arm.method_name == word]
    if named:
        return next((arm for arm in named if arm.is_best_of_method), named[0])
    owners = {run: arm for arm in view.arms for run in arm.run_ids} | {arm.arm_id: arm for arm in view.arms}
    labels = {identifier: arm.label for identifier, arm in owners.items()}
    methods = list(dict.fromkeys(arm.method_name for arm in view.arms))
    near = suggest(word, methods).removeprefix(", ")
    hint = f"{near} the methods are {', '.join(methods)}; `ftlab ls {view.experiment_id}` lists runs".lstrip()
    return owners[_one(word, labels, "arm", hint)]


def _one(word: str, names: Mapping[str, str], what: str, where: str) -> str:
    """The one id that begins with `word`."""
    matches = [identifier for identifier in names if word and identifier.startswith(word)]
    if len(matches) == 1:
        return matches[0]
    shown = one_line(word, 60)
    if not matches:
        raise UsageError(f"no {what} '{shown}' in these results; {where}")
    raise UsageError(f"'{shown}' stands for more than one {what}: {_listed(matches, names)}; write more of the id")


def _listed(matches: Sequence[str], names: Mapping[str, str]) -> str:
    listed = [f"{identifier} ({one_line(names[identifier], 50)})" for identifier in matches[:_MOST_CANDIDATES]]
    rest = len(matches) - len(listed)
    return ", ".join(listed) + (f" and {rest} more" if rest else "")
