"""Data sets from a hub, by the `datasets` library. Data files only: no script of a data set is ever run."""

from __future__ import annotations

from typing import Any

from ftlab.data.values import Row, plain_row
from ftlab.errors import DataError, first_line
from ftlab.events import EventType, Reporter
from ftlab.hub import unreachable

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What publishers call their splits, and what ftlab calls them. Splits of other names are left out."""


def load_hub(repo: str, commit: str, subset: str | None, report: Reporter) -> dict[str | None, list[Row]]:
    """The rows of a hub data set at `commit`, by split; under None when it has but one split.

    A column of class numbers becomes the classes' names, a class of -1 (unknown) None.
    Raises DataError for an unknown or missing subset and for splits of unknown names, FetchError without a network.
    """
    import datasets

    datasets.disable_progress_bars()
    report(EventType.PROGRESS, phase="fetch", done=0, total=1, unit="data sets", name=repo)
    try:
        found: Any = datasets.load_dataset(repo, subset, revision=commit)
    except ValueError as error:
        # Both an unknown and a missing subset; the message lists those that there are.
        raise DataError(f"data set {repo}: {' '.join(str(error).split())[:400]}; name one as data.subset") from error
    except Exception as error:
        if isinstance(error, RuntimeError) and "script" in str(error):
            raise DataError(f"data set {repo}: {first_line(error)}; save it as Parquet and name the files") from error
        raise unreachable("dataset", repo, error) from error
    report(EventType.PROGRESS, phase="fetch", done=1, total=1, unit="data sets", name=repo)
    splits = {SPLIT_NAMES[name]: split for name, split in found.items() if name in SPLIT_NAMES}
    if "train" in splits:
        return {name: _rows(split, f"{repo} ({name})") for name, split in splits.items()}
    if len(found) == 1:
        (name, only), *_ = found.items()
        return {None: _rows(only, f"{repo} ({name})")}
    raise DataError(f"data set {repo}: expected a split called train, found {', '.join(found)}; name files instead")


def _rows(split: Any, place: str) -> list[Row]:
    names = {
        column: feature.names for column, feature in split.features.items() if type(feature).__name__ == "ClassLabel"
    }
    rows = []
    for number, item in enumerate(split, 1):
        for column, known in names.items():
            value = item[column]
            item[column] = known[value] if value is not None and value >= 0 else None
        rows.append(plain_row(item, f"{place}: row {number}"))
    return rows
