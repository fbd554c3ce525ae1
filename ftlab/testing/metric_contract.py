"""What every metric must keep to. Inherit one of these in a test and give it your metric:

- `MetricContract` for a metric of labels that says how good answers are;
- `TextMetricContract` for one of free text that does;
- `DescriptionContract` for a metric that describes outputs, which has no best answers; give it answers too.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

import pytest

from ftlab.evaluate.metrics.base import Answer, Metric, sign_of

UNITS = {
    "share": (0.0, 1.0),
    "ratio": (0.0, math.inf),
    "count": (0.0, math.inf),
    "nats": (0.0, math.inf),
    "perplexity": (1.0, math.inf),
    "score": (-math.inf, math.inf),
}
"""The range of each unit's values."""


class DescriptionContract:
    """What holds for any metric. Override `metric`, `answers`, and where it fits better, `others` and `labels`."""

    @pytest.fixture
    def metric(self) -> Metric:
        """The metric under test."""
        raise NotImplementedError("a subclass gives the metric")

    @pytest.fixture
    def labels(self) -> list[str]:
        """Every label of the data set; empty for a task without labels."""
        return []

    @pytest.fixture
    def answers(self, labels: list[str]) -> list[Answer]:
        """Some tens of answers on which the metric varies, with distinct ids."""
        raise NotImplementedError("a subclass gives the answers")

    @pytest.fixture
    def others(self, answers: list[Answer]) -> list[Answer]:
        """Other answers to the same examples in the same order."""
        outputs = [(answer.output, answer.parsed) for answer in answers]
        moved = outputs[1:] + outputs[:1]
        return [
            Answer(answer.example_id, output, parsed, answer.target, answer.row, answer.target_nats)
            for answer, (output, parsed) in zip(answers, moved, strict=True)
        ]

    def test_it_declares_itself(self, metric: Metric) -> None:
        """Name, version, direction, unit and tasks are there, and are what readers of a metric row expect."""
        assert isinstance(metric, Metric)
        assert re.fullmatch(r"[A-Za-z0-9_]+", metric.name)
        assert isinstance(metric.version, str)
        assert metric.version
        assert metric.direction in ("higher", "lower", "none")
        assert metric.unit in UNITS
        assert metric.tasks
        assert metric.tasks <= {"classification", "generation", "extraction"}
        assert all(field.description for field in metric.Options.model_fields.values())

    def test_scores_are_in_their_range_or_none(self, metric: Metric, answers: list[Answer]) -> None:
        """A score is a number that can be stored, or an honest None; what was read is text or None."""
        low, high = UNITS[metric.unit]
        for answer in answers:
            score = metric.score(answer)
            assert score is None or math.isfinite(score)
            assert score is None or metric.corpus or low <= score <= high
            read = metric.read(answer)
            assert read is None or isinstance(read, str)

    def test_the_aggregate_is_in_its_range(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """The unit says what a value may be."""
        value = metric.aggregate(answers, labels)
        low, high = UNITS[metric.unit]
        assert value is not None
        assert low <= value <= high
        assert math.isfinite(value)

    def test_the_aggregate_is_the_mean_unless_it_says_otherwise(
        self, metric: Metric, answers: list[Answer], labels: list[str]
    ) -> None:
        """Paired comparisons stand on this: the mean difference of scores is the difference of the metric."""
        scores = [metric.score(answer) for answer in answers]
        known = [score for score in scores if score is not None]
        if not metric.corpus:
            assert known
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
        low, high = UNITS[metric.unit]
        assert low <= interval.low <= interval.value <= interval.high <= high
        assert interval.low < interval.high
        assert 0 < interval.n <= len(answers)
        assert interval.method

    def test_one_example_is_survived(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """A run on one example may have a value; whether it has an interval is the metric's business."""
        interval = metric.interval(answers[:1], labels, 0)
        for number in (interval.value, interval.low, interval.high):
            assert number is None or math.isfinite(number)

    def test_equal_seeds_give_equal_numbers_in_any_order(
        self, metric: Metric, answers: list[Answer], others: list[Answer], labels: list[str]
    ) -> None:
        """Nothing depends on the order of examples or on hidden randomness."""
        order = random.Random(1).sample(range(len(answers)), len(answers))
        shuffled, moved = [answers[place] for place in order], [others[place] for place in order]
        assert metric.interval(answers, labels, 7) == metric.interval(shuffled, labels, 7)
        assert metric.compare(answers, others, labels, 7) == metric.compare(shuffled, moved, labels, 7)

    def test_a_comparison_is_the_difference_of_the_aggregates(
        self, metric: Metric, answers: list[Answer], others: list[Answer], labels: list[str]
    ) -> None:
        """Positive is better, whatever the direction; the ends enclose it."""
        result = metric.compare(answers, others, labels, 0)
        before, after = metric.aggregate(answers, labels), metric.aggregate(others, labels)
        assert before is not None
        assert after is not None
        assert result.estimate == pytest.approx(sign_of(metric.direction) * (after - before), abs=1e-12)
        assert result.estimate is not None
        if result.low is not None and result.high is not None:
            assert result.low <= result.estimate <= result.high
            assert result.p is not None
            assert 0.0 <= result.p <= 1.0
        assert 0 < result.n <= len(answers)

    def test_a_comparison_with_itself_is_zero(self, metric: Metric, answers: list[Answer], labels: list[str]) -> None:
        """Equal answers differ by exactly nothing."""
        result = metric.compare(answers, answers, labels, 0)
        assert (result.estimate, result.fixed, result.broke) == (0.0, 0, 0)


class MetricContract(DescriptionContract):
    """What holds for a metric that says which answers are better, by default one of labels."""

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

    def test_perfect_answers_are_best(
        self, metric: Metric, answers: list[Answer], perfect: list[Answer], labels: list[str]
    ) -> None:
        """The direction points to the better answers."""
        some, best = metric.aggregate(answers, labels), metric.aggregate(perfect, labels)
        assert some is not None
        assert best is not None
        assert best > some if metric.direction == "higher" else best < some

    def test_a_comparison_counts_what_changed_hands(
        self, metric: Metric, answers: list[Answer], perfect: list[Answer], labels: list[str]
    ) -> None:
        """Against perfect answers nothing got worse, and the gain is shown."""
        result = metric.compare(answers, perfect, labels, 0)
        before, after = metric.aggregate(answers, labels), metric.aggregate(perfect, labels)
        assert before is not None
        assert after is not None
        assert result.estimate == pytest.approx(abs(after - before))
        assert result.estimate is not None
        assert result.low is not None
        assert result.high is not None
        assert result.low <= result.estimate <= result.high
        assert result.broke == 0
        assert result.fixed > 0


class TextMetricContract(MetricContract):
    """`MetricContract` on free text: some words of the target, all of them, others, or nothing."""

    @pytest.fixture
    def labels(self) -> list[str]:
        """Free text has none."""
        return []

    @pytest.fixture
    def answers(self) -> list[Answer]:
        """Sixty sentences and what a middling model makes of them."""
        return text_answers()

    @pytest.fixture
    def perfect(self, answers: list[Answer]) -> list[Answer]:
        """The same examples, all answered right."""
        return [Answer(answer.example_id, answer.target, None, answer.target, answer.row) for answer in answers]


def text_answers(count: int = 60, seed: int = 0) -> list[Answer]:
    """`count` answers to sentences of a few words: right, half right, wrong, or empty."""
    chance = random.Random(seed)
    words = ["red", "green", "blue", "lungs", "heart", "patient", "asks", "about", "seven", "of", "question", "name"]
    answers = []
    for index in range(count):
        target = [chance.choice(words) for _ in range(chance.randint(5, 9))]
        half = [word if chance.random() < 0.6 else chance.choice(words) for word in target]
        other = [chance.choice(words) for _ in range(chance.randint(1, 9))]
        output = chance.choice([target, half, half, other, []])
        answers.append(Answer(f"id{index}", " ".join(output), None, " ".join(target), {"number": index}))
    return answers


def _answers(targets: Sequence[str], parsed: Sequence[str | None]) -> list[Answer]:
    return [
        Answer(f"id{index}", label if label is not None else "no idea", label, target)
        for index, (target, label) in enumerate(zip(targets, parsed, strict=True))
    ]
