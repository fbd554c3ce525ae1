from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from child_training import train
from safetensors.torch import load_file

from ftlab.events import EventType, RunCancelled, RunPruned
from ftlab.models.load import LoadedModel
from ftlab.train import checkpoint, trainer

CHILD = Path(__file__).with_name("child_training.py")
STEPS = 30


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(
    ("method", "fields"),
    [("lora", {"lora_dropout": 0.1, "keep": "best"}), ("full", {"gradient_accumulation_steps": 2, "batch_size": 4})],
)
def test_killed_and_resumed_equals_uninterrupted(
    method: str, fields: dict[str, Any], tiny_folder: Path, tiny_base: LoadedModel, events: Any, tmp_path: Path
) -> None:
    fields = {"learning_rate": 3e-3, "max_steps": STEPS, "evaluations": 6, "checkpoints": 9, **fields}
    kill_at = random.SystemRandom().randint(4, STEPS - 1)
    command = [sys.executable, str(CHILD), str(tiny_folder), str(tmp_path), method, json.dumps(fields)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= kill_at:
            child.send_signal(signal.SIGKILL)
            break
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL, f"not killed at step {kill_at}"
    summary = train(tiny_base, method, fields, tmp_path / "killed", events)
    # The kill may fall into a save, so the newest checkpoint that verifies may be the one before.
    assert summary["resumed_from_step"] in range(max(3, kill_at - 6), STEPS), f"killed at step {kill_at}"
    assert same(tmp_path / "killed", tmp_path / "whole"), f"killed at step {kill_at}"
    here = train(tiny_base, method, fields, tmp_path / "here")
    assert here["resumed_from_step"] is None
    assert same(tmp_path / "here", tmp_path / "whole")
    assert (summary["steps"], summary["train_tokens"]) == (STEPS, here["train_tokens"])
    assert summary["best_step"] == here["best_step"]
    assert [step for step, _ in events.curve("train/loss")] == list(range(1, STEPS + 1))


def test_a_checkpoint_holds_no_pickle_that_is_loaded_unverified(tiny_base: LoadedModel, tmp_path: Path) -> None:
    train(tiny_base, "lora", {"max_steps": 4}, tmp_path / "out")
    (folder,) = (tmp_path / "out.checkpoints").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert names == checkpoint.REQUIRED | {checkpoint.MANIFEST}


def interrupted(base: LoadedModel, out: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    """Train until step 7 of 10, with checkpoints on the way."""
    with monkeypatch.context() as patch:
        real = trainer.answer_loss
        calls = iter(range(100))

        def stop(*arguments: Any) -> torch.Tensor:
            if next(calls) == 6:
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(trainer, "answer_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            train(base, "lora", fields, out)


FIELDS = {"learning_rate": 3e-3, "max_steps": 10, "checkpoints": 4, "evaluations": 0}


def stopping_at(step: int) -> Any:
    """A reporter through which somebody asks the training to stop after `step`."""

    def report(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.PROGRESS and fields["phase"] == "train" and fields["done"] >= step:
            raise RunCancelled

    return report


def test_one_that_is_stopped_keeps_its_last_step_and_goes_on_from_there(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftlab.train.callbacks.PROGRESS_SECONDS", 0.0)
    fields = {**FIELDS, "checkpoints": 0, "lora_dropout": 0.1}
    train(tiny_base, "lora", fields, tmp_path / "whole")
    with pytest.raises(RunCancelled):
        train(tiny_base, "lora", fields, tmp_path / "out", stopping_at(7))
    assert not any((tmp_path / "out").glob("*.safetensors"))
    assert [path.name for path in (tmp_path / "out.checkpoints").iterdir()] == ["checkpoint-7"]
    assert train(tiny_base, "lora", fields, tmp_path / "out")["resumed_from_step"] == 7
    assert same(tmp_path / "out", tmp_path / "whole")


def test_one_that_is_given_up_leaves_its_curve_and_cost_and_no_checkpoint(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Any
) -> None:
    monkeypatch.setattr("ftlab.train.callbacks.PROGRESS_SECONDS", 0.0)
    whole = train(tiny_base, "lora", FIELDS, tmp_path / "whole")

    def giving_up(type: EventType, **fields: Any) -> None:  # noqa: A002
        if type is EventType.PROGRESS and fields["done"] == 7:
            raise RunPruned("stopped at step 7: hopeless")
        events(type, **fields)

    before = {name: tensor.clone() for name, tensor in tiny_base.model.state_dict().items()}
    with pytest.raises(RunPruned, match="stopped at step 7"):
        train(tiny_base, "lora", {**FIELDS, "checkpoints": 0}, tmp_path / "out", giving_up)
    assert not any((tmp_path / "out").glob("*.safetensors"))
    assert not list((tmp_path / "out.checkpoints").glob("*"))
    assert events.curve("train/loss")[-1][0] == 7
    step, tokens = events.curve("cost/train_tokens")[-1]
    assert step == 7
    assert 0 < tokens < whole["train_tokens"]
    after = tiny_base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_one_that_is_stopped_at_its_last_step_is_done(tiny_base: LoadedModel, tmp_path: Path) -> None:
    train(tiny_base, "lora", FIELDS, tmp_path / "whole")
    train(tiny_base, "lora", FIELDS, tmp_path / "out", stopping_at(10))
    assert same(tmp_path / "out", tmp_path / "whole")


def test_a_checkpoint_of_another_config_is_not_resumed(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tiny_base, tmp_path / "out", monkeypatch, FIELDS)
    assert train(tiny_base, "lora", {**FIELDS, "learning_rate": 1e-3}, tmp_path / "out")["resumed_from_step"] is None


def test_a_tampered_checkpoint_is_never_opened(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tiny_base, tmp_path / "out", monkeypatch, FIELDS)
    (folder,) = (tmp_path / "out.checkpoints").glob("checkpoint-*")
    assert folder.name == "checkpoint-6"
    (folder / "optimizer.pt").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    opened: list[Any] = []
    monkeypatch.setattr(torch, "load", lambda *arguments, **_: opened.append(arguments))
    assert train(tiny_base, "lora", FIELDS, tmp_path / "out")["resumed_from_step"] is None
    assert opened == []


def test_a_resumed_attempt_shows_the_whole_curve_and_counts_all_its_work(
    tiny_base: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Any
) -> None:
    whole = train(tiny_base, "lora", FIELDS, tmp_path / "whole", events)
    expected = events.curve("train/loss")
    events.clear()
    interrupted(tiny_base, tmp_path / "out", monkeypatch, FIELDS)
    resumed = train(tiny_base, "lora", FIELDS, tmp_path / "out", events)
    assert resumed["resumed_from_step"] == 6
    assert events.curve("train/loss") == expected
    assert resumed["train_tokens"] == whole["train_tokens"]
    assert same(tmp_path / "out", tmp_path / "whole")
    assert [event["done"] for event in events.of(EventType.PROGRESS)][-1] == 10
