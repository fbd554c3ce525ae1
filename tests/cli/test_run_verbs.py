"""`ftlab run`, `resume`, `status` and `doctor` as a user meets them: processes, streams, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftlab.testing.fake_pipeline import read_work
from ftlab.testing.tiny import tiny_rows

SPEC = """
version: 1
name: colours
question: Which method?
model: builtin:smollm2-135m-instruct
data: {source: ./rows.jsonl, splits: {validation: 24, test: 6}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  metrics: [accuracy, valid_format]
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [4, 8]}}
decision: {metric: accuracy}
"""


class Desk:
    """A folder with a spec in it, and `ftlab` run there with fake stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        (folder / "spec.yaml").write_text(SPEC)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(60)))

    def start(self, *arguments: str, fake: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "FTLAB_PIPELINE": "ftlab.testing.fakes:FakePipeline",
            "FTLAB_FAKE": json.dumps(fake or {}),
            "FTLAB_CACHE": str(self.folder / "cache"),
        }
        env.pop("FTLAB_RESULTS", None)
        command = [sys.executable, "-c", "import sys; from ftlab.cli import main; sys.exit(main())", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=env, text=True, **pipes)

    def __call__(self, *arguments: str, fake: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, fake=fake)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


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
