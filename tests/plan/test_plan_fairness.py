"""Unfair on paper: said before anything has run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from ftlab.plan.fairness import attention_only, shared_rates


@dataclass
class Arm:
    method_name: str
    family: str
    method: dict[str, Any] = field(default_factory=dict)


def lora(rate: float = 1e-4, targets: Any = "all-linear", name: str = "lora") -> Arm:
    return Arm(name, "adapter", {"learning_rate": rate, "target_modules": targets})


def full(rate: float = 1e-5) -> Arm:
    return Arm("full", "full", {"learning_rate": rate})


def test_one_grid_of_learning_rates_for_both_is_unfair() -> None:
    said = shared_rates([lora(1e-5), lora(1e-4), full(1e-4), full(1e-5)])
    assert said is not None
    assert "(1e-05, 0.0001)" in said


@pytest.mark.parametrize("arms", [[lora(1e-4), full(1e-5)], [lora(), lora(2e-4)], [full()], [Arm("ask", "prompt")], []])
def test_own_rates_or_one_side_alone_is_fair(arms: list[Arm]) -> None:
    assert shared_rates(arms) is None


def test_adapters_on_attention_alone_are_named() -> None:
    said = attention_only([lora(targets=["q_proj", "model.layers.0.self_attn.v_proj"], name="small"), lora()])
    assert said is not None
    assert said.startswith("small adapts attention layers only")


@pytest.mark.parametrize(
    "arms",
    [
        [lora()],
        [lora(targets=["q_proj", "up_proj"])],
        [lora(targets=["q_proj"]), lora(targets="all-linear")],
        [full(), Arm("ask", "prompt")],
    ],
)
def test_an_adapter_that_reaches_other_layers_somewhere_is_fair(arms: list[Arm]) -> None:
    assert attention_only(arms) is None
