"""A first look at a spec's data and templates, for `ftlab validate`: nothing is fetched, and it takes no second.

Small files are read and split as a run would do it, a builtin shows a row of its form, and a hub is not asked: what
could not be looked at here is found by `ftlab plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from ftlab.catalog import DATASETS
from ftlab.data.dataset import arrange
from ftlab.data.prompts import render_target
from ftlab.data.records import Dataset
from ftlab.data.sources import BUILTIN, data_files, load_rows, resolve_data
from ftlab.data.templates import check_template, render
from ftlab.errors import DataError, Fault, SpecPath, UsageError
from ftlab.spec.load import LoadedSpec
from ftlab.spec.schema import TaskSpec
from ftlab.spec.templates import QUESTION, TARGET, templates_of
from ftlab.spec.tree import dotted

LIGHT_BYTES = 8_000_000
"""The most that is read here, all files together."""
SAMPLE = 100
"""How many rows of each split a template is tried on."""

_JUDGED = dict.fromkeys(("text", "target", "first", "second"), "")
"""What the question of a judge may use beside the row, in its form."""

Sample = tuple[list[dict[str, Any]], list[str]]
"""Some rows with all their columns, and the labels."""


def look_at(loaded: LoadedSpec) -> list[Fault]:
    """What is wrong with the templates and, where they are at hand, with the rows of a spec."""
    faults, sample = _rows(loaded)
    return list(dict.fromkeys([*template_faults(templates_of(loaded.tree), sample), *faults]))


def template_faults(templates: Mapping[SpecPath, str], sample: Sample | None) -> list[Fault]:
    """What is wrong with each template: its syntax, a part that prompts may not use, a column that is not there.

    Without a sample the columns are not known and go unchecked.
    """
    rows, labels = sample if sample is not None else ([], [])
    faults = []
    for path, text in templates.items():
        known: dict[str, Any] = {} if path == TARGET else {"labels": labels}
        try:
            check_template(text, dotted(path))
            for row in rows:
                context = {**_JUDGED, "row": row} if path == QUESTION else {**row, **known}
                render(text, context, dotted(path))
        except DataError as error:
            faults.append(Fault(str(error), path))
    return faults


def sample_of(dataset: Dataset) -> Sample:
    """The first rows of every split."""
    rows = [example.fields for part in dataset.splits.values() for example in part[:SAMPLE]]
    return rows, dataset.labels


def _rows(loaded: LoadedSpec) -> tuple[list[Fault], Sample | None]:
    source = loaded.spec.data.source
    if source is not None and source.startswith(BUILTIN):
        row = DATASETS.load(source.removeprefix(BUILTIN)).example
        return [], ([row], _labels([row], loaded.spec.task))
    if not _is_light(loaded):
        return [], None
    try:
        ref = resolve_data(loaded.spec.data, loaded.root)
        rows = load_rows(ref)
    except UsageError as error:
        return list(error.faults), None
    columns = list(dict.fromkeys(name for part in rows.by_split.values() for row in part for name in row))
    first = [{name: row.get(name) for name in columns} for part in rows.by_split.values() for row in part[:SAMPLE]]
    try:
        return [], sample_of(arrange(rows, ref, loaded.spec.task))
    except UsageError as error:
        return list(error.faults), (first, _labels(first, loaded.spec.task))


def _is_light(loaded: LoadedSpec) -> bool:
    """Whether the rows are in files of this machine that are read in no time."""
    try:
        sizes = [path.stat().st_size for path in data_files(loaded.spec.data, loaded.root)]
    except (OSError, UsageError):
        return False
    return len(sizes) > 0 and sum(sizes) <= LIGHT_BYTES


def _labels(rows: Sequence[dict[str, Any]], task: TaskSpec) -> list[str]:
    """The labels as far as a few rows tell; a target that cannot be rendered is told as a fault of its template."""
    if task.labels:
        return list(task.labels)
    found: set[str] = set()
    with suppress(DataError):
        found.update(render_target(task.target, row) for row in islice(rows, SAMPLE))
    return sorted(found)
