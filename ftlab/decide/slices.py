"""Where an arm does worst: its difference to the best prompt on parts of the rows. Exploration, and named so.

Slices are the labels, the values of columns with few of them, and short, middle and long texts. A slice is looked at
from `LEAST` rows on; the p values of all that were looked at are Benjamini and Hochberg's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from ftlab import text
from ftlab.decide.facts import ArmFacts
from ftlab.decide.measure import Blocks, Floats, Mask
from ftlab.decide.pairs import on_shared
from ftlab.statistics.multiple import benjamini_hochberg
from ftlab.statistics.paired import PairedResult

LEAST = 10
"""Rows below which a difference says nothing about a slice."""
MOST_VALUES = 12
"""A column with more values is no column of groups."""
MOST_SLICES = 60


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One row as slices see it."""

    fields: Mapping[str, object]
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the rows and the arm's difference on it."""

    name: str
    """`label: Surgery`, `column: value`, `text: long`."""
    result: PairedResult
    p_adjusted: float | None


def read_rows(
    cursor: duckdb.DuckDBPyConnection, keys: Sequence[str], metric: str, datasets: Sequence[str], split: str
) -> list[SliceRow]:
    """The rows that scores are of, aligned with what `ftlab.decide.measure.example_scores` gives the same keys."""
    found = cursor.execute(
        "SELECT DISTINCT s.example_id, e.fields_json, e.target, e.text "
        "FROM scores s JOIN examples e USING (example_id) WHERE s.metric = ? AND s.score IS NOT NULL "
        "AND s.key IN (SELECT unnest(?)) AND e.dataset_key IN (SELECT unnest(?)) AND e.split = ? "
        "ORDER BY s.example_id",
        [metric, list(keys), list(datasets), split],
    ).fetchall()
    return [SliceRow(json.loads(fields or "{}"), target or "", words or "") for _, fields, target, words in found]


def masks(rows: Sequence[SliceRow], labelled: bool) -> dict[str, Mask]:
    """Every slice of at least `LEAST` rows by its name, shape (rows,); of equal slices the first alone."""
    found: dict[str, Mask] = {}
    seen: set[bytes] = set()
    for name, mask in _named(rows, labelled):
        size = int(mask.sum())
        if LEAST <= size < len(rows) and mask.tobytes() not in seen and len(found) < MOST_SLICES:
            seen.add(mask.tobytes())
            found[name] = mask
    return found


def _named(rows: Sequence[SliceRow], labelled: bool) -> Iterator[tuple[str, Mask]]:
    if labelled:
        yield from _values("label", [row.target for row in rows])
    lengths = np.array([len(row.text) for row in rows])
    if len(set(lengths.tolist())) > 2:
        first, second = np.quantile(lengths, [1 / 3, 2 / 3])
        yield "text: short", lengths <= first
        yield "text: middle", (lengths > first) & (lengths <= second)
        yield "text: long", lengths > second
    for column in dict.fromkeys(name for row in rows for name in row.fields):
        values = [row.fields.get(column) for row in rows]
        if all(isinstance(value, (str, int, bool)) or value is None for value in values):
            yield from _values(column, [None if value is None else str(value) for value in values], MOST_VALUES)


def _values(name: str, values: Sequence[str | None], most: int | None = None) -> Iterator[tuple[str, Mask]]:
    counts = Counter(value for value in values if value is not None)
    if len(counts) < 2 or (most is not None and len(counts) > most):
        return
    held = np.array(values, dtype=object)
    for value in sorted(counts, key=lambda value: (-counts[value], value)):
        yield f"{text.one_line(name, 40)}: {text.one_line(value, 60)}", held == value


def slices(
    arm: ArmFacts,
    before: Floats,
    after: Floats,
    sign: float,
    seed: int,
    parts: Mapping[str, Mask],
    blocks: Blocks,
) -> list[Slice]:
    """The arm against the baseline on every part; scores are `(seeds, examples)`."""
    results = {
        name: on_shared(arm, before[:, mask], after[:, mask], sign, seed, blocks.of(mask))[1]
        for name, mask in parts.items()
    }
    known = {name: result for name, result in results.items() if result.n >= LEAST and result.estimate is not None}
    adjusted = benjamini_hochberg([result.p for result in known.values()])
    return [Slice(name, result, p) for (name, result), p in zip(known.items(), adjusted, strict=True)]
