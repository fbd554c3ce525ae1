"""What every metric must keep to. Inherit `MetricContract` in a test and give it your metric and some answers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from ftlab.evaluate.metrics.base import Answer, Metric


class MetricContract:
    """Override `metric`, and where the defaults do not fit, `answers`, `perfect` and `labels`."""

    @pytest.fixture
    def metric(self) -> Metric:
        """The metric under test."""
        raise NotImplementedError("a subclass gives the metric")

    @pytest.fixture
    def labels(self) -> list[str]:
        """Every label of the data set, with one that no example has."""
        return ["red", "green", "blue", "never seen"]

    @pytest.fixture
    def answers(self, labels: list[str]) -> list[Answer]:
        """Sixty answers: right, wrong, and no label at all."""
        chance = random.Random(0)
        targets = [chance.choice(labels[:3]) for _ in range(60)]
        parsed = [chance.choice([target, target, labels[0], labels[2], None]) for target in targets]
        return _answers(targets, parsed)

    @pytest.fixture
    def perfect(self, answers: list[Answer]) -> list[Answer]:
        """The same examples, all answered right."""
        return _answers([answer.target for answer in answers], [answer.target for answer in answers])

    def test_it_declares_itself(self, metric: Metric) -> None:
        """Name, version, direction and unit are there, and are what readers of a metric row expect."""
        assert metric.name
        assert metric.name == metric.name.strip().lower()
        assert isinstance(metric.version, str)
        assert metric.version
        assert metric.direction in ("higher", "lower")
        assert metric.unit == "share"

    def test_scores_are_finite_or_none(self, metric: Metric, answers: list[Answer]) -> None:
        """A score is a number that can be stored, or an honest None."""
        for answer in answers:
            score = metric.score(answer)
            assert score is None or math.isfinite(score)

    def test_the_aggregate_is_a_share(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """The unit says share, so the value lies between 0 and 1."""
        value = metric.aggregate(answers, labels)
        assert value is not None
        assert 0.0 <= value <= 1.0

    def test_the_aggregate_is_the_mean_where_there_are_scores(
        self, metric: Metric, answers: list[Answer], labels: list[str]
    ) -> None:
        """Paired comparisons stand on this: the mean difference of scores is the difference of the metric."""
        scores = [metric.score(answer) for answer in answers]
        known = [score for score in scores if score is not None]
        if known:
            assert metric.aggregate(answers, labels) == pytest.approx(sum(known) / len(known))

    def test_nothing_scored_is_none_and_not_zero(self, metric: Metric, labels: list[str]) -> None:
        """No answers, no value: a missing value is never 0."""
        assert metric.aggregate([], labels) is None
        interval = metric.interval([], labels, 0)
        assert (interval.value, interval.low, interval.high, interval.n) == (None, None, None, 0)
        difference = metric.compare([], [], labels, 0)
        assert (difference.estimate, difference.low, difference.high, difference.p) == (None, None, None, None)

    def test_the_interval_holds_the_aggregate(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """One value, in one place, with its ends around it and the number of examples that it rests on."""
        interval = metric.interval(answers, labels, 0)
        assert interval.value == pytest.approx(metric.aggregate(answers, labels))
        assert interval.value is not None
        assert interval.low is not None
        assert interval.high is not None
        assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
        assert interval.low < interval.high
        assert interval.n == len(answers)
        assert interval.method

    def test_one_example_is_survived(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """A run on one example has a value; whether it has an interval is the metric's business."""
        interval = metric.interval(answers[:1], labels, 0)
        assert interval.value is not None
        assert all(end is None or math.isfinite(end) for end in (interval.low, interval.high))

    def test_equal_seeds_give_equal_numbers_in_any_order(
        self, metric: Metric, answers: list[Answer], labels: list[str]
    ) -> None:
        """Nothing depends on the order of examples or on hidden randomness."""
        shuffled = random.Random(1).sample(answers, len(answers))
        assert metric.interval(answers, labels, 7) == metric.interval(shuffled, labels, 7)

    def test_perfect_answers_are_best(
        self, metric: Metric, answers: list[Answer], perfect: list[Answer], labels: list[str]
    ) -> None:
        """The direction points to the better answers."""
        some, best = metric.aggregate(answers, labels), metric.aggregate(perfect, labels)
        assert some is not None
        assert best is not None
        assert best > some if metric.direction == "higher" else best < some

    def test_a_comparison_is_the_difference_of_the_aggregates(
        self, metric: Metric, answers: list[Answer], perfect: list[Answer], labels: list[str]
    ) -> None:
        """Positive is better, whatever the direction; the ends enclose it; changes of hands are counted."""
        result = metric.compare(answers, perfect, labels, 0)
        before, after = metric.aggregate(answers, labels), metric.aggregate(perfect, labels)
        assert before is not None
        assert after is not None
        sign = 1 if metric.direction == "higher" else -1
        assert result.estimate == pytest.approx(sign * (after - before))
        assert result.low is not None
        assert result.high is not None
        assert result.low <= sign * (after - before) <= result.high
        assert result.p is not None
        assert 0.0 <= result.p <= 1.0
        assert result.n == len(answers)
        assert result.broke == 0
        assert result.fixed > 0

    def test_a_comparison_with_itself_is_zero(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """Equal answers differ by exactly nothing."""
        result = metric.compare(answers, answers, labels, 0)
        assert (result.estimate, result.fixed, result.broke) == (0.0, 0, 0)


def _answers(targets: Sequence[str], parsed: Sequence[str | None]) -> list[Answer]:
    return [
        Answer(f"id{index}", label if label is not None else "no idea", label, target)
        for index, (target, label) in enumerate(zip(targets, parsed, strict=True))
    ]
