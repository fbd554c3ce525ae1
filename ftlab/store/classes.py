"""How a run did on each label of a classification task: precision and recall with intervals, and the confusion.

Every function takes a cursor of its own (`Snapshot.cursor()`). Precision and recall are the stored metrics of the run;
the confusion is counted from its stored scores, what an output was read as against the target of its example.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import duckdb

Cursor = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `n` cases, 0 to 1, with its 95% interval; all but `n` are None where there is nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None
    n: int


NOTHING = Share(None, None, None, 0)


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One label: how many cases have it as their target, and how a run did on them."""

    label: str
    support: int
    recall: Share
    """Of the cases with this target, those read as it."""
    precision: Share
    """Of the outputs read as this label, those that are right."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """A run on one split, label by label."""

    split: str
    rows: list[ClassRow]
    """By label, in the order of the alphabet."""
    confusion: list[list[int]]
    """Cases by target (rows, as in `rows`) and by the label an output was read as (columns, as in `rows`); one column
    more, the last, counts outputs that are no label. Empty while the scores of the cases are not loaded."""

    @property
    def labels(self) -> list[str]:
        """The labels of the rows and columns."""
        return [row.label for row in self.rows]

    def mistake(self, index: int) -> tuple[str | None, int] | None:
        """What cases of one row are most often read as instead: a label, or None for no label, and how many of them.

        None where there is no mistake; of equals the first.
        """
        if not self.confusion:
            return None
        counts = [0 if column == index else n for column, n in enumerate(self.confusion[index])]
        most = max(counts)
        column = counts.index(most)
        return (self.labels[column] if column < len(self.rows) else None, most) if most else None


def class_reports(cursor: Cursor, run_id: str) -> list[ClassReport]:
    """A run's figures by label, one report for each split that it was scored on; empty where there are no labels."""
    found = cursor.execute(
        """
        SELECT split, split_part(key, '/', 1) AS figure, substr(key, strpos(key, '/') + 1) AS label, value, low, high,
            coalesce(n, 0)
        FROM metrics WHERE run_id = ? AND (starts_with(key, 'precision/') OR starts_with(key, 'recall/'))
        ORDER BY split, label
        """,
        [run_id],
    ).fetchall()
    shares: dict[str, dict[str, dict[str, Share]]] = defaultdict(lambda: defaultdict(dict))
    for split, figure, label, *numbers in found:
        shares[split][label][figure] = Share(*numbers)
    reports = []
    for split, by_label in shares.items():
        rows = [
            ClassRow(label, recall.n, recall, figures.get("precision", NOTHING))
            for label, figures in by_label.items()
            if (recall := figures.get("recall"))
        ]
        reports.append(ClassReport(split, rows, _confusion(cursor, run_id, split, [row.label for row in rows])))
    return reports


def _confusion(cursor: Cursor, run_id: str, split: str, labels: list[str]) -> list[list[int]]:
    """Every metric of an example repeats what its output was read as, so one row for each example is enough."""
    found = cursor.execute(
        """
        SELECT e.target, s.parsed, count(*) FROM (
            SELECT c.example_id, any_value(c.parsed) AS parsed
            FROM scores AS c JOIN run_stages AS r ON r.key = c.key
            WHERE r.run_id = $run AND r.kind = 'scores' AND r.name = $split AND r.state = 'complete'
            GROUP BY c.example_id) AS s
        JOIN examples AS e ON e.example_id = s.example_id AND e.split = $split
            AND e.dataset_key = (SELECT key FROM run_stages WHERE run_id = $run AND kind = 'dataset')
        GROUP BY e.target, s.parsed
        """,
        {"run": run_id, "split": split},
    ).fetchall()
    number = {label: index for index, label in enumerate(labels)}
    counts = [[0] * (len(labels) + 1) for _ in labels]
    for target, parsed, n in found:
        if target in number:
            counts[number[target]][number.get(parsed, len(labels))] += n
    return counts if found else []
