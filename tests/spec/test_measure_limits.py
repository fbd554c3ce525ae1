"""Limits of benchmarks that have several measures: the names that a spec may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.errors import SpecError
from ftlab.spec.load import load_spec

BENCHMARKS = "benchmarks: {tasks: ['builtin:behaviour', 'builtin:neutral-text']}\n"


def load(root: Path, text: str) -> object:
    path = root / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path).spec.decision.max_forgetting


def test_measures_groups_and_benchmarks_may_have_limits(root: Path, minimal: str) -> None:
    limits = (
        "{'builtin:behaviour/length': 10, 'builtin:behaviour': 0.3, instruction_following: 0.2, format: 0.1, "
        "neutral_text: 0.2, 'builtin:neutral-text/per-byte': 0.05}"
    )
    given = load(root, f"{minimal}{BENCHMARKS}decision: {{max_forgetting: {limits}}}\n")
    assert isinstance(given, dict)
    assert given["builtin:behaviour/length"] == 10


def test_a_measure_that_is_no_measure_is_named_with_the_nearest(root: Path, minimal: str) -> None:
    with pytest.raises(SpecError, match="did you mean 'builtin:behaviour/length'"):
        load(root, f"{minimal}{BENCHMARKS}decision: {{max_forgetting: {{'builtin:behaviour/lenght': 10}}}}\n")


def test_a_measure_of_a_benchmark_that_is_not_asked_is_refused(root: Path, minimal: str) -> None:
    with pytest.raises(SpecError, match="expected a benchmark of this spec"):
        load(root, f"{minimal}decision: {{max_forgetting: {{'builtin:behaviour/length': 10}}}}\n")
