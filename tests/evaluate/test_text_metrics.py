"""Metrics of free text: the contract, the libraries' own numbers, and examples computed by hand."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu import corpus_bleu, corpus_chrf

from ftlab.errors import UsageError
from ftlab.evaluate.metrics.base import Answer, Metric
from ftlab.evaluate.metrics.habits import RefusalRate, Repetition, RepetitionOptions
from ftlab.evaluate.metrics.overlap import Bleu, BleuOptions, Chrf, LengthRatio, Rouge1, Rouge2, RougeL
from ftlab.evaluate.metrics.patterns import Numeric, NumericOptions, Regex, RegexOptions, last_number
from ftlab.evaluate.metrics.words import ExactMatch, ExactMatchOptions, TokenF1, squad_words
from ftlab.testing.metric_contract import DescriptionContract, TextMetricContract, text_answers


class TestExactMatch(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return ExactMatch()


class TestTokenF1(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return TokenF1()


class TestRouge1(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Rouge1()


class TestRouge2(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Rouge2()


class TestRougeL(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return RougeL()


class TestBleu(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Bleu()


class TestChrf(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Chrf()


class TestLengthRatio(DescriptionContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return LengthRatio()

    @pytest.fixture
    def answers(self) -> list[Answer]:
        return text_answers()


class TestRepetition(DescriptionContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Repetition(RepetitionOptions(n=1))

    @pytest.fixture
    def answers(self) -> list[Answer]:
        return [replace(answer, output=f"so {answer.output}") for answer in text_answers()]


class TestRefusalRate(DescriptionContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return RefusalRate()

    @pytest.fixture
    def answers(self) -> list[Answer]:
        answers = text_answers()
        return [answer("I cannot say" if index % 3 else "It is red", "red", index) for index in range(len(answers))]


class TestRegex(DescriptionContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Regex(RegexOptions(pattern=r"^red\b"))

    @pytest.fixture
    def answers(self) -> list[Answer]:
        return [*text_answers(), *(answer("red " * index, "red", 100 + index) for index in range(1, 9))]


class TestNumeric(TextMetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Numeric()

    @pytest.fixture
    def answers(self) -> list[Answer]:
        said = ["It is 7", "7.0", "8", "no idea"]
        return [answer(said[index % 4], "The answer is 7", index) for index in range(40)]


def answer(output: str, target: str = "", index: int = 0) -> Answer:
    return Answer(f"e{index}", output, None, target)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat, a dog & an ape!", ["cat", "dog", "ape"]),
        ("theatre another", ["theatre", "another"]),
        ("  ", []),
        ("It's 3.5", ["its", "35"]),
    ],
)
def test_words_are_normalised_as_squad_does(text: str, words: list[str]) -> None:
    assert squad_words(text) == words


def test_exact_match_is_to_the_letter_unless_told_otherwise() -> None:
    pairs = [("Red.", "red"), ("red\n", "red"), ("-5", "5")]
    assert [ExactMatch().score(answer(*pair)) for pair in pairs] == [0.0, 1.0, 0.0]
    loose = ExactMatch(ExactMatchOptions(normalize=True))
    assert [loose.score(answer(*pair)) for pair in pairs] == [1.0, 1.0, 1.0]


def test_token_f1_by_hand() -> None:
    # Words: {big, red, red, house} and {red, house, there}: 2 shared, precision 2/4, recall 2/3.
    assert TokenF1().score(answer("A big red, red house", "the red house there")) == pytest.approx(4 / 7)
    assert TokenF1().score(answer("the", "a")) == 1.0
    assert TokenF1().score(answer("", "red")) == 0.0


def test_rouge_by_hand() -> None:
    # "the cat sat" against "the cat is sat": 3 of 3 and 3 of 4 words; 1 of 2 and 1 of 3 pairs; subsequence of 3.
    pair = answer("the cat sat", "the cat is sat")
    assert Rouge1().score(pair) == pytest.approx(6 / 7)
    assert Rouge2().score(pair) == pytest.approx(2 * 1 / 5)
    assert RougeL().score(pair) == pytest.approx(6 / 7)


def test_bleu_by_hand() -> None:
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples; lengths equal, so no penalty.
    pair = answer("the cat sat on a mat", "the cat sat on the mat")
    assert Bleu().aggregate([pair], []) == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_perfect_answers_have_a_bleu_of_exactly_one() -> None:
    same = [answer(one.target, one.target, index) for index, one in enumerate(text_answers(20))]
    assert Bleu().aggregate(same, []) == 1.0
    assert Bleu().interval(same, [], 0).method == "no interval: no resample differs"


def test_chrf_by_hand() -> None:
    # "abc" against "abd": 2 of 3 letters, 1 of 2 pairs, 0 of 1 triple; precision = recall = their mean.
    assert Chrf().aggregate([answer("abc", "abd")], []) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.text("ab c.", max_size=24), st.text("ab c.", min_size=1, max_size=24)), min_size=1))
def test_bleu_and_chrf_of_sums_equal_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers = [answer(output, target, index) for index, (output, target) in enumerate(pairs)]
    outputs, targets = [[pair[place] for pair in pairs] for place in (0, 1)]
    assert Bleu().aggregate(answers, []) == pytest.approx(corpus_bleu(outputs, [targets]).score / 100)
    assert Chrf().aggregate(answers, []) == pytest.approx(corpus_chrf(outputs, [targets]).score / 100)


def test_bleu_of_a_script_without_blanks_counts_characters() -> None:
    pair = answer("今天天气很好啊", "今天天气很好呢")
    assert Bleu().aggregate([pair], []) == 0.0
    found = Bleu(BleuOptions(tokenize="char")).aggregate([pair], [])
    assert found is not None
    assert found > 0.5


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.text(min_size=1, max_size=60))
def test_any_text_has_a_score_from_0_to_1(output: str, target: str) -> None:
    for metric in (ExactMatch(), TokenF1(), Rouge1(), Rouge2(), RougeL(), Bleu(), Chrf(), RefusalRate()):
        score = metric.score(answer(output, target))
        assert score is not None
        assert 0.0 <= score <= 1.0


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "green", "blue"]), min_size=1, max_size=9).map(" ".join))
def test_the_target_itself_is_the_best_answer(text: str) -> None:
    for metric in (ExactMatch(), TokenF1(), Rouge1(), RougeL(), Bleu(), Chrf()):
        assert metric.score(answer(text, text)) == pytest.approx(1.0)


def test_length_ratio_by_hand_judges_nothing() -> None:
    answers = [answer("one two three", "one two"), answer("", "one two", 1)]
    assert LengthRatio().aggregate(answers, []) == pytest.approx(3 / 4)
    assert LengthRatio().direction == "none"
    assert LengthRatio().aggregate([answer("a", "")], []) is None


def test_repetition_by_hand() -> None:
    # Pairs: a b, b a, a b, b c: one of four said before.
    assert Repetition(RepetitionOptions(n=2)).score(answer("a b a b c")) == pytest.approx(1 / 4)
    assert Repetition().score(answer("too few words")) is None


@given(st.text(max_size=80), st.integers(1, 4))
def test_saying_it_all_again_never_repeats_less(text: str, n: int) -> None:
    metric = Repetition(RepetitionOptions(n=n))
    once, twice = metric.score(answer(text)), metric.score(answer(f"{text} {text}"))
    assert once is None or (twice is not None and twice >= once - 1e-12)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", 1.0),
        ("I\u2019m unable to share that.", 1.0),
        ("As an AI language model, I have no opinion.", 1.0),
        ("The patient cannot walk.", 0.0),
        ("x" * 300 + " I cannot say", 0.0),
        ("", 0.0),
    ],
)
def test_refusals_are_known_by_what_they_begin_with(text: str, refused: float) -> None:
    assert RefusalRate().score(answer(text)) == refused


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("So 3 + 4 = 7.", "7"),
        ("It costs $1,234.50 in all", "1234.50"),
        ("-3.5", "-3.5"),
        ("\u22122", "-2"),
        ("from 10-20", "20"),
        ("f(x)-4", "4"),
        ("6.02e23", "6.02E+23"),
        (".5", "0.5"),
        ("12,34", "34"),
        ("no number", None),
        ("", None),
        ("٣", "3"),
    ],
)
def test_the_last_number_is_read(text: str, number: str | None) -> None:
    found = last_number(text)
    assert (None if found is None else str(found)) == number


def test_numbers_are_compared_within_a_tolerance() -> None:
    def right(output: str, target: str, **options: float) -> float | None:
        return Numeric(NumericOptions(**options)).score(answer(output, target))

    assert right("x = 0.3", "#### 0.30") == 1.0
    assert right("x = 0.31", "#### 0.3") == 0.0
    assert right("x = 0.31", "#### 0.3", tolerance=0.01) == 1.0
    assert right("97", "100", relative=0.03) == 1.0
    assert right("96", "100", relative=0.03) == 0.0
    assert right("none", "100") == 0.0
    assert right("7", "none") is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_number_is_read_as_itself_in_any_sentence(number) -> None:
    assert last_number(f"It was 12 once, now {number}.") == number
    assert last_number(f"= {number:,}") == number


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_has_a_number_or_none(text: str) -> None:
    found = last_number(text)
    assert found is None or math.isfinite(float(found))


def test_a_pattern_is_found_anywhere_or_must_be_the_whole() -> None:
    date = RegexOptions(pattern=r"\d{4}-\d\d-\d\d")
    metric = Regex(date)
    assert [metric.score(answer(text)) for text in ("on 2026-11-25.", "yesterday")] == [1.0, 0.0]
    assert metric.read(answer("on 2026-11-25.")) == "2026-11-25"
    whole = Regex(date.model_copy(update={"match": "whole"}))
    assert [whole.score(answer(text)) for text in ("on 2026-11-25.", " 2026-11-25\n")] == [0.0, 1.0]
    assert Regex(RegexOptions(pattern="RED", ignore_case=True)).score(answer("red")) == 1.0


@given(st.text("ab.", max_size=12))
def test_patterns_mean_what_they_mean_to_python(text: str) -> None:
    pattern = r"a+(b|\.)a?$"
    assert Regex(RegexOptions(pattern=pattern)).score(answer(text)) == float(bool(re.search(pattern, text.strip())))


def test_a_pattern_that_cannot_be_read_is_told() -> None:
    found = Regex.check(RegexOptions(pattern="(a"), Path())
    assert found is not None
    assert found[0] == "pattern"
    assert found[1].startswith("expected a regular expression, found one that cannot be read (missing )")
    assert Regex.check(RegexOptions(pattern="(a)"), Path()) is None


def test_a_pattern_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftlab.evaluate.metrics.patterns._SECONDS", 0.05)
    metric = Regex(RegexOptions(pattern=r"^(a|aa)+$"))
    with pytest.raises(UsageError, match=r"takes more than 0\.05 s on the output of example e0"):
        metric.score(answer("a" * 4000 + "c"))
