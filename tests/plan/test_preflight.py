"""What the preflight finds, and that it stays silent where there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.errors import DataError
from ftlab.plan.preflight import preflight
from ftlab.plan.run import Plan

Planner = Callable[..., Plan]
LOCAL = ("builtin:smollm2-135m-instruct", "./model")
SMALL_CHANCE = "decision.min_gain=0.5"


def findings(plan: Plan) -> dict[str, str]:
    return {finding.code: finding.message for finding in preflight(plan).findings}


def rewrite(folder: Path, rows: list[str]) -> None:
    (folder / "rows.csv").write_text("\n".join(["question,label", *rows, ""]), encoding="utf-8")


ENOUGH = "data.splits={train: 30, validation: 200, test: 200}"


def enough_rows(folder: Path) -> None:
    rewrite(folder, [f"question {number},{'yes' if number % 2 else 'no'}" for number in range(430)])


def test_a_sound_experiment_has_no_findings(make_plan: Planner, model_folder: Path, tmp_path: Path) -> None:
    enough_rows(tmp_path)
    assert findings(make_plan(LOCAL, overrides=(SMALL_CHANCE, ENOUGH, "methods.few_shot.shots=1"))) == {}


def test_rows_that_spoil_a_comparison_are_told(make_plan: Planner, model_folder: Path, tmp_path: Path) -> None:
    rows = [f"question {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    rewrite(tmp_path, [*rows, "question 1,yes", "lonely,", "same words,yes", "same words,no", ",yes"])
    size = ("{train: 30, validation: 20, test: 10}", "{train: 33, validation: 20, test: 10, stratify: false}")
    found = findings(make_plan(LOCAL, size, overrides=(SMALL_CHANCE,)))
    assert {"duplicates_dropped", "no_target", "contradictory_targets", "empty_text"} <= set(found)


def test_sequences_that_would_be_cut_are_told_by_method(make_plan: Planner, model_folder: Path) -> None:
    found = findings(make_plan(LOCAL, overrides=("train={max_length: 12}", SMALL_CHANCE)))
    assert found["truncated"] == (
        "lora, full: 30 of 30 training sequences are longer than max_length 12 and would be cut on the left; "
        "the longest has about 17 tokens"
    )
    assert found["prompt_truncated"].startswith("few_shot: 20 prompts do not fit into the model's context")


def test_without_a_tokenizer_lengths_are_said_to_be_unknown(make_plan: Planner, tmp_path: Path) -> None:
    enough_rows(tmp_path)
    found = findings(make_plan(overrides=(SMALL_CHANCE, ENOUGH)))
    assert set(found) == {"lengths_unknown"}
    assert "builtin:smollm2-135m-instruct" in found["lengths_unknown"]


def test_a_missing_column_is_told_even_without_a_tokenizer(make_plan: Planner) -> None:
    with pytest.raises(DataError, match=r"'qestion'.*did you mean 'question'"):
        preflight(make_plan(overrides=("methods.zero_shot.prompt=[{role: user, content: '{{ qestion }}'}]",)))


@pytest.mark.parametrize(
    ("rates", "told"),
    [(("1e-4", "1e-4"), True), (("1e-4", "1e-5"), False), (("{grid: [1e-4, 1e-5]}", "{grid: [1e-5, 1e-4]}"), True)],
)
def test_one_learning_rate_for_all_is_told(make_plan: Planner, rates: tuple[str, str], told: bool) -> None:
    overrides = (f"methods.lora.learning_rate={rates[0]}", f"methods.full.learning_rate={rates[1]}")
    assert ("shared_learning_rates" in findings(make_plan(overrides=overrides))) is told


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((), None),
        (("methods.zero_shot.decode=choose",), "add decode: {grid: [generate, choose]} to the trained methods"),
        (("methods.lora.decode=choose",), "add decode: {grid: [generate, choose]} to the prompting methods"),
        (("methods.zero_shot.decode=choose", "methods.full.decode={grid: [generate, choose]}"), None),
        (("task.decode=choose",), None),
    ],
)
def test_a_decoding_that_one_side_alone_may_use_is_told(
    make_plan: Planner, overrides: tuple[str, ...], told: str | None
) -> None:
    message = findings(make_plan(overrides=overrides)).get("unlike_decoding")
    assert (message is None) if told is None else told in (message or "")


def test_an_experiment_without_prompting_is_told(make_plan: Planner) -> None:
    drop = "  zero_shot: {type: prompt}\n  few_shot: {type: prompt, shots: {grid: [2, 4]}}\n"
    assert "nothing to compare with" in findings(make_plan((drop, "")))["no_baseline"]


def test_too_few_rows_for_the_wanted_gain_are_told(make_plan: Planner, tmp_path: Path) -> None:
    message = findings(make_plan())["few_validation_rows"]
    assert message.startswith("20 validation rows are too few to show any difference of ")
    enough_rows(tmp_path)
    message = findings(make_plan(overrides=(ENOUGH,)))["few_validation_rows"]
    assert message.startswith("200 validation rows show differences of ")
    assert "min_gain is 2 points" in message
