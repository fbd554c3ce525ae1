"""`benchmarks.at`: at which points of a training benchmarks are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ftlab.errors import SpecError
from ftlab.spec.load import load_spec
from ftlab.spec.schema import BenchmarkSpec


def spec(*at: Any) -> BenchmarkSpec:
    return BenchmarkSpec.model_validate({"at": list(at)})


@pytest.mark.parametrize(
    ("at", "points"),
    [
        ((), ()),
        (({"every": 0.25},), ("25%", "50%", "75%")),
        (("last", {"every": 0.5}, "best"), ("50%", "best", "last")),
        (({"every": 0.25}, {"every": 0.5}, "best", "best"), ("25%", "50%", "75%", "best")),
        (({"every": 0.4},), ("40%", "80%")),
        (({"every": 0.125},), ("12.5%", "25%", "37.5%", "50%", "62.5%", "75%", "87.5%")),
    ],
)
def test_points_stand_in_the_order_of_a_training(at: tuple[Any, ...], points: tuple[str, ...]) -> None:
    assert spec(*at).points() == points


@pytest.mark.parametrize("wrong", ["first", {"every": 0}, {"every": 1}, {"every": -0.5}, {"each": 0.5}, 0.5])
def test_other_words_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        spec(wrong)


@given(st.floats(0.01, 0.99))
def test_shares_lie_within_a_training_and_have_names_of_their_own(every: float) -> None:
    shares = spec({"every": every}).shares()
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] < 1
    assert len(set(spec({"every": every}).points())) == len(shares)


def test_points_without_benchmarks_are_refused_with_the_mend(root: Path, minimal: str) -> None:
    path = root / "spec.yaml"
    path.write_text(f"{minimal}benchmarks: {{at: [best]}}\n")
    with pytest.raises(SpecError, match=r"benchmarks.at .*set benchmarks.tasks"):
        load_spec(path)
