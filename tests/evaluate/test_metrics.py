"""Classification metrics: the contract, scikit-learn's numbers, and how outputs are read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from ftlab.catalog import METRICS
from ftlab.evaluate.metrics.base import Answer, Metric
from ftlab.evaluate.metrics.classification import Accuracy, MacroF1, ValidFormat, confusion, macro_f1_of, per_class
from ftlab.evaluate.metrics.make import make_metric
from ftlab.evaluate.metrics.parsing import LabelParser
from ftlab.testing.metric_contract import MetricContract

LABELS = ["Anatomy", "Social and Preventive Medicine", "Surgery", "gynaecology_obstetrics"]


class TestAccuracy(MetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return Accuracy()


class TestMacroF1(MetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return MacroF1()


class TestValidFormat(MetricContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return ValidFormat()


def test_the_catalogue_names_each_metric_as_it_names_itself() -> None:
    needed = {"regex": {"pattern": "a"}, "json_schema": {"schema": {}}, "json_schema_repaired": {"schema": {}}}
    for name in METRICS.names():
        metric = make_metric({name: needed.get(name, {})}, Path())
        assert metric.name == name
        assert isinstance(metric, Metric)


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("Surgery", "Surgery"),
        ("  surgery.\n", "Surgery"),
        ("**SURGERY**", "Surgery"),
        ('"Surgery"!', "Surgery"),
        ("social  and preventive\tmedicine", "Social and Preventive Medicine"),
        ("Gynaecology Obstetrics", "gynaecology_obstetrics"),
        ("Gynaecology_Obstetrics;", "gynaecology_obstetrics"),
        ("Surgery\nbecause the question asks for a suture", "Surgery"),
        ("\n\nanatomy\n\nSurgery", "Anatomy"),
        ("Answer: Surgery", "Surgery"),
        ("**Answer:** surgery.\nIt is.", "Surgery"),
        ("answer is Anatomy", "Anatomy"),
        ("not Surgery", None),
        ("The answer could be Surgery or Anatomy", None),
        ("Surgery, Anatomy", None),
        ("Surger", None),
        ("", None),
        ("...", None),
        ("<script>Surgery</script>", None),
        ("\x1b[31mSurgery\x1b[0m", None),
    ],
)
def test_outputs_are_read_by_the_stated_rule(output: str, label: str | None) -> None:
    assert LabelParser(LABELS)(output) == label


def test_an_exact_spelling_decides_between_labels_that_read_alike() -> None:
    parse = LabelParser(["IT", "it"])
    assert (parse("IT"), parse("it"), parse("It")) == ("IT", "it", None)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique_by=str.strip), st.data())
def test_every_label_is_read_as_itself(labels: list[str], data: st.DataObject) -> None:
    labels = [label for label in labels if label.strip()] or ["x"]
    label = data.draw(st.sampled_from(labels))
    assert LabelParser(labels)(f" {label}\n") == label


@given(st.text())
def test_an_output_is_a_label_or_nothing(output: str) -> None:
    assert LabelParser(LABELS)(output) in (*LABELS, None)


def answers_of(targets: list[int], parsed: list[int], size: int) -> tuple[list[Answer], list[str]]:
    labels = [f"label {index}" for index in range(size)]
    return [
        Answer(str(place), "", labels[read] if read < size else None, labels[target])
        for place, (target, read) in enumerate(zip(targets, parsed, strict=True))
    ], labels


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    size = draw(st.integers(2, 6))
    count = draw(st.integers(1, 40))
    targets = draw(st.lists(st.integers(0, size - 1), min_size=count, max_size=count))
    parsed = draw(st.lists(st.integers(0, size), min_size=count, max_size=count))
    return targets, parsed, size


@settings(deadline=None)
@given(tables())
def test_macro_f1_of_counts_equals_scikit_learn(table: tuple[list[int], list[int], int]) -> None:
    targets, parsed, size = table
    counts = np.zeros((size + 1, size + 1), dtype=int)
    np.add.at(counts, (targets, parsed), 1)
    expected = f1_score(targets, parsed, labels=range(size), average="macro", zero_division=0.0)
    assert macro_f1_of(counts[None], size)[0] == pytest.approx(expected, abs=1e-12)
    answers, labels = answers_of(targets, parsed, size)
    assert MacroF1().aggregate(answers, labels) == pytest.approx(expected, abs=1e-12)
    if len(targets) > 1:
        assert MacroF1().interval(answers, labels, 0).value == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(tables())
def test_per_class_numbers_equal_scikit_learn(table: tuple[list[int], list[int], int]) -> None:
    targets, parsed, size = table
    answers, labels = answers_of(targets, parsed, size)
    expected = precision_recall_fscore_support(targets, parsed, labels=range(size), zero_division=0.0)
    for place, label in enumerate(labels):
        row = per_class(answers, labels)[label]
        for key, column in zip(("precision", "recall", "f1"), expected, strict=False):
            assert (row[key] if row[key] is not None else 0.0) == pytest.approx(column[place])
        assert row["support"] == expected[3][place]


def test_an_undefined_precision_is_none() -> None:
    answers, labels = answers_of([0, 0], [0, 2], 2)
    rows = per_class(answers, labels)
    assert rows["label 0"]["precision"] == 1.0
    assert rows["label 0"]["recall"] == 0.5
    assert rows["label 1"] == {"precision": None, "recall": None, "f1": None, "hits": 0, "outputs": 0, "support": 0}


def test_confusion_counts_outputs_that_are_no_label_in_the_last_column() -> None:
    answers, labels = answers_of([0, 0, 1, 1], [0, 2, 0, 1], 2)
    assert confusion(answers, labels) == {"labels": labels, "counts": [[1, 0, 1], [1, 1, 0]]}


def test_macro_f1_differs_between_hard_and_easy_labels() -> None:
    answers, labels = answers_of([0] * 9 + [1], [0] * 10, 2)
    assert Accuracy().aggregate(answers, labels) == 0.9
    assert MacroF1().aggregate(answers, labels) == pytest.approx((2 * 9 / 19) / 2)


def test_eighteen_labels_and_eight_hundred_examples_are_bootstrapped_in_a_moment() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 18, 800)
    parsed = np.where(rng.random(800) < 0.5, targets, rng.integers(0, 19, 800))
    answers, labels = answers_of(targets.tolist(), parsed.tolist(), 18)
    begun = time.perf_counter()
    interval = MacroF1().interval(answers, labels, 0)
    # scikit-learn, called for each resample, needs several seconds.
    assert time.perf_counter() - begun < 2.0
    assert interval.low is not None
    assert interval.high is not None
    assert 0.04 < interval.high - interval.low < 0.12


def test_macro_f1_compares_two_systems_on_the_same_examples() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 300)
    before = np.where(rng.random(300) < 0.5, targets, 3)
    after = np.where(rng.random(300) < 0.3, targets, before)
    first, labels = answers_of(targets.tolist(), before.tolist(), 3)
    second, _ = answers_of(targets.tolist(), after.tolist(), 3)
    better: Any = MacroF1().compare(first, second, labels, 0)
    worse: Any = MacroF1().compare(second, first, labels, 0)
    assert better.low > 0
    assert better.p < 0.01
    assert worse.estimate == pytest.approx(-better.estimate)
    assert (better.fixed, better.broke) == (worse.broke, worse.fixed)
    assert worse.high < 0
