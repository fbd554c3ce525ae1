"""`compare --fail-if`: the conditions that stop a pipeline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.cli.condition import FIELDS, parse_condition
from ftlab.decide.view import Estimate, PairedDifference
from ftlab.errors import UsageError


def difference(value: float, low: float | None = None, high: float | None = None) -> PairedDifference:
    estimate = Estimate(value=value, low=low, high=high, n=200)
    return PairedDifference(estimate=estimate, p_value=0.01, fixed=30, broke=12, dropped=0)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("delta<0.02", False),
        ("delta < 0.05", True),
        ("delta<=0.03", True),
        ("low>0", True),
        ("low<0.01", False),
        ("high>=0.05", True),
        ("p>0.05", False),
        ("broke>10", True),
        ("n<200", False),
    ],
)
def test_a_condition_is_about_one_number(text: str, met: bool) -> None:
    assert parse_condition(text).met_by(difference(0.03, 0.01, 0.05)) is met


@pytest.mark.parametrize("text", ["low<0", "low>0", "high>=1"])
def test_what_was_not_measured_does_not_pass(text: str) -> None:
    assert parse_condition(text).met_by(difference(0.5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a condition like"),
        ("delta", "expected a condition like"),
        ("delta=0.02", "expected a condition like"),
        ("delta<0.02 and p>1", "expected a condition like"),
        ("detla<0.02", "did you mean 'delta'"),
        ("delta<two", "expected a number after <, found 'two'"),
        ("delta<nan", "expected a number"),
        ("__import__('os')<1", "expected a condition like"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        parse_condition(text)


@given(st.sampled_from(FIELDS), st.sampled_from(["<", "<=", ">", ">="]), st.floats(-1e6, 1e6))
def test_every_field_and_sign_reads_back(field: str, sign: str, limit: float) -> None:
    read = parse_condition(f" {field} {sign} {limit!r} ")
    assert (read.field, read.sign, read.limit) == (field, sign, limit)
