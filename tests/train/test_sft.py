from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from scripted_losses import scripted

from ftlab.catalog import METHODS
from ftlab.errors import DataError, ModelError, OutOfMemoryError, StorageError, TrainingError, UsageError
from ftlab.events import EventType
from ftlab.models.chat import ChatIds
from ftlab.models.load import LoadedModel
from ftlab.train import sft, trainer
from ftlab.train.callbacks import CURVE_POINTS
from ftlab.train.collate import training_order
from ftlab.train.quiet import quiet, unmarked

Chats = Callable[[int], list[ChatIds]]


@pytest.fixture
def run(tiny_base: LoadedModel, chats: Chats, events: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Trains 40 tiny rows, validates on 8, and leaves the weights in `tmp_path/out`."""

    def train(
        method: str = "lora",
        out: str = "out",
        report: Any = events,
        count: int = 40,
        start: Path | None = None,
        **fields: Any,
    ) -> Any:
        found = METHODS.load(method)()
        rows = chats(48)
        config = found.Config(**{"learning_rate": 1e-2, **fields})
        where = tmp_path / out
        checkpoints = tmp_path / f"{out}.checkpoints"
        return sft.train_sft(
            tiny_base, found, config, rows[:count], rows[40:], 3, where, checkpoints, report, start=start
        )

    return train


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain_trl(base: LoadedModel, method: str, rows: list[ChatIds], learning_rate: float, folder: Path) -> list[float]:
    """The losses of a plain SFTTrainer with its own loss on prompt-and-answer rows, in ftlab's order."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    order = [row for step in training_order([len(row) for row in rows], 8, len(rows) // 8, 3) for row in step]
    data = Dataset.from_dict(
        {
            "input_ids": [rows[row].prompt_ids + rows[row].answer_ids for row in order],
            "labels": [[-100] * len(rows[row].prompt_ids) + rows[row].answer_ids for row in order],
        }
    )
    found = METHODS.load(method)()
    model = found.attach(base, found.Config(), 3)
    try:
        with quiet(), unmarked(base.model):
            plain = SFTTrainer(
                model=model,
                args=SFTConfig(
                    output_dir=str(folder),
                    per_device_train_batch_size=8,
                    num_train_epochs=1,
                    learning_rate=learning_rate,
                    lr_scheduler_type="cosine",
                    warmup_steps=1,
                    train_sampling_strategy="sequential",
                    logging_steps=1,
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    bf16=False,
                    gradient_checkpointing=False,
                ),
                train_dataset=data,
                processing_class=base.tokenizer,
            )
            plain.remove_callback(PrinterCallback)
            plain.train()
            return [entry["loss"] for entry in plain.state.log_history if "loss" in entry]
    finally:
        found.detach(base, model)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_loss_curve_is_trl_s(
    method: str, run: Any, events: Any, tiny_base: LoadedModel, chats: Chats, tmp_path: Path
) -> None:
    run(method, warmup_ratio=0.05, epochs=1)
    mine = [value for _, value in events.curve("train/loss")]
    assert len(mine) == 5
    assert mine == pytest.approx(plain_trl(tiny_base, method, chats(48)[:40], 1e-2, tmp_path / "plain"), abs=1e-4)
    assert mine[-1] < mine[0] - 0.1


@pytest.mark.parametrize("method", ["lora", "full"])
def test_accumulated_steps_equal_the_big_batch(method: str, run: Any, events: Any, tmp_path: Path) -> None:
    run(method, batch_size=8, count=37)
    whole = events.curve("train/loss")
    events.clear()
    run(method, out="split", batch_size=2, gradient_accumulation_steps=4, count=37)
    assert [step for step, _ in events.curve("train/loss")] == [step for step, _ in whole] == [1, 2, 3, 4, 5]
    assert [v for _, v in events.curve("train/loss")] == pytest.approx([value for _, value in whole], abs=2e-5)
    split = weights(tmp_path / "split")
    for name, tensor in weights(tmp_path / "out").items():
        torch.testing.assert_close(split[name], tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_same_seed_gives_the_same_bits_whatever_ran_before(method: str, run: Any, tmp_path: Path) -> None:
    run(method, epochs=2)
    torch.manual_seed(1234)
    run("lora", out="between", r=2)
    run(method, out="again", epochs=2)
    assert same(weights(tmp_path / "out"), weights(tmp_path / "again"))


def test_the_base_is_left_as_it_was(run: Any, tiny_base: LoadedModel) -> None:
    model = tiny_base.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config, generation, attributes = model.config.to_dict(), model.generation_config.to_dict(), set(vars(model))
    for method in ("lora", "full"):
        run(method, out=method)
    assert same(dict(model.state_dict()), before)
    assert (model.config.to_dict(), model.generation_config.to_dict()) == (config, generation)
    assert set(vars(model)) == attributes
    assert "forward" not in vars(model)
    assert not model.training


def test_the_summary_and_the_curves_say_the_same(run: Any, events: Any, tmp_path: Path, chats: Chats) -> None:
    summary = run(epochs=2, evaluations=2, checkpoints=1)
    assert summary["steps"] == 10
    assert summary["train_tokens"] == 2 * sum(len(row) for row in chats(48)[:40])
    assert summary["tokens_per_second"] == pytest.approx(summary["train_tokens"] / summary["train_seconds"])
    assert summary["trainable_parameters"] < summary["total_parameters"]
    assert summary["peak_memory_bytes"] > 50e6
    assert (
        summary["artifact_bytes"]
        == (tmp_path / "out" / "adapter_model.safetensors").stat().st_size
        + (tmp_path / "out" / "adapter_config.json").stat().st_size
    )
    assert summary["best_step"] in (5, 10)
    assert (summary["resumed_from_step"], summary["stopped_early"]) == (None, False)
    told = [
        (point["step"], key, value)
        for point in events.of(EventType.CURVE)
        for key, value in point["values"].items()
        if not key.startswith("cost/")
    ]
    # With each validation loss: that of every row, and what the training took until then.
    validated = [point for point in events.of(EventType.CURVE) if "validation/loss" in point["values"]]
    assert [len(point["scores"]) for point in validated] == [8, 8]
    assert validated[-1]["values"]["cost/train_tokens"] == summary["train_tokens"]
    table = pq.read_table(tmp_path / "out" / "curves.parquet")
    assert list(zip(*(table[name].to_pylist() for name in ("step", "key", "value")), strict=True)) == told
    assert {key for _, key, _ in told} == {
        "train/loss",
        "train/learning_rate",
        "train/grad_norm",
        "train/tokens_per_second",
        "train/memory_bytes",
        "train/epoch",
        "validation/loss",
    }
    assert all(math.isfinite(value) for _, _, value in told)
    assert [step for step, _ in events.curve("validation/loss")] == [5, 10]
    assert events.curve("train/epoch")[-1] == (10, 2.0)
    progress = events.of(EventType.PROGRESS)[-1]
    assert (progress["phase"], progress["done"], progress["total"]) == ("train", 10, 10)


def test_a_long_training_reports_few_points_and_little_progress(run: Any, events: Any) -> None:
    run(max_steps=450, batch_size=1, evaluations=0, checkpoints=0, r=1)
    points = events.curve("train/loss")
    assert CURVE_POINTS / 2 < len(points) <= CURVE_POINTS
    assert points[-1][0] == 450
    shown = events.of(EventType.PROGRESS)
    assert 2 <= len(shown) < 450


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("constant", [0.0, 0.005, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]),
        ("linear", [0.0, 0.005, *(0.01 * (10 - step) / 8 for step in range(2, 10))]),
        ("cosine", [0.0, 0.005, *(0.005 * (1 + math.cos(math.pi * (step - 2) / 8)) for step in range(2, 10))]),
    ],
)
def test_the_learning_rate_warms_up_and_falls(scheduler: str, expected: list[float], run: Any, events: Any) -> None:
    run(max_steps=10, lr_scheduler_type=scheduler, warmup_ratio=0.2, evaluations=0)
    assert [value for _, value in events.curve("train/learning_rate")] == pytest.approx(expected, abs=1e-9)


