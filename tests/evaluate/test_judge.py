"""A judge is asked in both orders, pays for no question twice, and never takes the key anywhere but to its server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ftlab.errors import DataError, UsageError
from ftlab.evaluate.judge import AnswerFile, Judged, JudgePair, Letter, identity, judge_pairs, read_letter
from ftlab.evaluate.judge_endpoint import LONGEST_WAIT, MOST_FAILURES, EndpointJudge
from ftlab.spec.judge import DEFAULT_QUESTION, EndpointSpec
from ftlab.testing.judge_server import SILENT, FakeServer, perfect, serving

KEY = "sk-very-secret"
PAIRS = [
    JudgePair("e0", "which?", "red", {}, arm="red", baseline="blue"),
    JudgePair("e1", "which?", "red", {}, arm="blue", baseline="red"),
    JudgePair("e2", "which?", "red", {}, arm="red", baseline="red"),
]


def judge_of(server: FakeServer, *, waits: list[float] | None = None, **fields: object) -> EndpointJudge:
    spec = EndpointSpec(url=server.url, model="big", **fields)  # type: ignore[arg-type]
    return EndpointJudge(spec, {"JUDGE_KEY": KEY}, sleep=(waits if waits is not None else []).append)


def scores(found: Sequence[Judged]) -> list[float | None]:
    return [one.score for one in found]


@pytest.fixture
def kept(tmp_path: Path) -> AnswerFile:
    return AnswerFile(tmp_path / "answers.jsonl")


def test_a_perfect_judge_sees_both_orders_and_equal_answers_are_not_asked(kept: AnswerFile) -> None:
    with serving(perfect) as server:
        found = judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept)
    assert scores(found) == [1.0, 0.0, 0.5]
    assert found[0] == Judged("e0", "A", "B", 1.0)
    # e1 shows the same two texts as e0, the other way about: two questions serve both.
    assert len(server.questions) == 2
    assert all(body["temperature"] == 0 and body["model"] == "big" for body in server.bodies)


def test_a_judge_that_always_says_a_gives_ties_alone(kept: AnswerFile) -> None:
    with serving(lambda question: "A") as server:
        found = judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept)
    assert scores(found) == [0.5, 0.5, 0.5]
    assert [(one.arm_first, one.baseline_first) for one in found[:2]] == [("A", "A"), ("A", "A")]


def test_an_answer_that_is_no_letter_is_no_score_and_is_not_paid_for_again(kept: AnswerFile) -> None:
    with serving(lambda question: "I cannot say") as server:
        found = judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept)
        again = judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept)
    assert scores(found) == scores(again) == [None, None, 0.5]
    assert found[0].arm_first == ""
    assert len(server.questions) == 2


@pytest.mark.parametrize(
    ("said", "letter"),
    [("A", "A"), (" B.\n", "B"), ("Answer A", "A"), ("(B)", "B"), ("A or B", ""), ("", ""), ("ABBA", ""), ("a", "")],
)
def test_what_counts_as_a_letter(said: str, letter: Letter) -> None:
    assert read_letter(said) == letter


@pytest.mark.parametrize(
    ("reply", "why"),
    [(500, "status 500"), (401, "status 401"), (302, "status 302"), (SILENT, "no answer within 0.1 s")],
)
def test_a_server_that_fails_is_given_up_and_asked_again_next_time(reply: int, why: str, kept: AnswerFile) -> None:
    waits: list[float] = []
    many = [JudgePair(f"e{n}", f"which {n}?", "red", {}, "red", "blue") for n in range(10)]
    with serving(lambda question: reply) as server:
        judge = judge_of(server, waits=waits, retries=1, timeout_seconds=0.1)
        found = judge_pairs(judge, many, DEFAULT_QUESTION, kept)
        assert scores(found) == [None] * 10
        assert found[0].arm_first is None
        assert why in (judge.failure or "")
        assert "secret" not in (judge.failure or "")
        repeated = 2 if reply in (500, SILENT) else 1
        assert len(server.questions) == MOST_FAILURES * repeated
        assert len(waits) == MOST_FAILURES * (repeated - 1)
        server.judge = perfect
        assert scores(judge_pairs(judge_of(server), many, DEFAULT_QUESTION, kept)) == [1.0] * 10


def test_waits_grow_and_keep_within_what_the_server_asks_for(kept: AnswerFile) -> None:
    replies = iter([503, 503, 503])
    waits: list[float] = []
    with serving(lambda question: next(replies, "A")) as server:
        judge_pairs(judge_of(server, waits=waits), PAIRS[:1], DEFAULT_QUESTION, kept)
    assert waits == [0.5, 1.0, 2.0]
    replies, waits = iter([429]), []
    with serving(lambda question: next(replies, "A"), Retry_After="99999") as server:
        assert list(judge_of(server, waits=waits).ask(["one?"])) == [(0, "A")]
    assert waits == [LONGEST_WAIT]


def test_a_server_that_is_not_there_and_one_that_speaks_garbage(kept: AnswerFile) -> None:
    with serving(perfect) as server:
        judge = judge_of(server, retries=0)
    assert list(judge.ask(["one?"])) == []
    assert judge.failure == "the server cannot be reached"
    with serving(lambda question: {"not": "text"}) as server:  # type: ignore[arg-type, return-value]
        assert list(judge_of(server).ask(["one?"])) == [(0, "")]


def test_the_key_goes_to_the_server_and_a_missing_one_is_told_by_its_name() -> None:
    with serving(perfect) as server:
        list(judge_of(server, api_key="${env:JUDGE_KEY}", retries=0).ask([DEFAULT_QUESTION_FILLED]))
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
        with pytest.raises(UsageError, match="environment variable OTHER_KEY holds no key"):
            judge_of(server, api_key="${env:OTHER_KEY}")


DEFAULT_QUESTION_FILLED = DEFAULT_QUESTION
for _name in ("text", "target", "first", "second"):
    DEFAULT_QUESTION_FILLED = DEFAULT_QUESTION_FILLED.replace(f"{{{{ {_name} }}}}", _name)


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    class Dying:
        def ask(self, questions: Sequence[str]) -> Iterator[tuple[int, Letter]]:
            yield 1, "B"
            raise KeyboardInterrupt

    path = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        judge_pairs(Dying(), PAIRS[:1], DEFAULT_QUESTION, AnswerFile(path))
    path.write_bytes(path.read_bytes() + b'{"question": "torn')
    with serving(perfect) as server:
        found = judge_pairs(judge_of(server), PAIRS[:1], DEFAULT_QUESTION, AnswerFile(path))
    assert scores(found) == [1.0]
    assert len(server.questions) == 1, "the other order was answered before the kill"
    whole = AnswerFile(path)
    assert judge_pairs(Dying(), PAIRS[:1], DEFAULT_QUESTION, whole) == found
    assert [json.loads(line)["answer"] for line in path.read_text().splitlines() if "torn" not in line] == ["B", "A"]


def test_progress_counts_what_was_known_before(kept: AnswerFile) -> None:
    heard: list[tuple[int, int]] = []

    def hear(done: int, total: int) -> None:
        heard.append((done, total))

    with serving(perfect) as server:
        judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept, hear)
        judge_pairs(judge_of(server), PAIRS, DEFAULT_QUESTION, kept, hear)
    assert heard == [(0, 2), (1, 2), (2, 2), (2, 2)]


def test_a_question_that_cannot_be_rendered_is_told(kept: AnswerFile) -> None:
    with serving(perfect) as server, pytest.raises(DataError, match=r"judge\.question.*firts"):
        judge_pairs(judge_of(server), PAIRS, "{{ firts }} {{ second }}", kept)


def test_the_identity_is_the_judge_and_the_question() -> None:
    same = identity({"model": "m"}, "q")
    assert same == identity({"model": "m"}, "q")
    assert len({same, identity({"model": "n"}, "q"), identity({"model": "m"}, "p")}) == 3


def test_a_local_judge_says_the_likelier_letter(tiny_judge: Callable[[], object], kept: AnswerFile) -> None:
    judge = tiny_judge()
    found = judge_pairs(judge, PAIRS, DEFAULT_QUESTION, kept)  # type: ignore[arg-type]
    assert all(one.arm_first in ("A", "B") and one.baseline_first in ("A", "B") for one in found[:2])
    assert found[0].score == 1 - (found[1].score or 0), "the same two texts with their sides exchanged"


@pytest.fixture
def tiny_judge(tmp_path: Path) -> Callable[[], object]:
    from ftlab.evaluate.judge_local import LocalJudge
    from ftlab.models.load import load_model
    from ftlab.plan.run import ModelRef
    from ftlab.testing.tiny import tiny_model

    def make() -> object:
        folder = tiny_model(tmp_path / "tiny")
        ref = ModelRef(source="tiny", revision="0", dtype="float32", folder=str(folder))
        return LocalJudge(load_model(ref, folder, threads=1), 1024)

    return make
