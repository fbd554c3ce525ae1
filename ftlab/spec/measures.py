"""What a benchmark measures: its group, and for those with a scale of their own the unit, the direction and the limit.

Most benchmarks have one score for each item, from 0 to 1, the higher the better. The two that ftlab asks itself have
several: a right answer (`format`), a loss in nats that should not rise, or a habit that has no better and no worse,
only a change. Light: a spec is checked, planned and judged by what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ftlab.spec.schema import BenchmarkGroup
from ftlab.text import SHARE

BEHAVIOUR = "builtin:behaviour"
NEUTRAL_TEXT = "builtin:neutral-text"

Direction = Literal["higher", "lower", "none"]
"""Which values are better; `none`: neither, so that only a change can be told."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a benchmark gives for each item."""

    metric: str
    """What its scores are called among the benchmark's items."""
    suffix: str = ""
    """What follows the benchmark's name in the measure's own; empty for the one that stands for the benchmark."""
    unit: str = SHARE
    direction: Direction = "higher"
    group: BenchmarkGroup = "other"
    gated: bool = True
    """Whether a loss closes the gate. A measure that is not gated shows drift, and is judged if the spec names it."""
    tolerance: float | None = None
    """The largest tolerated loss, in its unit, unless the spec names the benchmark, the measure or the group; None for
    what the spec says of all."""
    chance: float | None = None
    """The value that takes no skill."""

    def name(self, task: str) -> str:
        """What it is called in specs and on pages: `builtin:behaviour/format`."""
        return f"{task}/{self.suffix}" if self.suffix else task


FEW_PROMPTS = 0.25
"""The tolerated loss of what some 25 prompts ask for: one prompt lost, net, is shown to stay within it, and that
fewer than two points are lost could never be shown."""

MEASURES: Mapping[str, tuple[Measure, ...]] = {
    BEHAVIOUR: (
        Measure("instructions", "instructions", group="instruction_following", tolerance=FEW_PROMPTS, chance=0.0),
        Measure("format", "format", group="format", tolerance=FEW_PROMPTS, chance=0.0),
        Measure("length", "length", unit="tokens", direction="none", gated=False),
        Measure("refusal", "refusals", direction="none", gated=False),
        Measure("repetition", "repetition", direction="none", gated=False),
    ),
    NEUTRAL_TEXT: (
        Measure("nats_per_token", unit="nats", direction="lower", group="neutral_text", tolerance=0.1),
        Measure(
            "nats_per_byte", "per-byte", unit="nats per byte", direction="lower", group="neutral_text", gated=False
        ),
    ),
}
"""The benchmarks that ftlab asks itself, each in one form: neither shots nor `chat_template` change them."""

SIZES: Mapping[str, int] = {BEHAVIOUR: 48, NEUTRAL_TEXT: 40}
"""How many items each of them has."""

GROUPS: Mapping[str, BenchmarkGroup] = {
    **dict.fromkeys(
        ("mmlu", "mmlu_pro", "triviaqa", "nq_open", "webqs", "openbookqa", "sciq", "truthfulqa_mc1", "truthfulqa_mc2"),
        "knowledge",
    ),
    **dict.fromkeys(("arc_easy", "agieval", "medqa_4options", "medmcqa", "pubmedqa", "global_mmlu"), "knowledge"),
    **dict.fromkeys(
        ("arc_challenge", "hellaswag", "winogrande", "piqa", "commonsense_qa", "social_iqa", "gsm8k", "bbh", "copa"),
        "reasoning",
    ),
    **dict.fromkeys(("logiqa", "logiqa2", "mathqa", "minerva_math", "hendrycks_math", "musr", "gpqa"), "reasoning"),
    **dict.fromkeys(("boolq", "race", "drop", "coqa", "squadv2", "squad_completion", "record", "qasper"), "reading"),
    "ifeval": "instruction_following",
}
"""The groups of well-known tasks of lm-eval. A task below one of them (`mmlu_anatomy`, `gsm8k_cot`) has its group."""


def known_group(task: str) -> BenchmarkGroup:
    """The group of a task of lm-eval's registry: its own, or that of the longest name that its name begins with."""
    parts = task.removeprefix("leaderboard_").split("_")
    heads = ("_".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((GROUPS[head] for head in heads if head in GROUPS), "other")


def is_fixed(name: str) -> bool:
    """Whether a measure is of a benchmark whose items cannot become more."""
    return name.partition("/")[0] in MEASURES


def measure_name(task: str, metric: str) -> str:
    """The name of the measure that a metric of a benchmark is; the benchmark's own where it has one measure."""
    return next((each.name(task) for each in MEASURES.get(task, ()) if each.metric == metric), task)


def task_of(name: str) -> str:
    """The benchmark that a measure is of."""
    return next((task for task, found in MEASURES.items() if any(each.name(task) == name for each in found)), name)
