"""p values of many questions at once.

Holm where one false claim is too many (decisions): it bounds the chance of any. Benjamini-Hochberg where a known share
of false leads is welcome (exploring slices): it bounds their expected share among what is called a find.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values (1979), in the order given; a missing one stays missing and counts for nothing.

    Raises ValueError when a value lies outside [0, 1].
    """
    return _adjusted(values, "holm")


def benjamini_hochberg(values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's adjusted p values (1995), in the order given; a missing one stays missing.

    Calling all at most q finds expects a share of at most q of false ones, for independent or positively dependent
    questions (Benjamini and Yekutieli 2001). Raises ValueError when a value lies outside [0, 1].
    """
    return _adjusted(values, "fdr_bh")


def _adjusted(values: Sequence[float | None], method: str) -> list[float | None]:
    from statsmodels.stats.multitest import multipletests

    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not known.size:
        return [None for _ in values]
    if not ((known >= 0.0) & (known <= 1.0)).all():
        wrong = next(value for value in known if not 0.0 <= value <= 1.0)
        raise ValueError(f"expected p values from 0 to 1, found {wrong}")
    adjusted = iter(multipletests(known, method=method)[1].tolist())
    return [None if value is None else float(next(adjusted)) for value in values]
