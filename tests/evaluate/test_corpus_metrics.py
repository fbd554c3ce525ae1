"""Metrics that are no mean of scores: how outputs differ among each other, perplexity, and their intervals."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.evaluate.metrics import variety
from ftlab.evaluate.metrics.base import Answer, Metric
from ftlab.evaluate.metrics.likelihood import Perplexity
from ftlab.evaluate.metrics.overlap import Bleu
from ftlab.evaluate.metrics.variety import DistinctOutputs, SelfOverlap
from ftlab.statistics.paired import paired_weighted
from ftlab.testing.metric_contract import DescriptionContract, MetricContract, text_answers


class TestDistinctOutputs(DescriptionContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return DistinctOutputs()

    @pytest.fixture
    def answers(self) -> list[Answer]:
        return text_answers()

    @pytest.fixture
    def others(self, answers: list[Answer]) -> list[Answer]:
        """A model that collapsed: most outputs are one."""
        return [replace(one, output="so" if index % 3 else one.output) for index, one in enumerate(answers)]


class TestSelfOverlap(TestDistinctOutputs):
    @pytest.fixture
    def metric(self) -> Metric:
        return SelfOverlap()


class TestPerplexity(MetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Perplexity()

    @pytest.fixture
    def labels(self) -> list[str]:
        return []

    @pytest.fixture
    def answers(self) -> list[Answer]:
        chance = random.Random(0)
        return [replace(one, target_nats=chance.expovariate(0.5)) for one in text_answers()]

    @pytest.fixture
    def perfect(self, answers: list[Answer]) -> list[Answer]:
        return [replace(one, target_nats=0.0) for one in answers]

    @pytest.fixture
    def others(self, answers: list[Answer]) -> list[Answer]:
        return [replace(one, target_nats=(one.target_nats or 0.0) / 2) for one in answers]


def said(*outputs: str) -> list[Answer]:
    return [Answer(f"e{index}", output, None, "") for index, output in enumerate(outputs)]


def test_distinct_outputs_by_hand() -> None:
    # Six pairs of four outputs; the three of "a" make three equal pairs.
    assert DistinctOutputs().aggregate(said("a", "A ", "b", "a"), []) == pytest.approx(3 / 6)
    assert DistinctOutputs().aggregate(said("a", "b", "c"), []) == 1.0
    assert DistinctOutputs().aggregate(said("a", "a", "a"), []) == 0.0
    assert DistinctOutputs().aggregate(said("a"), []) is None


def test_self_overlap_by_hand() -> None:
    # {red, house} and {red, car}: 1 of 3 words; both share nothing with {x}; two empty outputs are the same.
    assert SelfOverlap().aggregate(said("red house", "red red car", "x"), []) == pytest.approx((1 / 3) / 3)
    assert SelfOverlap().aggregate(said("", ""), []) == 1.0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab ", max_size=6), min_size=2, max_size=12), st.randoms())
def test_variety_equals_the_plain_mean_over_pairs_in_any_order(outputs: list[str], chance: random.Random) -> None:
    answers = said(*outputs)
    pairs = [(i, j) for i in range(len(outputs)) for j in range(i)]
    texts = [" ".join(output.split()) for output in outputs]
    differ = sum(texts[i] != texts[j] for i, j in pairs) / len(pairs)
    assert DistinctOutputs().aggregate(answers, []) == pytest.approx(differ)
    words = [set(output.split()) for output in outputs]
    jaccard = [len(words[i] & words[j]) / len(words[i] | words[j]) if words[i] | words[j] else 1.0 for i, j in pairs]
    assert SelfOverlap().aggregate(answers, []) == pytest.approx(sum(jaccard) / len(pairs))
    shuffled = chance.sample(answers, len(answers))
    assert SelfOverlap().interval(shuffled, [], 0) == SelfOverlap().interval(answers, [], 0)


def test_of_many_outputs_the_same_are_compared_for_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variety, "MOST", 20)
    answers = text_answers(60)
    interval = DistinctOutputs().interval(answers, [], 0)
    assert interval.n == 20
    assert interval.value == DistinctOutputs().aggregate(answers[::-1], [])
    assert DistinctOutputs().compare(answers, answers[:], [], 0).estimate == 0.0


def test_a_model_that_collapsed_is_seen() -> None:
    answers = text_answers(200)
    collapsed = [replace(one, output="the same answer") for one in answers]
    for metric in (DistinctOutputs(), SelfOverlap()):
        result = metric.compare(answers, collapsed, [], 0)
        assert result.high is not None
        assert result.high < -0.5
        assert result.p is not None
        assert result.p < 0.01


def test_the_interval_of_variety_is_not_pulled_by_copies() -> None:
    """Resampling repeats examples; were a pair of copies counted as sameness, no interval would hold its own value."""
    chance = random.Random(0)
    answers = said(*(chance.choice("abcdefghij") for _ in range(200)))
    interval = DistinctOutputs().interval(answers, [], 0)
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < interval.value - 0.001
    assert interval.value + 0.001 < interval.high


def test_perplexity_by_hand() -> None:
    answers = [replace(one, target_nats=nats) for one, nats in zip(said("a", "b", "c"), (1.0, 3.0, None), strict=True)]
    assert Perplexity().aggregate(answers, []) == pytest.approx(math.exp(2.0))
    assert Perplexity().score(answers[1]) == 3.0
    assert Perplexity().aggregate(answers[2:], []) is None
    assert Perplexity().aggregate([replace(answers[0], target_nats=1000.0)], []) is None


@pytest.mark.parametrize("metric", [Bleu(), Perplexity()], ids=["bleu", "perplexity"])
def test_an_interval_over_examples_covers_what_it_claims(metric: Metric) -> None:
    """50 samples of 60 examples from a population of 3,000: at 95% fewer than 40 hits happen once in 20,000 times."""
    chance = random.Random(1)
    population = [replace(one, target_nats=chance.gauss(2.0, 0.5)) for one in text_answers(3000, seed=5)]
    truth = metric.aggregate(population, [])
    assert truth is not None
    hits = 0
    for draw in range(50):
        interval = metric.interval(random.Random(draw).sample(population, 60), [], draw)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= truth <= interval.high
    assert hits >= 40


def test_a_statistic_that_is_a_mean_is_compared_as_a_mean() -> None:
    rng = np.random.default_rng(0)
    gain = rng.normal(0.3, 1.0, 400)
    result = paired_weighted(400, lambda weights: weights @ gain / weights.sum(axis=1), 0, fixed=1, broke=2)
    assert result.estimate == pytest.approx(gain.mean())
    assert result.low is not None
    assert result.high is not None
    spread = 1.96 * gain.std(ddof=1) / 20
    assert result.low == pytest.approx(gain.mean() - spread, abs=0.15 * spread)
    assert result.high == pytest.approx(gain.mean() + spread, abs=0.15 * spread)
    assert (result.n, result.fixed, result.broke) == (400, 1, 2)
    turned = paired_weighted(400, lambda weights: -weights @ gain / weights.sum(axis=1), 0, fixed=2, broke=1)
    assert turned.estimate == pytest.approx(-result.estimate)
    assert turned.p == result.p


def test_what_cannot_be_compared_says_why() -> None:
    assert paired_weighted(0, lambda weights: weights[:, 0], 0, fixed=0, broke=0).method == "no examples"
    alone = paired_weighted(1, lambda weights: weights[:, 0], 0, fixed=0, broke=0)
    assert (alone.estimate, alone.method) == (1.0, "no interval: one example")
    same = paired_weighted(5, lambda weights: np.zeros(len(weights)), 0, fixed=0, broke=0)
    assert (same.estimate, same.low, same.method) == (0.0, None, "no interval: no resample differs")
    undefined = paired_weighted(5, lambda weights: np.full(len(weights), np.nan), 0, fixed=0, broke=0)
    assert (undefined.estimate, undefined.method) == (None, "no difference: undefined on these examples")
    rare = paired_weighted(5, lambda weights: np.where(weights[:, 0] > 0, 1.0, np.nan), 0, fixed=0, broke=0)
    assert (rare.estimate, rare.method) == (1.0, "no interval: undefined on resamples")
