"""The preflight's look at a data set: what would spoil a comparison or waste a run, found before it is computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ftlab.data.prompts import render_messages
from ftlab.data.records import Dataset, Finding
from ftlab.spec.schema import Message

MIN_LABEL_ROWS = 8
"""Fewer training rows than this of one label teach next to nothing about it."""

_SAMPLE = 5


def check_dataset(dataset: Dataset, min_label_rows: int = MIN_LABEL_ROWS) -> list[Finding]:
    """What a person should know about the rows and labels, worst first; what was noticed while building is included."""
    findings = [
        _same_text(dataset, "test"),
        _same_text(dataset, "validation"),
        _contradictions(dataset),
        *dataset.report.findings,
        _empty_text(dataset),
        *_labels(dataset, min_label_rows),
    ]
    return [finding for finding in findings if finding is not None]


def check_prompt(dataset: Dataset, messages: Sequence[Message], place: str) -> None:
    """Render the chat of every row of every split. Raises DataError naming `place` and what is wrong with it."""
    for examples in dataset.splits.values():
        for example in examples:
            render_messages(messages, example.fields, dataset.labels, place)


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _same_text(dataset: Dataset, split: str) -> Finding | None:
    """Rows whose text, apart from case and blanks, is in train too: what was learnt by heart counts as understood."""
    trained = {_normal(example.text) for example in dataset.splits["train"]} - {""}
    same = [example.example_id for example in dataset.splits[split] if _normal(example.text) in trained]
    if not same:
        return None
    message = f"rows of {split} with the same text as a row of train: {len(same):,}; take them out of one of the two"
    return Finding(f"same_text_in_train_and_{split}", message, len(same), tuple(same[:_SAMPLE]))


def _contradictions(dataset: Dataset) -> Finding | None:
    """Rows that ask the same and want another label. Where answers are free text, several may be right."""
    if not dataset.labels:
        return None
    targets: defaultdict[str, set[str]] = defaultdict(set)
    train = dataset.splits["train"]
    for example in train:
        targets[_normal(example.text)].add(example.target)
    torn = [
        example.example_id for example in train if _normal(example.text) and len(targets[_normal(example.text)]) > 1
    ]
    if not torn:
        return None
    message = (
        f"rows of train that share their text with a row of another target: {len(torn):,}; decide which one is right"
    )
    return Finding("contradictory_targets", message, len(torn), tuple(torn[:_SAMPLE]))


def _empty_text(dataset: Dataset) -> Finding | None:
    empty = [example.example_id for part in dataset.splits.values() for example in part if not example.text.strip()]
    if not empty:
        return None
    message = f"rows with an empty text: {len(empty):,}; fill it in or drop them"
    return Finding("empty_text", message, len(empty), tuple(empty[:_SAMPLE]))


def _labels(dataset: Dataset, min_rows: int) -> list[Finding]:
    trained = Counter(example.target for example in dataset.splits["train"])
    asked = Counter(example.target for part in dataset.splits.values() for example in part)
    unseen = [label for label in dataset.labels if asked[label] and not trained[label]]
    few = [label for label in dataset.labels if 0 < trained[label] < min_rows]
    idle = [label for label in dataset.labels if not asked[label]]
    kinds = [
        ("label_not_in_train", unseen, "labels that are asked for but never occur in train"),
        ("label_with_few_rows", few, f"labels with fewer than {min_rows} training rows"),
        ("label_without_rows", idle, "labels of task.labels without a single row"),
    ]
    return [Finding(code, f"{what}: {_listed(named)}", len(named)) for code, named, what in kinds if named]


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label) for label in labels[:_SAMPLE])
    return f"{shown} and {len(labels) - _SAMPLE} more" if len(labels) > _SAMPLE else shown
