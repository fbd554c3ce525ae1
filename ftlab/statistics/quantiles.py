"""A quantile of a sample with the interval that its order statistics give: no law is assumed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ftlab.statistics.intervals import Interval
from ftlab.statistics.level import confidence


def quantile(values: Sequence[float], p: float) -> Interval:
    """The p-quantile (median-unbiased, Hyndman and Fan 1996, type 8) of finite values, 0 < p < 1.

    An end that so few values cannot give is None: the 95% interval of the 95th percentile has an upper end from 72
    values on. Raises ValueError for a p outside ]0, 1[.
    """
    from scipy.stats import quantile_test

    if not 0.0 < p < 1.0:
        raise ValueError(f"expected a quantile between 0 and 1, found {p}")
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        return Interval(None, None, None, 0, "no values")
    found = float(np.quantile(sample, p, method="median_unbiased"))
    ends = quantile_test(sample, p=p).confidence_interval(confidence())
    low, high = (float(end) if math.isfinite(end) else None for end in (ends.low, ends.high))
    return Interval(found, low, high, int(sample.size), "order statistics")
