"""`ftlab clone` as a user meets it: an arm that survives kills and new specs, or clear words why not."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from desk import SPEC, Desk

from ftlab.execute.experiments import experiment_folders, find_run, read_plan
from ftlab.execute.stages import StageStore
from ftlab.plan.clone import make_clone
from ftlab.plan.identity import weights_key
from ftlab.plan.run import Plan, RunConfig
from ftlab.search.clones import Clones
from ftlab.testing.fake_pipeline import read_work


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    assert desk("run", "spec.yaml").returncode == 0
    return desk


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """One that every test of the module may read, and none may change."""
    desk = Desk(tmp_path_factory.mktemp("untouched"))
    assert desk("run", "spec.yaml").returncode == 0
    return desk


def plan_of(desk: Desk) -> Plan:
    return read_plan(experiment_folders(desk.results)[0])


def run_of(desk: Desk, label: str) -> RunConfig:
    plan = plan_of(desk)
    arm = next(arm for arm in plan.arms if arm.label == label)
    return next(run for run in plan.runs if run.arm_id == arm.arm_id)


def clones(desk: Desk) -> list[dict[str, Any]]:
    done = desk("show", "--json")
    assert done.returncode == 0, done.stderr
    return [arm for arm in json.loads(done.stdout)["arms"] if arm["cloned_from"]]


def work(desk: Desk) -> Counter[tuple[str, str]]:
    return Counter((line["kind"], line["key"]) for line in read_work(desk.results) if line["what"] == "end")


def test_a_clone_is_run_shown_and_counted(desk: Desk) -> None:
    parent = run_of(desk, "lora r=4")
    before = work(desk)
    done = desk("clone", parent.run_id[:6], "-s", "r=16", "-s", "learning_rate=1e-3")
    assert done.returncode == 0, done.stderr
    label = f"lora r=16 learning_rate=0.001 (clone of {parent.run_id[:8]})"
    assert f"new arm: {label}" in done.stderr
    assert "4 of 4 runs done, 3 of them before" in done.stdout
    assert "1 of 4 arms tried was chosen by people after results on validation were seen" in done.stdout.replace(
        "\n", " "
    )
    (clone,) = clones(desk)
    assert (clone["label"], clone["cloned_from"], clone["status"]) == (label, parent.run_id, "complete")
    assert {key: clone["config"][key] for key in ("r", "learning_rate")} == {"r": 16, "learning_rate": 1e-3}
    changed = {"r", "learning_rate"}
    assert all(clone["config"][key] == value for key, value in parent.method.items() if key not in changed)
    assert [key for key, count in work(desk).items() if key in before and count != before[key]] == []
    report = next(desk.results.glob("*/report.html")).read_text()
    assert "arms tried <b>4, 1 of them a clone</b>" in report
    assert label in report
    assert label in desk("ls", plan_of(desk).experiment_id, "--json").stdout


def test_a_clone_of_a_clone_knows_all_that_was_changed(desk: Desk) -> None:
    parent = run_of(desk, "lora r=4")
    assert desk("clone", parent.run_id, "-s", "r=16").returncode == 0
    first = run_of(desk, f"lora r=16 (clone of {parent.run_id[:8]})")
    assert desk("clone", first.run_id, "-s", "epochs=3").returncode == 0
    assert plan_of(desk).arms[-1].label == f"lora r=16 epochs=3 (clone of {first.run_id[:8]})"


@pytest.mark.parametrize("command", [["resume"], ["run", "spec.yaml"]])
def test_a_clone_that_a_kill_kept_from_the_plan_is_run_once(desk: Desk, command: list[str]) -> None:
    plan = plan_of(desk)
    made = make_clone(plan, run_of(desk, "lora r=4"), ["r=16"], warm=False)
    Clones(desk.results, plan.experiment_id).add(made)  # and here the process is killed
    for _ in range(2):
        done = desk(*command)
        assert done.returncode == 0, done.stderr
        assert plan_of(desk).arms[-1].arm_id == made.arm_id
        assert len(plan_of(desk).arms) == 4
    assert set(work(desk).values()) == {1}


def test_a_clone_stays_when_the_spec_grows_and_goes_when_the_rows_change(desk: Desk) -> None:
    assert desk("clone", run_of(desk, "lora r=4").run_id, "-s", "r=16").returncode == 0
    (desk.folder / "spec.yaml").write_text(SPEC.replace("[4, 8]", "[4, 8, 12]"))
    assert desk("run", "spec.yaml").returncode == 0
    assert len(clones(desk)) == 1
    assert len(plan_of(desk).arms) == 5
    (desk.folder / "spec.yaml").write_text(SPEC.replace("validation: 24", "validation: 21"))
    assert desk("run", "spec.yaml").returncode == 0
    assert clones(desk) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["rr=16"], "-s rr=16  rr  unknown key 'rr', did you mean 'r'?"),
        (["r=many"], "-s r=many  r  expected a whole number"),
        (["r=0"], "expected a number of at least 1"),
        (["r"], "expected key=value"),
        (["type=full"], "type: a clone keeps its method (lora)"),
        ([], "nothing is changed: a clone of run"),
        (["r=4"], "nothing is changed: a clone of run"),
        (["r=8", "lora_alpha=16"], "the experiment has this arm already: 'lora r=8'"),
    ],
)
def test_what_makes_no_arm_is_one_sentence_and_leaves_nothing(untouched: Desk, changes: list[str], words: str) -> None:
    options = [part for change in changes for part in ("-s", change)]
    done = untouched("clone", run_of(untouched, "lora r=4").run_id, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(untouched.results.glob("*/clones"))


def test_a_run_that_is_not_there_is_said(untouched: Desk) -> None:
    done = untouched("clone", "rzzz", "-s", "r=16")
    assert done.returncode == 2
    assert "no run begins with 'rzzz' in " in done.stderr


def test_a_warm_start_is_another_arm_with_other_weights(desk: Desk) -> None:
    parent = run_of(desk, "lora r=4")
    done = desk("clone", parent.run_id, "--warm-start")
    assert done.returncode == 0, done.stderr
    warm = run_of(desk, f"lora r=4 (warm start from {parent.run_id[:8]})")
    assert warm.method == parent.method
    assert warm.start == parent.key("weights") != warm.key("weights")
    messages = [message.model_dump(mode="json") for message in parent.messages]
    dataset = parent.key("dataset") or ""
    scratch = weights_key(parent.model, dataset, parent.method, messages, parent.seed)
    assert scratch == parent.key("weights"), "a training from scratch keeps its key"
    again = desk("clone", parent.run_id, "--warm-start")
    assert again.returncode == 2
    assert "has this arm already" in again.stderr


@pytest.mark.parametrize(
    ("label", "changes", "words"),
    [
        ("zero_shot", ["-s", "shots=2"], "trains nothing (prompt), so no training can start from it"),
        ("lora r=4", ["-s", "r=16"], "were made with another r; keep it as it was, or clone without --warm-start"),
        ("lora r=4", ["-s", "type=full"], "type: a clone keeps its method"),
    ],
)
def test_weights_that_do_not_fit_are_refused(untouched: Desk, label: str, changes: list[str], words: str) -> None:
    done = untouched("clone", run_of(untouched, label).run_id, "--warm-start", *changes)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(untouched.results.glob("*/clones"))


def test_weights_that_were_collected_are_had_again_as_is_said(desk: Desk) -> None:
    assert desk("gc", "--apply").returncode == 0
    store = StageStore(desk.results)
    keys = {run.run_id: run.key("weights") for run in plan_of(desk).runs}
    records = {run_id: store.complete("weights", key) for run_id, key in keys.items() if key is not None}
    (gone,) = [run_id for run_id, record in records.items() if record is not None and record.collected]
    done = desk("clone", gone, "--warm-start")
    assert done.returncode == 2
    command = f"ftlab retry --run {gone}"
    assert f"the weights of run {gone} were removed by `ftlab gc`; train them again: {command}" in done.stderr
    assert desk(*command.split()[1:]).returncode == 0
    assert desk("clone", gone, "--warm-start").returncode == 0


def test_gc_leaves_the_weights_that_an_unfinished_clone_starts_from(desk: Desk) -> None:
    (loser,) = [one for one in json.loads(desk("gc", "--json").stdout)["removals"] if one["what"] == "weights"]
    key = Path(loser["path"]).name
    parent = next(run for run in plan_of(desk).runs if run.key("weights") == key)
    plan, run = find_run(desk.results, parent.run_id)
    Clones(desk.results, plan.experiment_id).add(make_clone(plan, run, ["epochs=1"], warm=True))
    assert key not in desk("gc", "--json").stdout, "it is on record, if not yet in the plan"
    assert desk("resume").returncode == 0
    assert key in desk("gc", "--json").stdout


def test_a_clone_that_is_killed_goes_on_and_does_nothing_twice(desk: Desk) -> None:
    parent = run_of(desk, "lora r=4")
    process = desk.start("clone", parent.run_id, "-s", "epochs=3", "--warm-start", fake={"*": {"seconds": 0.3}})
    deadline = time.monotonic() + 60
    while not list(desk.results.glob("*/clones/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    for _ in range(2):
        assert desk("resume").returncode == 0
    (clone,) = clones(desk)
    assert clone["status"] == "complete"
    assert set(work(desk).values()) == {1}
