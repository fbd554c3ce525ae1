"""What makes a comparison of methods unfair before anything has run, said in a sentence each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

ATTENTION = frozenset(
    {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "qkv_proj",
        "c_attn",
        "query_key_value",
        "query",
        "key",
        "value",
        "out_proj",
    }
)
"""The names by which transformers' models call the linear layers of their attention."""


class Candidate(Protocol):
    """An arm, planned or measured."""

    @property
    def method_name(self) -> str:
        """The method as the spec names it."""

    @property
    def family(self) -> str:
        """`prompt`, `adapter` or `full`."""

    @property
    def method(self) -> Mapping[str, Any]:
        """Every field of the resolved method."""


def shared_rates(arms: Sequence[Candidate]) -> str | None:
    """A warning where adapters and full fine-tuning are tried at the same learning rates only.

    Adapters want about ten times the learning rate of full fine-tuning (Thinking Machines Lab, "LoRA Without Regret",
    2025, section "Hyperparameters"); one rate for both favours one of them.
    """
    rates: dict[str, set[float]] = defaultdict(set)
    for arm in arms:
        if "learning_rate" in arm.method:
            rates[arm.family].add(float(arm.method["learning_rate"]))
    if not rates["adapter"] or rates["adapter"] != rates["full"]:
        return None
    shown = ", ".join(f"{rate:g}" for rate in sorted(rates["full"]))
    return (
        f"LoRA and full fine-tuning are tried at the same learning rates only ({shown}): adapters usually want about "
        "ten times that of full fine-tuning, so give each its own"
    )


def attention_only(arms: Sequence[Candidate]) -> str | None:
    """A warning where every arm of an adapter method leaves the other layers alone.

    Adapters on attention alone fall behind full fine-tuning even at an equal number of parameters (the same article,
    section "LoRA layer placement").
    """
    reach: dict[str, bool] = defaultdict(bool)
    for arm in arms:
        if "target_modules" in arm.method:
            targets = arm.method["target_modules"]
            wide = isinstance(targets, str) or any(target.rsplit(".", 1)[-1] not in ATTENTION for target in targets)
            reach[arm.method_name] |= wide
    if not (narrow := [name for name, wide in reach.items() if not wide]):
        return None
    verb = "adapts" if len(narrow) == 1 else "adapt"
    return (
        f"{', '.join(narrow)} {verb} attention layers only, which learns less than all linear layers at the same size; "
        "try target_modules: all-linear"
    )
