"""`ftlab run`, `resume`, `status` and `doctor` as a user meets them: processes, streams, exit codes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import SPEC, Desk

from ftlab.testing.fake_pipeline import read_work


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_ends_with_the_comparison_the_report_and_the_next_command(desk: Desk) -> None:
    done = desk("run", "spec.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 of 3 runs done\n")
    assert "lora r=4" in done.stdout
    (report,) = desk.results.glob("colours-*/report.html")
    assert f"report  {report}" in done.stdout
    assert re.search(r"^best so far: .* with accuracy .* on validation, the best value of 3 arms$", done.stdout, re.M)
    assert "<html" in report.read_text()[:500]
    assert "ftlab ui" in done.stdout
    assert "zero_shot: complete" in done.stderr, "progress goes to stderr"
    assert "zero_shot: complete" not in done.stdout

    work = read_work(desk.results)
    again = desk("run", "spec.yaml", "--json")
    facts = json.loads(again.stdout)
    assert (again.returncode, facts["already_done"], facts["ended"]) == (0, 3, [])
    assert facts["fronts"] == [], "as `status --json` has it"
    assert facts["view"]["progress"]["by_status"] == {"complete": 3}
    assert read_work(desk.results) == work

    status = desk("status")
    assert "nobody works on it; 3 runs: 3 complete" in status.stdout
    assert "best so far" in status.stdout


def test_a_failure_is_told_by_run_and_status_and_tried_again_by_resume(desk: Desk) -> None:
    failing = {"lora": {"fault": "usage", "fault_times": 1}}
    done = desk("run", "spec.yaml", fake=failing)
    assert done.returncode == 3
    assert "1 of 3 runs done, 2 failed" in done.stdout
    assert "lora r=8: failed (the fake has no column 'answer'; name one of: question)" in done.stdout
    assert "ftlab resume colours-" in done.stdout

    status = desk("status").stdout
    assert re.search(r"^last error: lora r=.: failed \(the fake has no column .*\), see .*log\.txt$", status, re.M)
    assert re.search(r"^continue with: ftlab resume colours-\S+$", status, re.M)

    facts = json.loads(desk("status", "--json").stdout)
    assert facts["by_status"] == {"complete": 1, "failed": 2}
    assert facts["last_error"]["reason"].startswith("the fake has no column")
    assert Path(facts["last_error"]["log"]).read_text().count("Traceback") == 1
    assert facts["held_by"] is None

    resumed = desk("resume", fake=failing)
    assert resumed.returncode == 0, resumed.stdout
    assert "3 of 3 runs done, 1 of them before" in resumed.stdout


def test_a_running_sweep_is_seen_refuses_a_second_and_stops_by_ctrl_c(desk: Desk) -> None:
    process = desk.start("run", "spec.yaml", fake={"*": {"seconds": 20}})
    wait_for(lambda: any(line["kind"] == "predictions" for line in read_work(desk.results)))
    facts = json.loads(desk("status", "--json").stdout)
    assert facts["held_by"]["pid"] == process.pid
    assert [run["stage"] for run in facts["running"]] == ["predictions validation"]

    second = desk("run", "spec.yaml")
    assert second.returncode == 2
    assert f"process {process.pid}" in second.stderr
    assert second.stdout == ""

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in out
    assert "resume  ftlab resume colours-" in out
    assert "Traceback" not in err
    assert json.loads(desk("status", "--json").stdout)["by_status"] == {"waiting": 2, "cancelled": 1}


def test_after_a_kill_every_verb_says_the_same(desk: Desk) -> None:
    process = desk.start("run", "spec.yaml", fake={"*": {"seconds": 60}})
    folder = desk.results

    def published_running() -> bool:
        done = desk("ls", "latest", "--json", "--results", str(folder)) if (folder / "snapshots").exists() else None
        return done is not None and done.returncode == 0 and '"status": "running"' in done.stdout

    wait_for(published_running)
    process.kill()
    process.communicate()
    wait_for(lambda: json.loads(desk("status", "--json").stdout)["by_status"].get("killed"))

    facts = json.loads(desk("status", "--json").stdout)
    runs = json.loads(desk("ls", "latest", "--json").stdout)["runs"]
    assert facts["by_status"] == {"waiting": 2, "killed": 1} == dict(Counter(run["status"] for run in runs))
    (listed,) = json.loads(desk("ls", "--json").stdout)["experiments"]
    assert listed["by_status"] == facts["by_status"]
    (killed,) = [run for run in runs if run["status"] == "killed"]
    assert killed["reason"] == facts["last_error"]["reason"]
    shown = json.loads(desk("show", killed["run_id"], "--json").stdout)
    assert (shown["run"]["status"], shown["attempts"][0]["status"]) == ("killed", "killed")
    view = json.loads(desk("show", "--json").stdout)
    assert view["progress"]["by_status"] == facts["by_status"]

    shutil.rmtree(folder / "snapshots")
    for verb in ("show", "ls", "compare", "report"):
        done = desk(verb)
        assert (done.returncode, done.stdout) == (2, "")
        assert "1 experiment (colours-" in done.stderr
        assert f"ftlab rebuild --results {folder}" in done.stderr
    assert desk("rebuild").returncode == 0
    assert desk("show").returncode == 0


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("model: builtin", "modle: builtin"), "did you mean"),
        (("./rows.jsonl", "./rowz.jsonl"), "rowz.jsonl"),
        (("builtin:smollm2-135m-instruct", "builtin:nonsense"), "nonsense"),
    ],
)
def test_a_bad_spec_is_one_complaint_and_leaves_nothing(desk: Desk, edit: tuple[str, str], words: str) -> None:
    (desk.folder / "spec.yaml").write_text(SPEC.replace(*edit))
    done = desk("run", "spec.yaml")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not desk.results.exists()


def test_an_experiment_that_is_not_there_is_named_with_those_that_are(desk: Desk) -> None:
    done = desk("resume")
    assert (done.returncode, done.stdout) == (2, "")
    assert "ftlab run SPEC" in done.stderr
    assert desk("run", "spec.yaml").returncode == 0
    done = desk("status", "colors")
    assert done.returncode == 2
    assert "there are: colours-" in done.stderr
    assert desk("status", "colo").returncode == 0, "the beginning of an id is enough"


def test_doctor_tells_what_is_wrong_and_how_to_mend_it(desk: Desk) -> None:
    done = desk("doctor", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0, facts["problems"]
    assert facts["packages"]["torch"]
    assert facts["cpu"]["cores"] >= 1
    assert facts["network"] is None, "nothing is asked of the network without --network"
    (desk.folder / "file").write_text("")
    done = desk("doctor", "--results", "file/results")
    assert done.returncode == 2
    assert "choose another (--results)" in done.stdout


def test_forgetting_is_measured_without_a_prompt_too_and_the_base_is_benchmarked_once(desk: Desk) -> None:
    (desk.folder / "spec.yaml").write_text(
        SPEC.replace("  zero_shot: {type: prompt}\n", "") + "benchmarks: {tasks: [builtin:piqa], limit: 10}\n"
    )
    planned = desk("plan", "spec.yaml", "--json")
    estimate = json.loads(planned.stdout)["estimate"]
    assert estimate["runs"] == 3
    assert [(method["method"], method["type"], method["runs"], method["stages"]) for method in estimate["methods"]] == [
        ("lora", "lora", 2, 9),
        ("base model", "base", 1, 1),
    ]
    assert "3 runs" in desk("validate", "spec.yaml").stdout
    done = desk("run", "spec.yaml", "--json")
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)["view"]
    assert [arm["method_name"] for arm in view["arms"]] == ["lora", "lora"], "the base is no candidate"
    assert all(arm["benchmarks"][0]["base"]["n"] == 20 for arm in view["arms"])
    assert view["progress"]["total"] == 3
    assert not [part for part in view["missing"] if "piqa" in part["what"]]
    begun = [line["key"] for line in read_work(desk.results) if line["kind"] == "benchmark" and line["what"] == "begin"]
    assert len(begun) == len(set(begun)) == 3, "the base once, each trained arm once"
    status = desk("status").stdout
    assert "3 runs: 3 complete" in status
    base = next(run for run in json.loads(planned.stdout)["runs"] if len(run["stages"]) == 1)
    assert base["run_id"] in desk("ls", "colours", "--json").stdout
    shown = desk("show", base["run_id"])
    assert shown.returncode == 0, shown.stderr
    assert "base model" in shown.stdout
    desk("run", "spec.yaml", "-s", "name=another")
    desk("run", "spec.yaml", "-s", "methods.zero_shot={type: prompt}")
    again = [line for line in read_work(desk.results) if line["kind"] == "benchmark" and line["what"] == "begin"]
    assert len(again) == 3, "once for every experiment and every method"


def test_a_run_that_can_be_placed_nowhere_is_refused_before_anything_is_written(desk: Desk) -> None:
    done = desk("run", "spec.yaml", "-s", "execute.executor=slurm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines()[-1].endswith("there is no sbatch here; run ftlab on a login node")
    assert not desk.results.exists()
