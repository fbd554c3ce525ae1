"""Metrics that exist over many examples only: macro F1 and BLEU, alone and against another system."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ftlab.evaluate.metrics.classification import macro_f1_of
from ftlab.statistics import intervals, paired
from ftlab.statistics.intervals import Interval, bootstrap_counts, bootstrap_statistic, bootstrap_weighted
from ftlab.statistics.paired import PairedResult, paired_counts, paired_difference, paired_weighted
from ftlab.testing.simulations import about, at_least, covers

Statistic = Callable[[np.ndarray], np.ndarray]


def bootstrap_sums(parts: np.ndarray, statistic: Statistic, seed: int) -> Interval:
    """A statistic of the sums of what each example adds."""
    return bootstrap_weighted(len(parts), lambda weights: statistic(weights @ parts), seed)


def paired_sums(
    before: np.ndarray, after: np.ndarray, statistic: Statistic, seed: int, *, fixed: int = 0, broke: int = 0
) -> PairedResult:
    """The difference of such a statistic."""

    def difference(weights: np.ndarray) -> np.ndarray:
        return statistic(weights @ after) - statistic(weights @ before)

    return paired_weighted(len(before), difference, seed, fixed=fixed, broke=broke)


def paired_indices(
    n: int, difference: Callable[[np.ndarray], float], seed: int, *, fixed: int = 0, broke: int = 0
) -> PairedResult:
    """The same by drawing indices one resample at a time: slow, and plain enough to be right."""

    def of_weights(weights: np.ndarray) -> np.ndarray:
        return np.array([difference(np.repeat(np.arange(n), row.astype(int))) for row in weights])

    return paired_weighted(n, of_weights, seed, fixed=fixed, broke=broke)


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (intervals, paired):
        monkeypatch.setattr(module, "STATISTIC_RESAMPLES", 799)


def confusion(shares: list[float], accuracy: float) -> np.ndarray:
    """How likely each pair of target and output is; the last row and column, outputs that are no label, stay empty."""
    side = len(shares)
    table = np.zeros((side + 1, side + 1))
    table[:side, :side] = np.outer(shares, np.full(side, (1 - accuracy) / side))
    table[np.arange(side), np.arange(side)] += accuracy * np.array(shares)
    return table.ravel()


@pytest.mark.parametrize(
    ("shares", "n"),
    [([0.25] * 4, 60), ([0.1] * 10, 150), ([0.5, 0.3, 0.18, 0.02], 600)],
    ids=["4 labels", "10 labels, 15 each", "12 of a rare one"],
)
def test_macro_f1_is_covered(fewer_resamples: None, shares: list[float], n: int) -> None:
    """500 simulations each."""
    rng, runs, hits, size = np.random.default_rng(n), 500, 0, len(shares)
    law = confusion(shares, 0.6)
    truth = float(macro_f1_of(law[None, :], size)[0])
    for index in range(runs):
        outcomes = rng.choice(law.size, size=n, p=law)
        found = bootstrap_counts(outcomes, law.size, lambda counts: macro_f1_of(counts, size), index)
        hits += covers(found.low, truth, found.high)
    assert about(hits, runs, 0.95)


def test_a_difference_of_macro_f1_is_covered(fewer_resamples: None) -> None:
    """500 simulations of two systems with accuracies of 60% and 66% that answer the same 200 examples of 3 labels."""
    rng, runs, hits, size = np.random.default_rng(1), 500, 0, 3
    shares, side = [0.5, 0.3, 0.2], 4
    tables = [confusion(shares, accuracy).reshape(side, side) for accuracy in (0.6, 0.66)]
    truth = float(np.diff([macro_f1_of(table.ravel()[None, :], size)[0] for table in tables])[0])
    answers = [table[:size, :size] / np.array(shares)[:, None] for table in tables]

    def difference(counts: np.ndarray) -> np.ndarray:
        cube = counts.reshape(-1, side, side, side)
        one, other = cube.sum(axis=3), cube.sum(axis=2)
        return macro_f1_of(other.reshape(-1, side**2), size) - macro_f1_of(one.reshape(-1, side**2), size)

    for index in range(runs):
        targets = rng.choice(3, size=200, p=shares)
        # The same uniform number decides both answers, so that the systems mostly agree.
        luck = rng.random(200)
        before, after = ((luck[:, None] > law.cumsum(axis=1)[targets]).sum(axis=1).clip(0, 2) for law in answers)
        outcomes = (targets * side + before) * side + after
        found = paired_counts(outcomes, side**3, difference, before == targets, after == targets, index)
        hits += covers(found.low, truth, found.high)
    assert at_least(hits, runs, 0.95)


def bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU from summed lengths, matches and n-grams, `(draws, 10)`, in sacrebleu's order, no smoothing."""
    hypothesis, reference, matches, total = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:]
    brevity = np.exp(np.minimum(0.0, 1.0 - reference / hypothesis))
    return 100 * brevity * np.exp(np.log(matches / total).mean(axis=1))


def sentences(rng: np.random.Generator, n: int, quality: float) -> tuple[np.ndarray, np.ndarray]:
    """What each of n outputs adds to the sums, shape (n, 10), and what it adds on average, shape (10,)."""
    orders = np.arange(4)
    length = rng.integers(8, 25, n)
    good = rng.beta(20 * quality, 20 * (1 - quality), n)
    total = length[:, None] - orders
    matches = rng.binomial(total, good[:, None] ** (1 + orders))
    parts = np.column_stack([length, length + rng.integers(0, 3, n), matches, total])
    a, b = 20 * quality, 20 * (1 - quality)
    moments = np.array([np.prod([(a + step) / (a + b + step) for step in range(order + 1)]) for order in orders])
    mean = np.concatenate([[16.0, 17.0], (16.0 - orders) * moments, 16.0 - orders])
    return parts.astype(float), mean


