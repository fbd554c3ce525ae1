"""Whole sweeps of fakes: coordinator, workers, stages, journals and ledger together, each in its own process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from conftest import Sweep, wait_until

from ftlab.store.ledger import Ledger

MakeSweep = Callable[..., Sweep]
PROMPT = {"type": "fake_prompt"}
TRAINED = {"type": "fake_trained"}


def kinds(work: list[dict]) -> Counter[str]:
    return Counter(line["kind"] for line in work)


def ledger_rows(results: Path, sql: str) -> list[tuple]:
    with Ledger(results) as ledger:
        return ledger.connection.execute(sql).fetchall()


def test_every_run_is_done_and_stands_in_the_ledger(sweep: MakeSweep) -> None:
    methods = {f"arm{n}": {**TRAINED, "seconds": 0.05, "learning_rate": 0.1 / (n + 1)} for n in range(38)}
    one = sweep({"base": PROMPT, "other": {**PROMPT, "quality": 0.9}, **methods}, workers=2)
    code, outcome = one.run()
    assert (code, outcome["total"], outcome["already_done"]) == (0, 40, 0)
    assert set(one.attempts().values()) == {"complete"}
    assert len(one.attempts()) == 40
    assert ledger_rows(one.results, "SELECT status, count(*) FROM runs GROUP BY 1") == [("complete", 40)]
    # The base is benchmarked once for both prompts, the data set is made once for all.
    assert kinds(one.work()) == {"dataset": 1, "weights": 38, "predictions": 40, "scores": 40, "benchmark": 39}


def test_a_second_run_does_no_work_and_starts_no_worker(sweep: MakeSweep) -> None:
    one = sweep({"a": PROMPT, "b": TRAINED})
    assert one.run()[0] == 0
    work, attempts = one.work(), one.attempts()
    code, outcome = one.run()
    assert (code, outcome) == (0, {"total": 2, "already_done": 2, "ends": {}})
    assert (one.work(), one.attempts()) == (work, attempts)


def test_a_session_with_nothing_to_do_imports_no_torch(sweep: MakeSweep) -> None:
    one = sweep({"a": PROMPT})
    assert one.run()[0] == 0
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import sweep; assert sweep.main() == 0; "
        "print(sorted(set(sys.modules) & {'torch', 'transformers', 'peft', 'datasets'}))"
    )
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, folder, str(one.results), json.dumps(one.options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_stage_that_is_gone_is_made_again(sweep: MakeSweep) -> None:
    one = sweep({"a": PROMPT})
    one.run()
    manifest = next(path for path in one.stages().values() if path.parent.parent.name == "scores")
    manifest.unlink()
    code, outcome = one.run()
    assert (code, outcome["ends"]) == (0, {"a": ["complete", None]})
    assert kinds(one.work()) == {"dataset": 1, "predictions": 1, "scores": 2, "benchmark": 1}


def test_a_corrected_metric_rescores_and_a_new_benchmark_trains_nothing(sweep: MakeSweep) -> None:
    sweep({"a": PROMPT, "b": TRAINED}).run()
    before = kinds(sweep({}).work())
    corrected = sweep({"a": PROMPT, "b": TRAINED}, metric_version="2")
    assert corrected.run()[0] == 0
    assert kinds(corrected.work()) - before == {"scores": 2}
    before = kinds(corrected.work())
    more = sweep({"a": PROMPT, "b": TRAINED}, metric_version="2", benchmarks=["builtin:piqa", "builtin:openbookqa"])
    assert more.run()[0] == 0
    assert kinds(more.work()) - before == {"benchmark": 2}
    curves = ledger_rows(more.results, "SELECT run_id, attempt, count(*) FROM curves GROUP BY ALL")
    assert [count for *_, count in curves] == [5, 5, 5], "a cached training shows its curves wherever it is used"


def test_a_failing_run_is_a_row_with_its_reason_and_the_others_go_on(sweep: MakeSweep) -> None:
    bad = {**PROMPT, "fault": "usage"}
    one = sweep({"bad": bad, "good": PROMPT, "large": {**PROMPT, "fault": "oom"}, "dead": {**PROMPT, "fault": "exit"}})
    code, outcome = one.run()
    assert code == 3
    assert outcome["ends"]["good"] == ["complete", None]
    assert outcome["ends"]["bad"] == ["failed", "the fake has no column 'answer'; name one of: question"]
    assert outcome["ends"]["large"][0] == "oom"
    assert "exit code 7" in outcome["ends"]["dead"][1]
    rows = dict(ledger_rows(one.results, "SELECT status, count(*) FROM runs GROUP BY 1"))
    assert rows == {"complete": 1, "failed": 2, "oom": 1}
    assert not ledger_rows(one.results, "SELECT 1 FROM runs WHERE status <> 'complete' AND reason IS NULL")


def test_a_failed_run_is_tried_again_by_the_next_session(sweep: MakeSweep) -> None:
    one = sweep({"flaky": {**PROMPT, "fault": "error", "fault_times": 1}, "good": PROMPT})
    assert one.run()[0] == 3
    code, outcome = one.run()
    assert (code, outcome["already_done"], outcome["ends"]) == (0, 1, {"flaky": ["complete", None]})
    assert sorted(one.attempts().values()) == ["complete", "complete", "failed"]


def test_retries_within_a_session_are_for_what_may_go_well_the_next_time(sweep: MakeSweep) -> None:
    flaky = {"fault_times": 2}
    methods = {
        "error": {**PROMPT, "fault": "error", **flaky},
        "kill": {**PROMPT, "fault": "kill", **flaky},
        "oom": {**PROMPT, "fault": "oom", **flaky},
        "always": {**PROMPT, "fault": "error"},
    }
    one = sweep(methods, retries=2, workers=2)
    code, outcome = one.run()
    assert code == 3
    assert {name: end[0] for name, end in outcome["ends"].items()} == {
        "error": "complete",
        "kill": "complete",
        "oom": "oom",
        "always": "failed",
    }
    assert Counter(one.attempts().values()) == {"failed": 5, "killed": 2, "oom": 1, "complete": 2}


def test_a_second_session_in_the_same_folder_is_refused_with_the_pid(sweep: MakeSweep) -> None:
    first = sweep({"long": {**PROMPT, "seconds": 20}})
    process = first.start()
    wait_until(first.work)
    code, outcome = sweep({"other": PROMPT}).run()
    assert code == 2
    assert f"process {process.pid}" in outcome["error"]
    assert "in use by another `ftlab run`" in outcome["error"]
    assert process.poll() is None
    assert len(first.attempts()) == 1


def test_ctrl_c_stops_at_the_next_step_and_a_resume_finishes(sweep: MakeSweep) -> None:
    one = sweep({"a": PROMPT, "b": {**TRAINED, "seconds": 2}, "c": PROMPT})
    process = one.start()
    wait_until(lambda: kinds(one.work())["weights"])
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["ends"]["b"] == ["cancelled", "stopped by the user"]
    assert sorted(map(str, one.attempts().values())) == ["cancelled", "complete"]
    assert one.run()[0] == 0
    assert Counter(one.attempts().values()) == {"cancelled": 1, "complete": 3}


def test_a_run_that_reaches_no_step_is_ended_after_the_grace(sweep: MakeSweep) -> None:
    one = sweep({"stuck": {**PROMPT, "fault": "hang"}}, grace=0.3)
    process = one.start()
    wait_until(lambda: kinds(one.work())["predictions"])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(one.attempts().values()) == ["cancelled"]


def test_a_second_ctrl_c_stops_at_once(sweep: MakeSweep) -> None:
    one = sweep({"stuck": {**PROMPT, "fault": "hang"}}, grace=600)
    process = one.start()
    wait_until(lambda: kinds(one.work())["predictions"])
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "the first one waits for the run's next step, which never comes"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(one.attempts().values()) == ["cancelled"]
    assert ledger_rows(one.results, "SELECT status FROM runs") == [("cancelled",)]


def test_a_full_disk_ends_the_sweep_with_one_sentence(sweep: MakeSweep) -> None:
    one = sweep({"a": {**PROMPT, "fault": "disk"}, "b": PROMPT, "c": PROMPT})
    code, outcome = one.run()
    assert code == 2
    assert "the disk is full" in outcome["error"]
    assert "ftlab resume" in outcome["error"]
    assert list(one.attempts().values()) == ["failed"], "no run is started on a full disk"
