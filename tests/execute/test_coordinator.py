"""The coordinator's decisions, with an executor that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ftlab.errors import StorageError
from ftlab.events import EventType, Status
from ftlab.execute import coordinator
from ftlab.execute.attempts import create_attempt, read_config, read_end
from ftlab.execute.base import Finished, Handle
from ftlab.execute.bookkeeping import Bookkeeping
from ftlab.execute.coordinator import Coordinator, Outcome, unfinished_runs
from ftlab.execute.progress import Silent
from ftlab.execute.pruning import Verdict
from ftlab.plan.run import Plan, RunConfig
from ftlab.search.session import SearchSession
from ftlab.spec.schema import ExecuteSpec
from ftlab.store.journal import EventWriter
from ftlab.testing.fakes import fake_plan

PROMPT = {"type": "fake_prompt"}
TRAINED = {"type": "fake_trained"}


class NoBooks:
    def ingest(self) -> None:
        return None

    catch_up = ingest

    def publish_if_due(self) -> int | None:
        return None

    def publish(self) -> int:
        return 0


class FullBooks(NoBooks):
    def ingest(self) -> None:
        raise StorageError("cannot write the ledger: the disk is full")

    catch_up = ingest


class Scripted:
    """Ends the oldest running attempt at every poll, as `end` says, and remembers the order of submissions."""

    def __init__(self, capacity: int, end: Callable[[str, int], Status], warm: Sequence[str] = ()) -> None:
        self.capacity = capacity
        self.warm = warm
        self.order: list[str] = []
        self.closed = False
        self._end = end
        self._running: list[Handle] = []

    def submit(self, attempt: Path, base: str) -> Handle:
        assert len(self._running) < self.capacity
        self._running.append(Handle(attempt, base))
        self.order.append(read_config(attempt).method_name)
        return self._running[-1]

    def poll(self, timeout: float) -> list[Finished]:
        if not self._running:
            return []
        handle = self._running.pop(0)
        config = read_config(handle.attempt)
        status = self._end(config.method_name, self.order.count(config.method_name))
        reason = None if status is Status.COMPLETE else f"told to be {status}"
        with EventWriter(handle.attempt / "events.jsonl") as write:
            write(EventType.ATTEMPT_FINISHED, status=status, reason=reason, error=None)
        return [Finished(handle, status, reason)]

    def cancel(self) -> None:
        raise AssertionError("nobody asked for that")

    def close(self) -> None:
        self.closed = True


def run(plan: Plan, results: Path, executor: Scripted) -> Outcome:
    return Coordinator(plan, results, executor, Bookkeeping(NoBooks()), Silent()).run()


def test_runs_that_share_work_are_started_apart(tmp_path: Path) -> None:
    # a and b are prompts on one base: its benchmark is needed by both, and c and d have their own.
    methods = {"a": PROMPT, "b": {**PROMPT, "quality": 0.9}, "c": TRAINED, "d": {**TRAINED, "quality": 0.9}}
    executor = Scripted(2, lambda name, count: Status.COMPLETE)
    run(fake_plan(methods), tmp_path, executor)
    assert executor.order[:2] == ["a", "c"]
    assert sorted(executor.order) == ["a", "b", "c", "d"]


def test_with_one_worker_the_plans_order_is_kept(tmp_path: Path) -> None:
    executor = Scripted(1, lambda name, count: Status.COMPLETE)
    run(fake_plan({name: {**PROMPT, "quality": n / 10} for n, name in enumerate("abcd")}), tmp_path, executor)
    assert executor.order == ["a", "b", "c", "d"]


def test_a_run_whose_base_is_loaded_goes_first(tmp_path: Path) -> None:
    plan = fake_plan({"cold": TRAINED, "hot": {**TRAINED, "quality": 0.9}})
    other = plan.runs[1].model.model_copy(update={"revision": "hot"})
    runs = (plan.runs[0], plan.runs[1].model_copy(update={"model": other}))
    executor = Scripted(1, lambda name, count: Status.COMPLETE, warm=["hot"])
    run(plan.model_copy(update={"runs": runs}), tmp_path, executor)
    assert executor.order == ["hot", "cold"]


@pytest.mark.parametrize(
    ("status", "tries"), [(Status.FAILED, 3), (Status.KILLED, 3), (Status.OOM, 1), (Status.CANCELLED, 1)]
)
def test_only_what_may_go_well_the_next_time_is_retried(tmp_path: Path, status: Status, tries: int) -> None:
    executor = Scripted(1, lambda name, count: status)
    outcome = run(fake_plan({"a": PROMPT}, execute=ExecuteSpec(retries=2)), tmp_path, executor)
    assert len(executor.order) == tries
    assert [end.status for end in outcome.ends] == [status]


def test_what_would_end_the_same_is_not_retried(tmp_path: Path) -> None:
    class Settled(Scripted):
        def poll(self, timeout: float) -> list[Finished]:
            return [replace(news, settled=True) for news in super().poll(timeout)]

    executor = Settled(1, lambda name, count: Status.FAILED)
    run(fake_plan({"a": PROMPT}, execute=ExecuteSpec(retries=2)), tmp_path, executor)
    assert executor.order == ["a"]


def test_retries_come_after_the_other_runs(tmp_path: Path) -> None:
    executor = Scripted(1, lambda name, count: Status.FAILED if (name, count) == ("a", 1) else Status.COMPLETE)
    outcome = run(fake_plan({"a": PROMPT, "b": TRAINED}, execute=ExecuteSpec(retries=1)), tmp_path, executor)
    assert executor.order == ["a", "b", "a"]
    assert (outcome.exit_code, outcome.failures) == (0, [])


def test_a_seed_that_is_given_up_with_its_arm_leaves_no_checkpoint(tmp_path: Path, monkeypatch) -> None:
    plan = fake_plan({"a": TRAINED})

    class GivenUp(SearchSession):
        def given_up(self, run: RunConfig) -> Verdict:
            return Verdict(0, "its arm was given up at seed 0")

    monkeypatch.setattr(coordinator, "SearchSession", GivenUp)
    killed = create_attempt(tmp_path, plan.runs[0])
    (killed / "checkpoints").mkdir()
    outcome = run(plan, tmp_path, Scripted(1, lambda name, count: Status.COMPLETE))
    assert [end.status for end in outcome.ends] == [Status.PRUNED]
    assert list(tmp_path.rglob("checkpoints")) == []


def test_a_complete_attempt_without_its_stages_is_not_done(tmp_path: Path) -> None:
    plan = fake_plan({"a": PROMPT})
    run(plan, tmp_path, Scripted(1, lambda name, count: Status.COMPLETE))
    assert unfinished_runs(plan, tmp_path) == list(plan.runs), "the scripted executor has made no stage"


def test_the_plan_is_on_disk_before_the_first_run(tmp_path: Path) -> None:
    plan = fake_plan({"a": PROMPT})

    def end(name: str, count: int) -> Status:
        stored = Plan.model_validate_json((tmp_path / plan.experiment_id / "resolved.json").read_bytes())
        assert stored == plan
        assert (tmp_path / plan.experiment_id / "spec.yaml").read_text() == plan.spec_text
        return Status.COMPLETE

    run(plan, tmp_path, Scripted(1, end))


def test_books_that_cannot_be_kept_end_the_session_and_its_processes(tmp_path: Path) -> None:
    executor = Scripted(1, lambda name, count: Status.COMPLETE)
    plan = fake_plan({"a": PROMPT})
    with pytest.raises(StorageError, match="disk is full"):
        Coordinator(plan, tmp_path, executor, Bookkeeping(FullBooks()), Silent()).run()
    assert executor.closed


def test_a_dead_worker_is_closed_in_its_place(tmp_path: Path) -> None:
    class Dying(Scripted):
        def poll(self, timeout: float) -> list[Finished]:
            return [Finished(self._running.pop(0), Status.KILLED, "killed by SIGKILL", died=True)]

    executor = Dying(1, lambda name, count: Status.COMPLETE)
    outcome = run(fake_plan({"a": PROMPT}), tmp_path, executor)
    assert outcome.exit_code == 3
    end = read_end(outcome.ends[0].attempt)
    assert end is not None
    assert (end.status, end.reason) == (Status.KILLED, "killed by SIGKILL")


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Warns(Scripted):
    """Every run warns before it ends."""

    def poll(self, timeout: float) -> list[Finished]:
        for handle in self._running[:1]:
            with EventWriter(handle.attempt / "events.jsonl") as write:
                write(EventType.WARNING, code="overfitting", message="by heart\x1b[2J", step=8)
        return super().poll(timeout)


def test_what_runs_warn_of_is_noted_once_and_cannot_steer_the_terminal(tmp_path: Path) -> None:
    plan = fake_plan({"a": {**TRAINED, "quality": 0.1}, "b": {**TRAINED, "quality": 0.2}})
    display, executor = Noting(), Warns(1, lambda name, number: Status.FAILED)
    Coordinator(plan, tmp_path, executor, Bookkeeping(NoBooks()), display).run()
    (note,) = display.notes
    assert note.startswith("warning: a: by heart")
    assert "\x1b" not in note
