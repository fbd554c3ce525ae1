"""`ftlab decide`: the test rows are opened once, on record, and by nothing else."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from desk import SPEC, Desk

from ftlab.testing.fake_pipeline import read_work

FAIR = {"zero_shot": {"quality": 0.2}, "few_shot": {"quality": 0.4}, "lora": {"quality": 0.9}}
WITH_PROMPTS = SPEC.replace("methods:\n", "methods:\n  few_shot: {type: prompt, shots: 2}\n")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def answered_on_test(desk: Desk) -> list[dict[str, Any]]:
    """Every computation on the test rows so far."""
    return [one for one in read_work(desk.results) if one["name"] == "test" and one["what"] == "begin"]


def openings(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(desk.results.glob("*/openings/*.json"))]


@pytest.fixture
def ran(desk: Desk) -> Desk:
    (desk.folder / "spec.yaml").write_text(WITH_PROMPTS)
    done = desk("run", "spec.yaml", fake=FAIR)
    assert done.returncode == 0, done.stderr
    assert "decide  ftlab decide colours-" in done.stdout
    assert answered_on_test(desk) == [], "a sweep never sees the test rows"
    return desk


def test_decide_opens_the_rows_once_for_the_finalists_and_everything_agrees(ran: Desk) -> None:
    desk = ran
    done = desk("decide", "--why", "the sweep is done", fake=FAIR)
    assert done.returncode == 0, done.stderr
    (opening,) = openings(desk)
    roles = {arm["role"]: arm["label"] for arm in opening["arms"]}
    assert roles["baseline"] == "few_shot"
    assert roles["base"] == "zero_shot"
    assert roles["finalist"].startswith("lora r=")
    assert len(opening["arms"]) == 3, "the other LoRA arm stays where it was"
    assert opening["why"] == "the sweep is done"
    assert "@" in opening["who"]
    assert len(answered_on_test(desk)) == 6, "predictions and scores of three arms"
    assert {one["kind"] for one in answered_on_test(desk)} == {"predictions", "scores"}
    said = " ".join(done.stdout.split())
    assert "measured on 6 test rows that played no part in the choice, opened once" in said

    work = read_work(desk.results)
    again = desk("decide", "--json", fake=FAIR)
    assert again.returncode == 0, again.stderr
    view = json.loads(again.stdout)["view"]
    assert read_work(desk.results) == work, "nothing is computed twice"
    assert len(openings(desk)) == 1, "asking for the same answer is no second opening"
    assert (view["split"], view["splits"], view["examples"]) == ("test", ["validation", "test"], 6)
    assert [arm["role"] for arm in view["arms"]] == ["baseline", "base", "finalist"]
    finalist = view["arms"][2]
    assert finalist["validation"]["n"] == 24
    assert finalist["validation_difference"]["estimate"]["n"] == 24
    assert finalist["difference"]["estimate"]["n"] == 6
    assert [one["looks"] for one in view["openings"]] == [3]
    (verdict,) = desk.results.glob("*/verdict.json")
    assert json.loads(verdict.read_bytes())["conclusion"] == view["conclusion"]

    shown = json.loads(desk("show", "--json", "--split", "validation").stdout)
    assert (shown["split"], shown["examples"], len(shown["arms"])) == ("validation", 24, 4)
    assert json.loads(desk("show", "--json").stdout)["split"] == "test"


def test_the_ledger_built_again_knows_the_openings(ran: Desk) -> None:
    ran("decide", fake=FAIR)
    before = json.loads(ran("show", "--json").stdout)
    assert ran("rebuild").returncode == 0
    after = json.loads(ran("show", "--json").stdout)
    assert before | {"snapshot": 0} == after | {"snapshot": 0}


def test_a_second_look_is_asked_for_counted_and_shown(ran: Desk) -> None:
    desk = ran
    assert desk("decide", fake=FAIR).returncode == 0
    (desk.folder / "spec.yaml").write_text(WITH_PROMPTS.replace("[4, 8]", "[4, 8, 16]"))
    better = FAIR | {"lora": {"quality": 1.0}}
    assert desk("run", "spec.yaml", fake=better).returncode == 0
    before = read_work(desk.results)

    refused = desk("decide", fake=better)
    if refused.returncode == 0:
        pytest.fail("the new arm should be the best of its method, and so a new look")
    assert refused.returncode == 2
    assert "opened once before" in refused.stderr
    assert '--again --why "..."' in refused.stderr
    assert desk("decide", "--again", fake=better).returncode == 2, "a reason is part of it"
    assert read_work(desk.results) == before
    assert len(openings(desk)) == 1, "what was refused is not on record"

    done = desk("decide", "--again", "--why", "a larger rank was asked for", fake=better)
    assert done.returncode == 0, done.stderr
    assert [one["looks"] > 0 for one in openings(desk)] == [True, True]
    assert "opened 2 times" in " ".join(done.stdout.split())
    assert "opened 2 times" in " ".join(desk("show").stdout.split())


def test_an_unfinished_sweep_is_not_decided_unless_asked_for(desk: Desk) -> None:
    process = desk.start("run", "spec.yaml", fake={"zero_shot": {"quality": 0.3}, "lora": {"seconds": 30}})
    deadline = time.monotonic() + 60
    while not list(desk.results.glob("stages/scores/*/COMPLETE.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.5)
    refused = desk("decide")
    assert refused.returncode == 2
    assert "did not finish; finish them by `ftlab resume colours-" in refused.stderr
    assert openings(desk) == []


def test_without_any_prompting_method_there_is_nothing_to_decide(desk: Desk) -> None:
    (desk.folder / "spec.yaml").write_text(SPEC.replace("  zero_shot: {type: prompt}\n", ""))
    assert desk("run", "spec.yaml").returncode == 0
    refused = desk("decide")
    assert (refused.returncode, openings(desk)) == (2, [])
    assert "add a method of `type: prompt`" in refused.stderr


def test_a_killed_decide_goes_on_with_the_same_opening(ran: Desk) -> None:
    desk = ran
    slow = {name: fields | {"seconds": 3} for name, fields in FAIR.items()}
    process = desk.start("decide", fake=slow)
    deadline = time.monotonic() + 60
    while not answered_on_test(desk):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(openings(desk)) == 1, "the look is on record before the first answer"
    status = json.loads(desk("show", "--json").stdout)
    assert status["split"] == "validation"

    done = desk("decide", fake=FAIR)
    assert done.returncode == 0, done.stderr
    assert len(openings(desk)) == 1
    assert json.loads(desk("show", "--json").stdout)["split"] == "test"


def test_rows_are_not_opened_where_nothing_could_answer_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "spec.yaml").write_text(WITH_PROMPTS + "execute: {workers: 2}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert desk("run", "spec.yaml", fake=FAIR).returncode == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    refused = desk("decide", "--why", "the sweep is done", fake=FAIR)
    assert (refused.returncode, openings(desk)) == (2, [])
    assert "this machine has 1; set execute.workers to at most 1" in refused.stderr


def test_sealed_rows_cannot_be_shown(ran: Desk) -> None:
    refused = ran("show", "--split", "test")
    assert refused.returncode == 2
    assert "are sealed; `ftlab decide colours-" in refused.stderr


def test_an_unreadable_record_of_an_opening_stops_the_next_one(ran: Desk) -> None:
    assert ran("decide", fake=FAIR).returncode == 0
    (record,) = ran.results.glob("*/openings/*.json")
    Path(record).write_text("{torn")
    refused = ran("decide", fake=FAIR)
    assert refused.returncode == 2
    assert "records a look at the test rows" in refused.stderr


def test_a_pipeline_stops_at_a_gate(ran: Desk) -> None:
    open_gate = ran("compare", "lora", "few_shot", "--fail-if", "delta<-1")
    assert open_gate.returncode == 0, open_gate.stderr
    closed = ran("compare", "lora", "few_shot", "--fail-if", "delta<-1", "--fail-if", "n<1000")
    assert closed.returncode == 4
    assert closed.stderr.startswith("gate not met: n<1000 holds for lora r=")
    assert ran("compare", "lora", "few_shot", "--fail-if", "delta").returncode == 2
    assert ran("compare", "--fail-if", "delta<1").returncode == 2


def test_arms_whose_answers_are_known_are_decided_again_without_a_look(ran: Desk) -> None:
    """A benchmark more makes every arm another one; what the arms answer on test is on disk already."""
    desk = ran
    assert desk("decide", fake=FAIR).returncode == 0
    answered = answered_on_test(desk)
    (desk.folder / "spec.yaml").write_text(WITH_PROMPTS + "benchmarks: {tasks: [builtin:piqa], limit: 10}\n")
    run = desk("run", "spec.yaml", fake=FAIR)
    assert run.returncode == 0, run.stderr
    assert "opened for arms that are no longer planned" in " ".join(run.stdout.split())

    done = desk("decide", fake=FAIR)
    assert done.returncode == 0, done.stderr
    assert answered_on_test(desk) == answered
    assert [one["looks"] for one in openings(desk)] == [3, 0]
    view = json.loads(desk("show", "--json").stdout)
    assert (view["split"], view["test_looks"]) == ("test", 1)
    assert all(arm["benchmarks"] for arm in view["arms"])
