"""`ftlab run`, `resume`, `status` and `doctor` as a user meets them: processes, streams, exit codes."""

from __future__ import annotations

import json
import signal
import time
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
    assert "<html" in report.read_text()[:500]
    assert "ftlab ui" in done.stdout
    assert "zero_shot: complete" in done.stderr, "progress goes to stderr"
    assert "zero_shot: complete" not in done.stdout

    work = read_work(desk.results)
    again = desk("run", "spec.yaml", "--json")
    facts = json.loads(again.stdout)
    assert (again.returncode, facts["already_done"], facts["ended"]) == (0, 3, [])
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
