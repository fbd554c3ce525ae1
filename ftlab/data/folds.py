"""Folds: the rows of train and validation together, each of them held out for validation once.

Test stays as it is, sealed and outside of all folds.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ftlab.data.split import order
from ftlab.errors import DataError

AT = ("data", "splits", "folds")


def fold_numbers(
    ids: Sequence[str], strata: Sequence[str] | None, groups: Sequence[str] | None, folds: int, seed: int
) -> list[int]:
    """The fold, from 0, in which each row is held out.

    The rows' own content and the seed decide, not the order in which they come. With `strata` (one label per row) a
    label's rows in any two folds differ by at most one; with `groups` a fold holds whole groups, and labels are spread
    as evenly as these allow. Labels that are all rarer than the folds cannot be spread, and are not. Raises DataError
    when there are fewer rows or groups than folds.
    """
    import numpy as np

    units, what = (len(set(groups)), "groups") if groups is not None else (len(ids), "rows")
    if units < folds:
        raise DataError(
            f"data.splits.folds: expected at most as many folds as there are {what} in train and validation, found "
            f"{folds} folds and {units:,} {what}; lower it",
            at=AT,
        )
    if strata is not None and max(Counter(strata).values()) < folds:
        strata = None
    shuffled = sorted(range(len(ids)), key=lambda index: order(seed, ids[index]))
    labels = None if strata is None else [strata[index] for index in shuffled]
    belong = None if groups is None else [groups[index] for index in shuffled]
    numbers = [0] * len(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than folds is missing in some: known
        for fold, (_, held_out) in enumerate(
            _splitter(labels is not None, belong is not None, folds, seed).split(np.zeros(len(ids)), labels, belong)
        ):
            for position in held_out:
                numbers[shuffled[position]] = fold
    return numbers


def _splitter(stratified: bool, grouped: bool, folds: int, seed: int) -> Any:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    kinds = {
        (False, False): KFold,
        (True, False): StratifiedKFold,
        (False, True): GroupKFold,
        (True, True): StratifiedGroupKFold,
    }
    return kinds[stratified, grouped](n_splits=folds, shuffle=True, random_state=seed % 2**32)
