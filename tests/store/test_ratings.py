"""Ratings as files and in the ledger: two writers, torn lines, hostile names, and a rebuild that gives the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.rated import agreement
from ftlab.errors import StorageError, UsageError
from ftlab.execute.experiments import find_plan
from ftlab.store.ledger import Ledger
from ftlab.store.rating_file import (
    MAX_LINE_BYTES,
    NAME,
    PairRating,
    Rating,
    ScoreRating,
    append_ratings,
    file_name,
    now,
    pair_ratings,
    parse_rating,
    rater_name,
    rating_files,
    read_ratings,
)
from ftlab.store.ratings import RatingRow, ingested, latest_ratings, lay_ratings, newer_ratings, rateable
from ftlab.store.rebuild import rebuild
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import make_results

EXPERIMENT = "exp-000001"


def pair(
    example: str = "e1", choice: str = "a", rater: str = "anna", keys: tuple[str, str] = ("k1", "k2")
) -> PairRating:
    return PairRating.model_validate(
        {
            "time": now(),
            "rater": rater,
            "split": "validation",
            "example_id": example,
            "arm_a": "a1",
            "arm_b": "a2",
            "key_a": keys[0],
            "key_b": keys[1],
            "choice": choice,
        }
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / EXPERIMENT).mkdir()
    return tmp_path


@given(st.text(max_size=200))
def test_a_name_never_becomes_a_path(name: str) -> None:
    made = file_name(name)
    assert NAME.fullmatch(made)
    assert "/" not in made
    assert not made.startswith(".")


@pytest.mark.parametrize("name", ["", "   ", "\x00\x1b", "x" * 61])
def test_a_rater_needs_a_name_of_reasonable_length(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        rater_name(name)


def test_raters_whose_names_look_alike_have_files_of_their_own() -> None:
    assert len({file_name(name) for name in ("Anna", "anna", "an na", "änna", "安娜", "../anna", "anna.jsonl")}) == 7


def test_what_is_appended_is_read_and_the_last_word_counts(results: Path) -> None:
    path = append_ratings(results, EXPERIMENT, "anna", [pair("e1", "a"), pair("e2", "tie")])
    append_ratings(results, EXPERIMENT, "anna", [pair("e1", "b", keys=("k1", "k2"))])
    assert [line.rating.example_id for line in read_ratings(path).lines] == ["e1", "e2", "e1"]
    said = {rating.example_id: rating.seen_from("k1", "k2") for rating in pair_ratings(results, EXPERIMENT)}
    assert said == {"e1": "b", "e2": "tie"}
    assert pair("e", "a").seen_from("k2", "k1") == "b"
    assert pair("e", "a").seen_from("k2", "k9") is None


def test_a_torn_line_is_said_and_mended_by_the_next_rating(results: Path) -> None:
    path = append_ratings(results, EXPERIMENT, "anna", [pair("e1")])
    with path.open("ab") as file:
        file.write(b'{"kind": "pair", "ti')
    batch = read_ratings(path)
    assert (len(batch.lines), batch.torn) == (1, True)
    append_ratings(results, EXPERIMENT, "anna", [pair("e2")])
    batch = read_ratings(path)
    assert [line.rating.example_id for line in batch.lines] == ["e1", "e2"]
    assert (batch.bad_lines, batch.torn) == (1, False)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'{"kind": "pair"}',
        b'{"kind": "score", "score": NaN}',
        b"x" * (MAX_LINE_BYTES + 1),
        b"[" * 9999,
    ],
)
def test_what_is_no_rating_is_passed_over(line: bytes) -> None:
    assert parse_rating(line) is None


def test_two_windows_write_one_file_and_no_line_is_lost(results: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from test_ratings import pair, EXPERIMENT; from ftlab.store.rating_file import append_ratings\n"
        "for n in range(40): append_ratings(Path(sys.argv[1]), EXPERIMENT, 'anna', [pair(f'{sys.argv[2]}-{n}')])"
    )
    here = str(Path(__file__).parent)
    writers = [subprocess.Popen([sys.executable, "-c", code, str(results), name, here]) for name in ("x", "y")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    ((place, _),) = rating_files(results, EXPERIMENT)
    batch = read_ratings(results / place)
    assert len({line.rating.example_id for line in batch.lines}) == 80
    assert (batch.bad_lines, batch.torn) == (0, False)


def test_a_folder_that_cannot_be_written_and_a_link_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the folder of the experiment is not there"):
        append_ratings(results, "exp-other", "anna", [pair()])
    folder = results / EXPERIMENT / "ratings"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("mine")
    os.symlink(secret, folder / file_name("anna"))
    with pytest.raises((StorageError, OSError)):
        append_ratings(results, EXPERIMENT, "anna", [pair()])
    assert secret.read_text() == "mine"
    assert rating_files(results, EXPERIMENT) == []
    with pytest.raises(ValueError, match="only"):
        append_ratings(results, EXPERIMENT, "bob", [pair()])


class Rated:
    """Made-up results, and what is needed to rate the answers of two arms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.experiment = make_results(folder, examples=40)
        plan = find_plan(folder)
        self.arms = {arm.label: arm for arm in plan.arms}
        self.keys = {run.arm_id: run.key("predictions", "validation") or "" for run in plan.runs}
        with Ledger(folder, derive=update_comparisons) as ledger:
            ledger.catch_up()
            ledger.publish()
            view = build_view(ledger.connection, self.experiment)
        self.base = next(arm for arm in view.arms if arm.is_baseline)
        self.arm = next(arm for arm in view.arms if arm.method_name == "lora" and arm.metrics)
        dataset = plan.runs[0].key("dataset") or ""
        with open_snapshot(folder) as snapshot:
            keys = [self.keys[self.base.arm_id], self.keys[self.arm.arm_id]]
            self.examples, self.equal = rateable(snapshot.cursor(), dataset, "validation", keys)

    def rate(self, rater: str, choice: str, count: int, swap: bool = False) -> None:
        one, other = (self.arm.arm_id, self.base.arm_id) if not swap else (self.base.arm_id, self.arm.arm_id)
        said: list[Rating] = [
            PairRating.model_validate(
                {
                    "time": now(),
                    "rater": rater,
                    "split": "validation",
                    "example_id": example,
                    "arm_a": one,
                    "arm_b": other,
                    "key_a": self.keys[one],
                    "key_b": self.keys[other],
                    "choice": choice,
                }
            )
            for example in self.examples[:count]
        ]
        append_ratings(self.folder, self.experiment, rater, said)