def test_bleu_and_a_difference_of_bleu_are_covered(fewer_resamples: None) -> None:
    """500 simulations of 150 outputs of each of two systems."""
    rng, runs, alone, paired_hits = np.random.default_rng(2), 500, 0, 0
    for index in range(runs):
        before, low = sentences(rng, 150, 0.6)
        after, high = sentences(rng, 150, 0.64)
        truth = bleu(np.stack([low, high]))
        found = bootstrap_sums(before, bleu, index)
        alone += covers(found.low, truth[0], found.high)
        difference = paired_sums(before, after, bleu, index, fixed=0, broke=0)
        paired_hits += covers(difference.low, truth[1] - truth[0], difference.high)
    assert about(alone, runs, 0.95)
    assert about(paired_hits, runs, 0.95)


WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "slept"]


def texts(rng: np.random.Generator, n: int, noise: float) -> tuple[list[str], list[str]]:
    references = [[str(word) for word in rng.choice(WORDS, rng.integers(6, 15))] for _ in range(n)]
    outputs = [[str(rng.choice(WORDS)) if rng.random() < noise else word for word in line] for line in references]
    return [" ".join(line) for line in outputs], [" ".join(line) for line in references]


def test_sums_give_sacrebleus_own_score_and_its_own_interval() -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.significance import PairedTest

    rng = np.random.default_rng(3)
    outputs, references = texts(rng, 120, 0.2)
    other = [" ".join(line.split()[::-1]) if rng.random() < 0.1 else line for line in outputs]
    metric = BLEU(smooth_method="none")
    parts, changed = (np.array(metric._extract_corpus_statistics(lines, [references])) for lines in (outputs, other))
    found = bootstrap_sums(parts, bleu, 0)
    assert found.value == pytest.approx(metric.corpus_score(outputs, [references]).score)
    systems = [("one", outputs), ("other", other)]
    test = PairedTest(systems, {"BLEU": metric}, [references], test_type="bs", n_samples=1000)
    scores = test()[1]["BLEU"]
    assert (found.high - found.low) / 2 == pytest.approx(scores[0].ci, rel=0.15)
    difference = paired_sums(parts, changed, bleu, 0, fixed=0, broke=12)
    assert difference.estimate == pytest.approx(scores[1].score - scores[0].score)
    assert (difference.p <= 0.05) == (scores[1].p_value <= 0.05)
    assert (difference.fixed, difference.broke) == (0, 12)


def test_sums_and_indices_resample_alike() -> None:
    rng = np.random.default_rng(4)
    (before, _), (after, _) = sentences(rng, 100, 0.6), sentences(rng, 100, 0.7)
    by_sums = bootstrap_sums(before, bleu, 0)
    by_indices = bootstrap_statistic(100, lambda chosen: float(bleu(before[chosen].sum(axis=0)[None, :])[0]), 1)
    assert by_sums.value == pytest.approx(by_indices.value)
    assert (by_sums.low, by_sums.high) == pytest.approx((by_indices.low, by_indices.high), abs=0.6)

    def gain(chosen: np.ndarray) -> float:
        return float(np.diff(bleu(np.stack([before[chosen].sum(axis=0), after[chosen].sum(axis=0)])))[0])

    one = paired_sums(before, after, bleu, 0, fixed=60, broke=40)
    two = paired_indices(100, gain, 1, fixed=60, broke=40)
    assert one.estimate == pytest.approx(two.estimate)
    assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=0.8)
    assert (one.fixed, one.broke, one.n, one.method) == (two.fixed, two.broke, two.n, two.method)


def test_a_mean_as_a_sum_has_the_interval_of_a_mean() -> None:
    before, after = np.random.default_rng(5).random((2, 300))
    ones = np.ones(300)
    sums = paired_sums(
        np.column_stack([before, ones]),
        np.column_stack([after, ones]),
        lambda s: s[:, 0] / s[:, 1],
        0,
        fixed=0,
        broke=0,
    )
    direct = paired_difference(before.tolist(), after.tolist(), 0)
    assert (sums.estimate, sums.low, sums.high) == pytest.approx((direct.estimate, direct.low, direct.high), abs=0.006)
    assert sums.p == pytest.approx(direct.p, abs=0.03)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_examples_have_no_interval(n: int) -> None:
    parts = np.ones((n, 10))
    alone = bootstrap_sums(parts, bleu, 0)
    by_sums = paired_sums(parts, parts, bleu, 0, fixed=0, broke=0)
    by_indices = paired_indices(n, lambda chosen: 0.0, 0, fixed=0, broke=0)
    for found in (alone, by_sums, by_indices):
        assert (found.low, found.high, found.n) == (None, None, n)
        assert found.method == ("no interval: one example" if n else "no examples")


def test_no_width_and_no_value_are_said_to_be_so() -> None:
    perfect = bootstrap_counts(np.zeros(50, dtype=int), 4, lambda counts: macro_f1_of(counts, 1), 0)
    assert (perfect.value, perfect.low, perfect.method) == (1.0, None, "no interval: no resample differs")
    same = paired_indices(9, lambda chosen: 0.0, 0, fixed=0, broke=0)
    assert (same.estimate, same.low, same.p, same.method) == (0.0, None, None, "no interval: no resample differs")
    undefined = paired_indices(5, lambda chosen: 1.0 if 0 in chosen else float("nan"), 0, fixed=1, broke=0)
    assert (undefined.estimate, undefined.low) == (1.0, None)
    assert undefined.method == "no interval: undefined on resamples"
