"""A task's examples, split and ready: built from rows in memory, written to and read from the dataset stage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftlab.catalog import suggest
from ftlab.data.checks import check_dataset
from ftlab.data.folds import fold_numbers
from ftlab.data.formats import parse_json
from ftlab.data.groups import assign_groups, group_names
from ftlab.data.prompts import render_target
from ftlab.data.records import Dataset, DatasetReport, Example, Finding
from ftlab.data.sources import Rows, file_path, load_rows
from ftlab.data.split import SPLITS, assign, order, split_sizes
from ftlab.data.values import Row
from ftlab.errors import DataError, Fault, SpecPath, blame, first_line
from ftlab.events import Reporter, ignore
from ftlab.plan.identity import digest
from ftlab.plan.run import DataRef
from ftlab.spec.schema import DataSpec, SplitSpec, TaskSpec

__all__ = ["Dataset", "DatasetReport", "Example", "Finding", "build_dataset", "read_dataset", "write_dataset"]

_SAMPLE = 5
_ID_DIGITS = 20
_TEXT_COLUMNS = ("question", "text", "prompt", "instruction", "input", "sentence", "content", "document", "title")


@dataclass(slots=True)
class _Reading:
    """The rows of one source entry on their way to become examples."""

    examples: list[Example]
    duplicates: list[str]
    without_target: list[str]
    unknown: dict[str, list[int]]
    """Targets that `task.labels` does not list, with the positions of their rows."""
    not_json: list[tuple[int, str]]
    """The positions of rows whose target should be JSON and is not, each with what is wrong."""


def build_dataset(ref: DataRef, task: TaskSpec, report: Reporter = ignore, fold: int | None = None) -> Dataset:
    """Read the rows of `ref` and split them as its spec says; with `fold`, that one of its folds is held out.

    A row is known by what it holds, so neither the order of a file nor a missing cell changes where it goes. Rows
    without a target are left out and counted, duplicates are dropped before anything is split. Where the source has
    splits of its own they are kept, those that are missing are cut from train, and a whole number in `data.splits`
    draws so many rows of a split (a share, being of all rows, has no meaning there).

    Raises DataError, each fault with the part of the spec to blame, when rows cannot be read, have a target outside of
    `task.labels` or (for extraction) that is not JSON, do not suffice for the splits, or when a label to be predicted
    never occurs in train.
    """
    return arrange(load_rows(ref, report), ref, task, fold)


def arrange(rows: Rows, ref: DataRef, task: TaskSpec, fold: int | None = None) -> Dataset:
    """The same, for rows that are in memory."""
    columns = list(dict.fromkeys(name for part in rows.by_split.values() for row in part for name in row))
    text_column = _text_column(rows.by_split.values(), columns, task.target)
    readings = {
        split: _read(rows, split, columns, text_column, task, ref.spec.splits.deduplicate) for split in rows.by_split
    }
    _refuse(
        _no_column(ref.spec.cluster_by, columns),
        _without_targets(rows, readings, task),
        _outside_of_labels(rows, readings, task),
        _broken_json(rows, readings, task),
    )
    splits = _split({split: reading.examples for split, reading in readings.items()}, ref.spec, task)
    labels: list[str] = []
    if task.type == "classification":
        labels = list(task.labels or sorted({example.target for example in splits["train"]}))
        _refuse(_never_in_train(rows, splits, labels))
    if fold is not None:
        # After the labels are known: they are the same in every fold.
        splits = _held_out(splits, ref.spec, task, fold)
    dropped = [example_id for reading in readings.values() for example_id in reading.duplicates]
    untargeted = [example_id for reading in readings.values() for example_id in reading.without_target]
    findings = (*_build_findings(dropped, untargeted), *_torn(splits, ref.spec.cluster_by))
    return Dataset(splits, labels, DatasetReport(len(dropped), findings))


def write_dataset(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Write one Parquet file per split, `labels.json` and `report.json` to `folder`; returns the stage's summary.

    Columns: example_id, position, text, fields (a JSON object of all columns), target.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "example_id": pa.string(),
            "position": pa.int64(),
            "text": pa.string(),
            "fields": pa.string(),
            "target": pa.string(),
        }
    )
    for split, examples in dataset.splits.items():
        table = [asdict(example) | {"fields": json.dumps(example.fields, ensure_ascii=False)} for example in examples]
        pq.write_table(pa.Table.from_pylist(table, schema), folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(dataset.labels, ensure_ascii=False), encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(asdict(dataset.report), ensure_ascii=False), encoding="utf-8")
    counts = {split: Counter(example.target for example in part) for split, part in dataset.splits.items()}
    return {
        "rows": {split: len(part) for split, part in dataset.splits.items()},
        "dropped_duplicates": dataset.report.dropped_duplicates,
        "labels": {label: {split: counts[split][label] for split in counts} for label in dataset.labels},
        "warnings": [asdict(finding) for finding in check_dataset(dataset)],
    }


def read_dataset(folder: Path) -> Dataset:
    """What `write_dataset` wrote. Raises DataError when the files are not what it writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        splits = {
            split: [
                Example(**(row | {"fields": json.loads(row["fields"])}))
                for row in pq.read_table(folder / f"{split}.parquet").to_pylist()
            ]
            for split in SPLITS
        }
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        findings = tuple(Finding(**(item | {"example_ids": tuple(item["example_ids"])})) for item in report["findings"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{folder}: not a readable data set stage ({error}); delete the folder and run again"
        ) from error
    return Dataset(splits, labels, DatasetReport(report["dropped_duplicates"], findings))


def _refuse(*faults: Iterable[Fault]) -> None:
    if found := [fault for part in faults for fault in part]:
        raise DataError.of(found)


def _read(
    rows: Rows, split: str | None, columns: Sequence[str], text_column: str | None, task: TaskSpec, deduplicate: bool
) -> _Reading:
    reading = _Reading([], [], [], {}, [])
    seen: Counter[str] = Counter()
    for index, row in enumerate(rows.by_split[split]):
        example_id = _example_id(row)
        seen[example_id] += 1
        if seen[example_id] > 1:
            if deduplicate:
                reading.duplicates.append(example_id)
                continue
            example_id = _example_id(row, seen[example_id])
        fields = {name: row.get(name) for name in columns}
        target = _target(task.target, fields, rows.place(split, index))
        if not target:
            reading.without_target.append(example_id)
            continue
        if task.labels is not None and target not in task.labels:
            reading.unknown.setdefault(target, []).append(index)
            continue
        if task.type == "extraction" and (why := _not_json(target)):
            reading.not_json.append((index, why))
            continue
        text = "" if text_column is None or fields[text_column] is None else str(fields[text_column])
        reading.examples.append(Example(example_id, index, text, fields, target))
    return reading


def _target(template: str, fields: dict[str, Any], place: str) -> str:
    try:
        return render_target(template, fields)
    except DataError as error:
        where = f"; the row is {place}" if "fails on a row" in str(error) else ""
        raise DataError(f"{error}{where}", at=("task", "target")) from error


def _no_column(column: str | None, columns: Sequence[str]) -> Iterator[Fault]:
    if column is not None and column not in columns:
        known = ", ".join(columns[:20])
        message = f"data.cluster_by: no column {column!r}{suggest(column, columns)} (there are: {known})"
        yield Fault(message, ("data", "cluster_by"))


def _without_targets(rows: Rows, readings: Mapping[str | None, _Reading], task: TaskSpec) -> Iterator[Fault]:
    for split, reading in readings.items():
        if not reading.examples and not reading.unknown and not reading.not_json:
            message = (
                f"{rows.places[split]}: none of its {len(rows.by_split[split]):,} rows has a target; check "
                f"task.target, found {task.target!r}"
            )
            yield Fault(message, ("task", "target"))


def _outside_of_labels(rows: Rows, readings: Mapping[str | None, _Reading], task: TaskSpec) -> Iterator[Fault]:
    found = [(split, target, at) for split, part in readings.items() for target, at in part.unknown.items()]
    for split, target, positions in found[:_SAMPLE]:
        more = f" ({len(positions):,} such rows)" if len(positions) > 1 else ""
        message = (
            f"{rows.place(split, positions[0])}: the target {target!r} is not in task.labels"
            f"{suggest(target, task.labels or [])}{more}; add it there or correct the row"
        )
        yield Fault(message, ("task", "labels"))
    if len(found) > _SAMPLE:
        yield Fault(f"and {len(found) - _SAMPLE} more targets that are not in task.labels", ("task", "labels"))


def _broken_json(rows: Rows, readings: Mapping[str | None, _Reading], task: TaskSpec) -> Iterator[Fault]:
    found = [(split, index, why) for split, part in readings.items() for index, why in part.not_json]
    for split, index, why in found[:_SAMPLE]:
        message = (
            f"{rows.place(split, index)}: the target is not JSON ({why}); a task of type extraction compares JSON, "
            f"found task.target {task.target!r}: a column that holds an object is written as {{{{ column | tojson }}}}"
        )
        yield Fault(message, ("task", "target"))
    if len(found) > _SAMPLE:
        yield Fault(f"and {len(found) - _SAMPLE:,} more targets that are not JSON", ("task", "target"))


def _not_json(target: str) -> str:
    """What is wrong with a target as JSON; empty for nothing."""
    try:
        parse_json(target)
    except ValueError as error:
        return first_line(error)
    return ""


def _example_id(row: Row, occurrence: int = 1) -> str:
    """A missing cell and an absent column are the same, so that a new column in one row renames no other."""
    held = {name: value for name, value in row.items() if value is not None}
    return digest(held if occurrence == 1 else [held, occurrence], _ID_DIGITS)


def _text_column(parts: Any, columns: Sequence[str], target: str) -> str | None:
    """The column that people read: one of the usual names, else the one with the most text."""
    usual = [name for name in _TEXT_COLUMNS if name in columns and name not in target]
    if usual:
        return usual[0]
    lengths: Counter[str] = Counter()
    for part in parts:
        for row in part:
            lengths.update({name: len(value) for name, value in row.items() if isinstance(value, str)})
    return max(lengths, key=lambda name: (name not in target, lengths[name], name), default=None)


def _split(given: dict[str | None, list[Example]], data: DataSpec, task: TaskSpec) -> dict[str, list[Example]]:
    spec, column = data.splits, data.cluster_by
    pool = given[None] if None in given else given["train"]
    missing = [split for split in SPLITS if split == "train" or split not in given]
    with blame("data", "splits"):
        splits = _cut(pool, split_sizes(spec, len(pool), missing), spec, task, column)
    _refuse(_too_large(given, spec))
    for split, examples in given.items():
        if split is None or split == "train":
            continue
        size: float = getattr(spec, split)
        if size >= 1:
            examples = _cut(examples, {split: int(size)}, spec, task, column)[split]
        splits[split] = examples
    return {
        split: [replace(example, position=position) for position, example in enumerate(splits[split])]
        for split in SPLITS
    }


def _held_out(
    splits: Mapping[str, list[Example]], data: DataSpec, task: TaskSpec, fold: int
) -> dict[str, list[Example]]:
    """The same rows with one fold of train and validation as validation, and the rest as train."""
    pool = [*splits["train"], *splits["validation"]]
    ids = [example.example_id for example in pool]
    column = data.cluster_by
    groups = None if column is None else group_names([example.fields for example in pool], ids, column)
    folds = data.splits.folds
    assert folds is not None, "a run has a fold where its spec has folds"
    numbers = fold_numbers(ids, _strata(pool, data.splits, task), groups, folds, data.splits.seed)
    # In an order of their own: one that follows the labels would train on them one after another.
    shuffled = sorted(zip(pool, numbers, strict=True), key=lambda pair: order(data.splits.seed, pair[0].example_id))
    parts = {
        "train": [example for example, number in shuffled if number != fold],
        "validation": [example for example, number in shuffled if number == fold],
        "test": splits["test"],
    }
    return {
        split: [replace(example, position=position) for position, example in enumerate(rows)]
        for split, rows in parts.items()
    }


def _strata(pool: Sequence[Example], spec: SplitSpec, task: TaskSpec) -> list[str] | None:
    """One label per row, where splits are to hold labels in equal shares."""
    return [example.target for example in pool] if spec.stratify and task.type == "classification" else None


def _too_large(given: Mapping[str | None, list[Example]], spec: SplitSpec) -> Iterator[Fault]:
    for split in ("validation", "test"):
        size: float = getattr(spec, split)
        if split in given and size >= 1 and size > len(given[split]):
            message = (
                f"data.splits.{split}: expected at most the {len(given[split]):,} rows that {split} has, found {size:g}"
                "; lower it or add rows"
            )
            yield Fault(message, ("data", "splits", split))


def _cut(
    pool: list[Example], sizes: dict[str, int], spec: SplitSpec, task: TaskSpec, column: str | None
) -> dict[str, list[Example]]:
    strata = _strata(pool, spec, task)
    ids = [example.example_id for example in pool]
    if column is None:
        chosen = assign(ids, strata, sizes, spec.seed)
    else:
        groups = group_names([example.fields for example in pool], ids, column)
        chosen = assign_groups(groups, strata, sizes, spec.seed)
    return {split: [pool[index] for index in indices] for split, indices in chosen.items()}


def _never_in_train(rows: Rows, splits: dict[str, list[Example]], labels: Sequence[str]) -> Iterator[Fault]:
    known = set(labels)
    for split, examples in splits.items():
        unseen = sorted({example.target for example in examples} - known)
        if not unseen:
            continue
        given = split if split in rows.by_split else None if None in rows.by_split else "train"
        row = next(example for example in examples if example.target == unseen[0])
        index = next(index for index, fields in enumerate(rows.by_split[given]) if _same(fields, row.fields))
        at: SpecPath = file_path(given) if given == split else ("data", "splits")
        message = (
            f"{rows.place(given, index)}: {split} has the label {unseen[0]!r}{suggest(unseen[0], labels)}, which never "
            f"occurs in train ({len(unseen)} such label{'s' if len(unseen) > 1 else ''}); add training rows with it, "
            "drop its rows, or list all labels under task.labels"
        )
        yield Fault(message, at)


def _same(row: Row, fields: dict[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in fields.items())


def _torn(splits: Mapping[str, list[Example]], column: str | None) -> Iterator[Finding]:
    """A source with splits of its own may have rows of one group on both sides."""
    if column is None:
        return
    groups = {
        split: set(group_names([row.fields for row in rows], [row.example_id for row in rows], column))
        for split, rows in splits.items()
    }
    for split in ("validation", "test"):
        if shared := sorted(groups[split] & groups["train"]):
            message = (
                f"{len(shared):,} of {len(groups[split]):,} groups of {split} (by {column}) have rows in train too; "
                "what was trained on is no test"
            )
            yield Finding("group_in_train", message, len(shared))


def _build_findings(dropped: Sequence[str], untargeted: Sequence[str]) -> tuple[Finding, ...]:
    findings = []
    if dropped:
        message = f"rows that equal an earlier one, dropped before the split: {len(dropped):,}"
        findings.append(Finding("duplicates_dropped", message, len(dropped), tuple(dropped[:_SAMPLE])))
    if untargeted:
        message = f"rows without a target, left out: {len(untargeted):,}; fill in what task.target reads"
        findings.append(Finding("no_target", message, len(untargeted), tuple(untargeted[:_SAMPLE])))
    return tuple(findings)