def test_a_single_step_trains_in_spite_of_its_warmup(run: Any, tmp_path: Path) -> None:
    run(max_steps=1, warmup_ratio=1.0)
    assert any(tensor.abs().max() > 0 for name, tensor in weights(tmp_path / "out").items() if "lora_B" in name)


def test_gradients_are_clipped_and_weights_decay(run: Any, tmp_path: Path) -> None:
    for name, fields in {
        "plain": {},
        "decayed": {"weight_decay": 0.5},
        "clipped": {"max_grad_norm": 1e-6},
    }.items():
        run("full", out=name, max_steps=3, warmup_ratio=0.0, **fields)
    plain, decayed, clipped = (weights(tmp_path / name) for name in ("plain", "decayed", "clipped"))
    key = "model.layers.0.mlp.up_proj.weight"
    assert decayed[key].norm() < plain[key].norm()
    assert not torch.equal(clipped[key], plain[key])


def test_training_stops_when_validation_no_longer_improves(
    run: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [3.0, 2.0, 2.5, 2.4])
    summary = run(max_steps=20, evaluations=10, early_stopping={"patience": 2})
    assert (summary["steps"], summary["stopped_early"], summary["best_step"]) == (8, True, 4)
    assert events.of(EventType.PROGRESS)[-1]["done"] == 8


