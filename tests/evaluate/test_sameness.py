"""One answer for every row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftlab.evaluate.sameness import FEWEST, SAME, one_answer

words = st.sampled_from(["red", "green", ""])


def test_one_answer_to_different_questions_is_said_with_the_answer() -> None:
    said = one_answer(["red"] * 20, ["red", "green"] * 10)
    assert said is not None
    assert said.startswith("20 of 20 answers are the same ('red')")
    assert "lower learning_rate" in said


def test_no_answer_at_all_is_one_answer_too() -> None:
    assert "are the same (nothing)" in str(one_answer([""] * 20, ["red", "green"] * 10))


def test_one_answer_where_one_is_right_is_nothing_to_say() -> None:
    assert one_answer(["red"] * 20, ["red"] * 20) is None


def test_a_few_equal_answers_are_chance() -> None:
    assert one_answer(["red"] * (FEWEST - 1), ["red", "green", *["blue"] * (FEWEST - 3)]) is None


def test_exactly_the_share_is_not_beyond_it() -> None:
    assert one_answer(["red"] * 19 + ["green"], ["red", "green"] * 10) is None
    assert one_answer(["red"] * 20 + ["green"], ["red", "green"] * 10 + ["red"]) is not None


@given(st.lists(st.tuples(words, words), max_size=60))
def test_it_is_said_only_of_the_same_answers_to_varied_targets_in_any_order(pairs: list[tuple[str, str]]) -> None:
    outputs, targets = [one for one, _ in pairs], [one for _, one in pairs]
    said = one_answer(outputs, targets)
    assert said == one_answer(outputs[::-1], targets)
    if said is not None:
        assert max(outputs.count(word) for word in outputs) > SAME * len(outputs)
        assert len(set(targets)) > 1
