"""Cohen's kappa is scikit-learn's, and its resamples are the same number on other counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ftlab.statistics.agreement import _kappas, cohen_kappa


def test_kappa_by_hand() -> None:
    # 20 things: both say a on 8 and b on 6; agreement 0.7, chance 0.5 * 0.55 + 0.5 * 0.45 = 0.5.
    one = ["a"] * 10 + ["b"] * 10
    other = ["a"] * 8 + ["b"] * 2 + ["a"] * 4 + ["b"] * 6
    found = cohen_kappa(one, other, seed=0)
    assert found.value == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found.low is not None
    assert found.high is not None
    assert -0.1 < found.low < 0.4 < found.high < 0.9
    assert found.n == 20
    assert found == cohen_kappa(one, other, seed=0)


def test_every_resample_is_what_scikit_learn_says() -> None:
    rng = np.random.default_rng(1)
    tables = rng.integers(0, 5, (30, 9)) + np.eye(3, dtype=int).reshape(-1)
    for table, kappa in zip(tables, _kappas(tables, 3), strict=True):
        cells = np.repeat(np.arange(9), table)
        assert kappa == pytest.approx(cohen_kappa_score(cells // 3, cells % 3))


def test_labels_of_one_kind_have_no_kappa_and_perfect_agreement_no_interval() -> None:
    assert cohen_kappa(["a"] * 30, ["a"] * 30, 0).value is None
    assert cohen_kappa([], [], 0).value is None
    perfect = cohen_kappa(["a", "b"] * 15, ["a", "b"] * 15, 0)
    assert (perfect.value, perfect.low) == (1.0, None)
    with pytest.raises(ValueError, match="zip"):
        cohen_kappa(["a"], [], 0)
