"""What the curves of a training tell, curve by curve and for every curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_losses import scripted

from ftlab.errors import TrainingError
from ftlab.events import EventType, RunCancelled
from ftlab.models.load import LoadedModel
from ftlab.train import callbacks, health, sft
from ftlab.train.health import Curve, Finding

losses = st.lists(st.floats(0.01, 10.0), max_size=60)


def curve(values: list[float], every: int = 1) -> list[tuple[int, float]]:
    return [(every * (place + 1), value) for place, value in enumerate(values)]


def code(finding: Finding | None) -> str | None:
    return finding.code if finding else None


def findings(training: Curve, validation: Curve, norms: Curve, total: int) -> list[Finding | None]:
    return [
        health.overfitting(training, validation),
        health.ended_overfitted(validation),
        health.exploding(norms, training),
        health.plateau(training, total),
        health.ended_unlearnt(training),
    ]


def test_a_validation_loss_that_rises_twice_while_training_falls_is_overfitting() -> None:
    falling = curve([3.0 - 0.2 * place for place in range(10)])
    found = health.overfitting(falling, curve([2.0, 1.5, 1.7, 1.9], every=2))
    assert found is not None
    assert found.step == 8
    assert "from 1.5 at step 4 to 1.9 at step 8" in found.message
    assert "keep: best" in found.message
    assert health.overfitting(falling, curve([2.0, 1.5, 1.7], every=2)) is None, "once may be noise"
    assert health.overfitting(falling, curve([2.0, 1.5, 1.9, 1.7], every=2)) is None, "it falls again"
    rising = curve([1.0 + 0.2 * place for place in range(10)])
    assert health.overfitting(rising, curve([2.0, 1.5, 1.7, 1.9], every=2)) is None, "that is another illness"


def test_gradients_that_stay_far_above_the_usual_explode() -> None:
    training = curve([2.0] * 12 + [3.0, 4.0])
    found = health.exploding(curve([1.0] * 12 + [30.0, 50.0]), training)
    assert found is not None
    assert found.step == 14
    assert "lower learning_rate" in found.message
    assert "usual before step 13" in found.message
    assert health.exploding(curve([1.0] * 12 + [30.0, 1.0]), training) is None, "one batch may be odd"
    assert health.exploding(curve([1.0] * 12 + [30.0, 50.0]), curve([2.0] * 14)) is None, "the loss bears it"
    assert health.exploding(curve([1.0] * 4 + [30.0, 50.0]), curve([2.0] * 4 + [3.0, 4.0])) is None, "nothing is usual"


def test_a_loss_that_stays_where_it_began_is_told_at_half_of_the_steps() -> None:
    flat = [2.0, 2.001, 1.999, 2.0] * 5
    assert health.plateau(curve(flat), 41) is None
    found = health.plateau(curve(flat), 40)
    assert found is not None
    assert (found.code, found.step) == ("loss_not_falling", 20)
    assert health.plateau(curve([4.0, 2.0, *flat]), 40) is None, "what fell at once and then stayed has learnt"
    assert health.plateau(curve([1.0, 3.0] * 10), 40) is None, "so much noise shows nothing"


@given(losses, losses, st.integers(1, 100))
def test_falling_losses_and_steady_gradients_are_healthy(
    training: list[float], validation: list[float], total: int
) -> None:
    falling = curve([0.9**place * 2 for place in range(len(training))])
    checked = curve(sorted(validation, reverse=True), every=2)
    assert findings(falling, checked, curve([1.0] * len(falling)), total) == [None] * 5


@given(losses, losses, losses, st.integers(1, 100), st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_the_unit_of_the_loss_decides_nothing(
    training: list[float], validation: list[float], norms: list[float], total: int, unit: float
) -> None:
    both = min(len(training), len(norms))
    curves = curve(training[:both]), curve(validation, every=3), curve(norms[:both])
    scaled = [[(step, value * unit) for step, value in one] for one in curves]
    assert [code(one) for one in findings(*curves, total)] == [code(one) for one in findings(*scaled, total)]


@given(losses, losses, losses, st.integers(0, 60))
def test_what_was_found_once_is_found_again(
    training: list[float], validation: list[float], norms: list[float], cut: int
) -> None:
    both = min(len(training), len(norms))
    train, held, norm = curve(training[:both]), curve(validation, every=3), curve(norms[:both])
    early = health.overfitting([p for p in train if p[0] <= cut], [p for p in held if p[0] <= cut])
    assert early is None or health.overfitting(train, held) == early
    exploded = health.exploding(norm[:cut], train[:cut])
    assert exploded is None or health.exploding(norm, train) == exploded


Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(tiny_base: LoadedModel, chats: Any, events: Any, tmp_path: Any) -> Train:
    from ftlab.catalog import METHODS

    def run(report: Any = events, checkpoints: str = "checkpoints", out: str = "out", **fields: Any) -> dict[str, Any]:
        found = METHODS.load("lora")()
        rows = chats(48)
        config = found.Config(**{"learning_rate": 1e-2, "lr_scheduler_type": "constant", **fields})
        folders = tmp_path / out, tmp_path / checkpoints
        return sft.train_sft(tiny_base, found, config, rows[:40], rows[40:], 3, *folders, report)

    return run


def told(events: Any) -> list[tuple[str, int]]:
    return [(one["code"], one["step"]) for one in events.of(EventType.WARNING)]


RISING = [3.0, 2.0, 2.5, 2.7, 2.9, 3.0]


def test_overfitting_is_told_when_it_is_seen_and_once(
    train: Train, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, RISING)
    summary = train(max_steps=12, evaluations=6)
    assert told(events) == [("overfitting", 8)]
    assert [found["code"] for found in summary["warnings"]] == ["overfitting"]
    kinds = [kind for kind, fields in events if kind is EventType.WARNING or fields.get("step") == 9]
    assert kinds[0] is EventType.WARNING, "before the next step's point"


def test_on_diverge_stop_fails_the_run_with_the_reason(
    train: Train, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, RISING)
    with pytest.raises(
        TrainingError, match="stopped at step 8 by on_diverge: the validation loss rose from 2 at step 4"
    ):
        train(max_steps=12, evaluations=6, on_diverge="stop")
    assert told(events) == [("overfitting", 8)]


def test_on_diverge_stop_keeps_the_best_weights_where_asked(
    train: Train, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, RISING)
    summary = train(max_steps=12, evaluations=6, on_diverge="stop", keep="best")
    assert (summary["steps"], summary["best_step"], summary["stopped_early"]) == (8, 4, True)
    (warning,) = events.of(EventType.WARNING)
    assert warning["message"].endswith("stopped here, and the best weights, of step 4, are kept")
    assert events.of(EventType.PROGRESS)[-1]["done"] == 8


def test_a_plateau_fails_even_where_the_best_weights_are_kept(
    train: Train, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Finding("loss_not_falling", "the training loss does not fall", 6)
    monkeypatch.setattr(health, "plateau", lambda training, total: found if training[-1][0] >= 6 else None)
    with pytest.raises(TrainingError, match="stopped at step 6 by on_diverge"):
        train(max_steps=12, evaluations=6, on_diverge="stop", keep="best")
    assert told(events) == [("loss_not_falling", 6)]


def test_what_was_found_before_an_interruption_is_found_after_it(
    train: Train, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plateau = Finding("loss_not_falling", "the training loss does not fall", 6)
    monkeypatch.setattr(health, "plateau", lambda training, total: plateau if training[-1][0] == 6 else None)
    fields = {"max_steps": 12, "evaluations": 6}

    def until_seven(kind: EventType, **found: Any) -> None:
        if kind is EventType.CURVE and found["step"] == 7:
            monkeypatch.setattr(callbacks, "PROGRESS_SECONDS", 0.0)
        if kind is EventType.PROGRESS and found["done"] >= 7:
            raise RunCancelled

    scripted(monkeypatch, RISING)
    whole = train(lambda *_, **__: None, "whole_checkpoints", "whole", **fields)
    scripted(monkeypatch, RISING)
    with pytest.raises(RunCancelled):
        train(until_seven, **fields)
    scripted(monkeypatch, RISING[3:])
    summary = train(events, **fields)
    assert summary["resumed_from_step"] == 7
    assert summary["warnings"] == whole["warnings"]
    assert told(events) == [("loss_not_falling", 6), ("overfitting", 8)]


def test_a_number_that_is_none_is_a_warning_with_its_step(train: Train, events: Any) -> None:
    with pytest.raises(TrainingError, match=r"at step \d+ of 200"):
        train(learning_rate=1e30, max_steps=200)
    (warning,) = events.of(EventType.WARNING)
    assert warning["code"] == "not_finite"
    assert f"at step {warning['step']} of 200" in warning["message"]
