"""Cluster-robust intervals: equal to statsmodels' where those hold, and covering where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from ftlab.statistics.clusters import cluster_mean, cluster_numbers, clustered_difference
from ftlab.statistics.paired import paired_difference
from ftlab.testing.simulations import about, at_least, covers, simulate


def test_clusters_of_one_size_give_statsmodels_robust_interval() -> None:
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(15), 6)
    values = rng.normal(0.1, 1, 90) + rng.normal(0, 0.7, 15)[clusters]
    found = cluster_mean(values, clusters)
    plain = OLS(values, np.ones((90, 1)))
    fit = plain.fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    assert found.error == pytest.approx(fit.bse[0], rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)
    assert found.p == pytest.approx(fit.pvalues[0], rel=1e-9)
    assert found.freedom == pytest.approx(14)
    assert found.design_effect == pytest.approx((fit.bse[0] / plain.fit().bse[0]) ** 2)


def test_clusters_of_one_example_give_the_ordinary_t_interval() -> None:
    from scipy.stats import ttest_1samp

    values = np.random.default_rng(1).normal(0.2, 1, 40)
    found = cluster_mean(values, np.arange(40))
    expected = ttest_1samp(values, 0.0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.design_effect == pytest.approx(1.0)


SIZES = {
    "5 equal": [8] * 5,
    "20 equal": [8] * 20,
    "20 unequal": [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 21, 30],
    "one holds half": [2] * 30 + [60],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_the_mean_of_clustered_values_is_covered(sizes: list[int], share: float) -> None:
    """1,500 simulations each; equal clusters cover 95%, unequal ones at least 94%."""
    rng, runs = np.random.default_rng(len(sizes)), 1500
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    hits = 0
    for _ in range(runs):
        own = rng.normal(0, np.sqrt(share), len(sizes))[clusters]
        found = cluster_mean(own + rng.normal(0, np.sqrt(1 - share), clusters.size), clusters)
        hits += covers(found.low, 0, found.high)
    if len(set(sizes)) == 1:
        assert about(hits, runs, 0.95)
    else:
        assert at_least(hits, runs, 0.94)


def test_a_difference_of_clustered_scores_is_covered_where_the_ordinary_interval_is_not() -> None:
    """600 simulations of 40 documents with 6 questions each, on which arms have good and bad documents."""
    rng, runs = np.random.default_rng(3), 600
    clusters = np.repeat(np.arange(40), 6)
    names = [f"document {number}" for number in clusters]
    robust = ordinary = 0
    for index in range(runs):
        before, after = simulate(rng, [0.5, 0.6], 240, agreement=0.3, clusters=clusters, by_cluster=0.4)[:, 0].tolist()
        found, groups = clustered_difference(before, after, names, index)
        plain = paired_difference(before, after, index)
        assert groups == 40
        robust += covers(found.low, 0.1, found.high)
        ordinary += covers(plain.low, 0.1, plain.high)
    assert about(robust, runs, 0.95)
    assert ordinary < 0.85 * runs


def test_rare_changes_in_clusters_are_covered() -> None:
    """600 simulations of 30 clusters of 10 in which 1% of the examples is fixed: the robust error alone is often 0."""
    rng, runs, hits = np.random.default_rng(4), 600, 0
    names = np.repeat(np.arange(30), 10).tolist()
    for index in range(runs):
        after = (rng.random(300) < 0.01).astype(float).tolist()
        found, _ = clustered_difference([0.0] * 300, after, names, index)
        hits += covers(found.low, 0.01, found.high)
    assert at_least(hits, runs, 0.95)


def test_clusters_never_shorten_an_interval() -> None:
    rng = np.random.default_rng(5)
    before, after = (rng.random((2, 60)) < 0.5).astype(float).tolist()
    plain = paired_difference(before, after, 0)
    found, groups = clustered_difference(before, after, [number // 2 for number in range(60)], 0)
    assert (groups, found.estimate, found.fixed, found.broke) == (30, plain.estimate, plain.fixed, plain.broke)
    assert found.low <= plain.low < plain.high <= found.high
    assert found.p >= plain.p
    assert found.method.startswith("cluster-robust t over 30 clusters; at least ")


def test_one_cluster_or_no_variation_has_no_robust_interval() -> None:
    found, groups = clustered_difference([0.0, 1.0, 0.0], [1.0, 1.0, 0.0], ["a", "a", "a"], 0)
    assert (groups, found.low, found.high, found.p, found.method) == (1, None, None, None, "no interval: one cluster")
    same = cluster_mean([0.5, 0.5, 0.5], np.array([0, 1, 1]))
    assert (same.estimate, same.low, same.error, same.p, same.clusters) == (0.5, None, None, None, 2)
    balanced = cluster_mean([0.0, 1.0, 0.0, 1.0], np.array([0, 0, 1, 1]))
    assert (balanced.estimate, balanced.low, balanced.error) == (0.5, None, None)
    found, groups = clustered_difference([0.0] * 8, [0.0] * 8, list("aabbccdd"), 0)
    assert found.low is not None
    assert found.low < 0
    assert "(fewer than 5)" in found.method
    assert clustered_difference([], [], [], 0)[0].method == "no examples"


def test_clusters_are_numbered_in_the_order_of_arrival() -> None:
    assert cluster_numbers(["b", "a", "b", 3]).tolist() == [0, 1, 0, 2]


def test_a_cluster_is_needed_for_each_value() -> None:
    with pytest.raises(ValueError, match="found 2, 2 and 1"):
        clustered_difference([0.0, 1.0], [1.0, 1.0], ["a"], 0)
    with pytest.raises(ValueError, match="each with its cluster"):
        cluster_mean([0.1, 0.2], np.array([0]))
    with pytest.raises(ValueError, match="each with its cluster"):
        cluster_mean([], np.array([], dtype=np.int64))
