"""How far two ways of labelling the same things agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ftlab.statistics.intervals import Interval, bootstrap_counts


def cohen_kappa(one: Sequence[str], other: Sequence[str], seed: int) -> Interval:
    """Cohen's kappa of two labellings of the same things, with a bootstrap interval over the things.

    It has no value where both only ever give the same one label: chance alone then explains all agreement.
    Raises ValueError for labellings of different lengths.
    """
    from sklearn.metrics import cohen_kappa_score

    labels = sorted({*one, *other})
    codes = {label: code for code, label in enumerate(labels)}
    size = len(labels)
    cells = np.array([codes[a] * size + codes[b] for a, b in zip(one, other, strict=True)], dtype=np.int64)
    if size < 2:
        return Interval(None, None, None, len(cells), "undefined: every label is the same" if size else "no examples")
    value = float(cohen_kappa_score(one, other))
    return replace(bootstrap_counts(cells, size * size, lambda counts: _kappas(counts, size), seed), value=value)


def _kappas(counts: np.ndarray, size: int) -> np.ndarray:
    """The kappa of each table of counts `(draws, size * size)`, `(draws,)`: scikit-learn's number, for many at once.

    A resample with one label left has no kappa; both sides agree on all of it, and it counts as 1.
    """
    tables = counts.reshape(-1, size, size) / counts.sum(axis=1)[:, None, None]
    agreed = np.trace(tables, axis1=1, axis2=2)
    chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    known = chance < 1.0 - 1e-12
    return np.where(known, (agreed - chance) / np.where(known, 1.0 - chance, 1.0), 1.0)
