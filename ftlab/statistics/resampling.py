"""Draws of whole examples (or whole clusters of them), as counts: the one source of every bootstrap over many columns.

Two callers with the same `seed`, number of units and number of draws get the same resamples, so what they say about
several arms (intervals, the chance to be best) rests on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HELD = 2**19
"""Counts held at once."""
_CHUNK = 500
"""Draws per matrix product, at most."""


def replicates(statistic: Callable[[Floats], Floats], units: int, seed: int, draws: int) -> Floats:
    """`statistic` on `draws` resamples of `units` units, in chunks that bound the memory; first axis `draws`.

    `statistic` maps counts `(some draws, units)`, how often each unit was drawn, to an array whose first axis is draws.
    """
    rng = np.random.default_rng(seed)
    step = max(1, min(_CHUNK, _HELD // units))
    return np.concatenate([statistic(counts(rng, min(step, draws - start), units)) for start in range(0, draws, step)])


def resampled_means(
    values: Floats, seed: int, draws: int, clusters: NDArray[np.int64] | None = None
) -> tuple[Floats, int]:
    """The column means of `values` `(n, k)` on resamples of its rows, `(draws, k)`, and how many units were drawn from.

    NaN stands for an example that a column has no value for; each column needs one number. `clusters` `(n,)`: whole
    clusters are drawn instead of rows. A draw may miss every number of a column: it then holds the column's mean.
    """
    present = np.isfinite(values)
    filled, mask = np.where(present, values, 0.0), present.astype(np.float64)
    means = filled.sum(axis=0) / mask.sum(axis=0)
    if clusters is not None:
        numbers = np.unique(clusters, return_inverse=True)[1]
        filled, mask = _sums(filled, numbers), _sums(mask, numbers)

    def statistic(drawn: Floats) -> Floats:
        total = drawn @ mask
        return np.where(total > 0, (drawn @ filled) / np.maximum(total, 1e-12), means)

    return replicates(statistic, len(mask), seed, draws), len(mask)


def _sums(rows: Floats, numbers: NDArray[np.int64]) -> Floats:
    """The sum of the rows of each cluster, shape (clusters, k)."""
    sums = np.zeros((int(numbers.max()) + 1, rows.shape[1]))
    np.add.at(sums, numbers, rows)
    return sums


def counts(rng: np.random.Generator, draws: int, units: int) -> Floats:
    """How often each of `units` units is drawn in as many draws with replacement, shape (draws, units).

    The distribution of `Generator.multinomial` with equal shares; counting drawn indices is many times as fast.
    """
    drawn = rng.integers(0, units, size=(draws, units)) + np.arange(draws)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units).astype(np.float64)