def test_a_small_gain_is_no_improvement(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [3.0, 2.95, 2.91])
    summary = run(max_steps=20, evaluations=10, early_stopping={"patience": 2, "min_delta": 0.1})
    assert (summary["steps"], summary["stopped_early"]) == (6, True)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_best_weights_are_those_at_the_best_step(
    method: str, run: Any, events: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripted(monkeypatch, [3.0, 2.0, 2.5, 2.7] * 2)
    best = run(method, out="best", max_steps=8, evaluations=4, keep="best", lr_scheduler_type="constant")
    assert best["best_step"] == 4
    assert events.of(EventType.WARNING) == []
    run(method, out="last", max_steps=8, evaluations=4, lr_scheduler_type="constant", checkpoints=0)
    assert [warning["code"] for warning in events.of(EventType.WARNING)] == ["overfitting"]
    run(method, out="four", max_steps=4, evaluations=0, lr_scheduler_type="constant", warmup_ratio=0.05)
    assert same(weights(tmp_path / "best"), weights(tmp_path / "four"))
    assert not same(weights(tmp_path / "best"), weights(tmp_path / "last"))


def test_a_training_that_learns_nothing_is_said(run: Any, events: Any) -> None:
    run(learning_rate=1e-12, max_steps=40, evaluations=0)
    losses = [value for _, value in events.curve("train/loss")]
    falls = sum(losses[-10:]) < sum(losses[:10])
    assert ("loss_not_falling" in [warning["code"] for warning in events.of(EventType.WARNING)]) == (not falls)


def test_a_loss_that_is_not_a_number_fails_with_its_step(run: Any, events: Any, tiny_base: LoadedModel) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_base.model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"at step \d+ of 200, at a learning rate of .* lower learning_rate"):
        run("full", learning_rate=1e30, max_steps=200, lr_scheduler_type="constant")
    values = [value for point in events.of(EventType.CURVE) for value in point["values"].values()]
    assert all(math.isfinite(value) for value in values)
    assert same(dict(tiny_base.model.state_dict()), before)
    run("lora", out="next")


def test_a_validation_loss_that_is_not_a_number_fails(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [math.nan])
    with pytest.raises(TrainingError, match="validation loss"):
        run()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
    ],
)
def test_every_way_of_running_out_of_memory_is_one_error_with_numbers(
    error: Exception, run: Any, monkeypatch: pytest.MonkeyPatch, tiny_base: LoadedModel
) -> None:
    def exhaust(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(trainer, "answer_loss", exhaust)
    with pytest.raises(OutOfMemoryError, match=r"training 8 rows of up to \d+ tokens.*lower batch_size"):
        run()
    assert not any("lora_" in name for name, _ in tiny_base.model.named_parameters())


def test_another_runtime_error_is_not_called_out_of_memory(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(trainer, "answer_loss", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        run()


@pytest.mark.parametrize("fields", [{"keep": "best"}, {"early_stopping": {"patience": 1}}])
def test_what_needs_a_validation_loss_says_so(fields: dict[str, Any], run: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(fields))}.* needs a validation loss; set evaluations"):
        run(evaluations=0, **fields)
    assert not (tmp_path / "out").exists()


def test_no_rows_is_said(run: Any) -> None:
    with pytest.raises(DataError, match="no rows to train on"):
        run(count=0)


def test_long_rows_are_cut_and_counted(run: Any, events: Any) -> None:
    run(max_length=16)
    (warning,) = events.of(EventType.WARNING)
    assert warning["code"] == "truncated"
    assert warning["message"].startswith("40 of 40 rows to train on exceed max_length 16")


@pytest.mark.parametrize("step", ["checkpoint", "save"])
def test_a_full_disk_is_one_sentence(step: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    if step == "checkpoint":
        monkeypatch.setattr(trainer, "save_file", full)
    else:
        monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StorageError, match="the disk is full"):
        run()


def test_the_optimizer_state_of_a_full_disk_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="cannot write"):
        run()


def test_libraries_keep_quiet(run: Any, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    run(epochs=2)
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_warm_start_goes_on_from_the_weights_and_gives_the_same_bits_each_time(
    method: str, run: Any, events: Any, tmp_path: Path
) -> None:
    run(method)
    scratch = [loss for _, loss in events.curve("train/loss")]
    events.clear()
    run(method, out="on", start=tmp_path / "out", warmup_ratio=0.0)
    warm = [loss for _, loss in events.curve("train/loss")]
    assert warm[0] < scratch[0] - 0.1
    assert warm[0] < 1.2 * min(scratch[-1], scratch[-2]) + 0.1, "it begins about where the other ended"
    run(method, out="again", start=tmp_path / "out", warmup_ratio=0.0)
    assert same(weights(tmp_path / "on"), weights(tmp_path / "again"))
    assert not same(weights(tmp_path / "on"), weights(tmp_path / "out"))


def test_weights_of_another_shape_are_no_start(run: Any, tmp_path: Path) -> None:
    run("lora", r=4)
    with pytest.raises(ModelError, match="holds an adapter of another shape"):
        run("lora", out="on", r=8, start=tmp_path / "out")