@pytest.fixture
def rated(tmp_path: Path) -> Rated:
    return Rated(tmp_path)


def test_only_different_answers_are_rateable(rated: Rated) -> None:
    assert rated.equal + len(rated.examples) == 40
    assert rated.equal > 0


def test_ratings_are_a_metric_with_an_interval_before_anybody_publishes_them(rated: Rated) -> None:
    rated.rate("anna", "a", 8)
    rated.rate("bob", "a", 8, swap=True)  # the baseline is a: bob prefers it
    with open_snapshot(rated.folder) as snapshot:
        cursor = snapshot.cursor()
        assert latest_ratings(cursor, rated.experiment) == []
        lay_ratings(cursor, rated.folder, newer_ratings(rated.folder, ingested(cursor)))
        view = build_view(cursor, rated.experiment)
    arm = next(arm for arm in view.arms if arm.arm_id == rated.arm.arm_id)
    found = arm.metrics["human_preference"]
    assert (found.value, found.n) == (0.5, 8)
    assert found.method.endswith("2 raters")
    assert view.metric_units["human_preference"] == "share"
    assert view.ratings is not None
    assert (view.ratings.raters, view.ratings.pairs, view.ratings.shared) == (2, 16, 8)
    assert view.ratings.agreement == pytest.approx(0.0)


def test_the_ledger_takes_them_in_once_and_a_rebuild_gives_the_same(rated: Rated) -> None:
    rated.rate("anna", "a", 5)
    with Ledger(rated.folder, derive=update_comparisons) as ledger:
        ledger.catch_up()
        rated.rate("anna", "b", 2)
        ledger.catch_up()
        ledger.catch_up()
        rows = ledger.connection.execute("SELECT * FROM ratings ORDER BY ALL").fetchall()
        latest = latest_ratings(ledger.connection, rated.experiment)
    assert len(rows) == 7
    assert sorted(row.choice or "" for row in latest) == ["a", "a", "a", "b", "b"]
    rebuild(rated.folder, update_comparisons)
    with Ledger(rated.folder) as ledger:
        assert ledger.connection.execute("SELECT * FROM ratings ORDER BY ALL").fetchall() == rows


def test_ratings_of_outputs_that_are_gone_are_left_out_and_counted(rated: Rated) -> None:
    rated.rate("anna", "a", 4)
    other = ScoreRating.model_validate(
        {
            "time": now(),
            "rater": "anna",
            "split": "validation",
            "example_id": "e",
            "arm": "a",
            "key": "gone",
            "score": 1.0,
        }
    )
    append_ratings(rated.folder, rated.experiment, "anna", [other])
    with Ledger(rated.folder, derive=update_comparisons) as ledger:
        ledger.catch_up()
        view = build_view(ledger.connection, rated.experiment)
    assert view.ratings is not None
    assert (view.ratings.pairs, view.ratings.scores, view.ratings.left_out) == (4, 0, 1)


def row(rater: str, example: str, choice: str, keys: tuple[str, str] = ("k1", "k2")) -> RatingRow:
    return RatingRow(rater, "t", "validation", example, "pair", "a1", keys[0], "a2", keys[1], choice, None)


def test_agreement_sees_through_the_order_in_which_a_pair_was_named() -> None:
    said = [row("anna", f"e{n}", "a" if n % 2 else "b") for n in range(10)]
    turned = [row("bob", f"e{n}", "b" if n % 2 else "a", ("k2", "k1")) for n in range(10)]
    assert agreement([*said, *turned]) == (pytest.approx(1.0), 10)
    assert agreement(said) == (None, 0)
    alike = [row(rater, f"e{n}", "a") for rater in ("x", "y") for n in range(5)]
    assert agreement(alike) == (None, 5), "all say one thing: kappa is not defined"
