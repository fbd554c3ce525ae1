"""A metric of the user's own: what it is given, what it may give back, and what is said when it fails."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from ftlab.catalog import METRICS
from ftlab.errors import UsageError
from ftlab.evaluate.metrics.base import Answer, Metric
from ftlab.evaluate.metrics.make import make_metric, metric_definitions
from ftlab.testing.metric_contract import TextMetricContract

SOURCE = '''
"""Scores of my own."""

from neighbour import WORD


def polite(output: str, row: dict) -> bool:
    return WORD in output or row["tone"] == "blunt"


def share(output, target):
    return sum(word in output.split() for word in target.split()) / len(target.split())


def size(output):
    return len(output)


def nothing(**given):
    return None


def broken(output):
    return 1 / 0


def wrong(output):
    return {"text": "high", "nan": float("nan"), "list": [1], "two": 2}[output]
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scores.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "neighbour.py").write_text("WORD = 'please'\n")
    return tmp_path


def answer(output: str, target: str = "a b", tone: str = "kind") -> Answer:
    return Answer("e1", output, None, target, {"tone": tone})


class TestShare(TextMetricContract):
    @pytest.fixture
    def metric(self, root: Path) -> Metric:
        return make_metric("scores:share", root)


class TestSize(TextMetricContract):
    """Shorter is better here, so the best answer is none at all."""

    @pytest.fixture
    def metric(self, root: Path) -> Metric:
        return make_metric({"scores:size": {"direction": "lower", "unit": "count"}}, root)

    @pytest.fixture
    def perfect(self, answers: list[Answer]) -> list[Answer]:
        return [Answer(one.example_id, "", None, one.target, one.row) for one in answers]


def test_it_gets_what_it_asks_for_by_name(root: Path) -> None:
    polite = make_metric("scores:polite", root)
    scores = [polite.score(answer("yes, please")), polite.score(answer("no")), polite.score(answer("no", tone="blunt"))]
    assert scores == [1.0, 0.0, 1.0]
    assert make_metric("scores:share", root).score(answer("b c")) == 0.5
    assert make_metric("scores:nothing", root).score(answer("x")) is None


def test_a_module_beside_the_spec_comes_before_any_of_its_name(root: Path) -> None:
    (root / "json.py").write_text("def dumps(output): return 0.25\n")
    assert make_metric("json:dumps", root).score(answer("x")) == 0.25
    import json

    assert json.dumps(1) == "1"


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("broken", "x", r"'scores:broken' \(.*scores.py\) raised ZeroDivisionError: division by zero \(line \d+\)"),
        ("wrong", "text", "gave 'high'; expected a finite number, true, false or None, for example e1"),
        ("wrong", "nan", "gave 'nan'; expected a finite number"),
        ("wrong", "list", r"gave '\[1\]'; expected a finite number"),
        ("wrong", "two", r"gave 2; a share is from 0 to 1, for other numbers write \{scores:wrong: \{unit: score\}\}"),
        ("gone", "x", r"'scores:gone': there is no function 'gone' in .*scores.py \(there are: polite, share"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_with_its_place(root: Path, name: str, output: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"task.metrics: .*{message}"):
        make_metric(f"scores:{name}", root).score(answer(output))


def test_a_file_that_cannot_be_imported_is_told_with_its_line(root: Path) -> None:
    (root / "bad.py").write_text("import nowhere_at_all\ndef f(output): return 1\n")
    with pytest.raises(UsageError, match=r"'bad:f' cannot be imported from .*bad.py: ModuleNot.* \(line 1\)"):
        make_metric("bad:f", root).score(answer("x"))
    (root / "leaves.py").write_text("raise SystemExit(0)\ndef f(output): return 1\n")
    with pytest.raises(UsageError, match="cannot be imported"):
        make_metric("leaves:f", root).score(answer("x"))


def test_an_edit_gives_the_scores_another_identity(root: Path) -> None:
    entries: list[Any] = ["exact_match", "scores:share", {"scores:share": {"as": "other", "direction": "lower"}}]
    before = metric_definitions(entries, root)
    assert set(before) == {"exact_match", "share", "other"}
    assert metric_definitions(entries, root) == before
    (root / "scores.py").write_text(textwrap.dedent(SOURCE) + "\n# edited\n")
    after = metric_definitions(entries, root)
    assert after["exact_match"] == before["exact_match"]
    assert after["share"] != before["share"] != before["other"]


def test_an_entry_point_may_name_a_function(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root))
    METRICS.register("my_size", "scores:size")
    try:
        metric = make_metric({"my_size": {"unit": "count"}}, Path("/nowhere"))
        assert metric.score(answer("four")) == 4.0
        assert "source" in metric_definitions(["my_size"], Path("/nowhere"))["my_size"]
    finally:
        METRICS._entries.pop("my_size")
