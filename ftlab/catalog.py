"""The newcomer's map: every built-in plug-in, by kind and name, as a lazy `module:Object` string.

Nothing heavy is imported here. Other packages add theirs through entry points of the group `ftlab`, named
`<kind>.<name>`, e.g. `metric.my_score = "my_package.scores:MyScore"`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ftlab.errors import UnknownNameError, UsageError


def suggest(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when a known name is near, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""


class Registry:
    """Names of one kind of plug-in, each mapped to a `module:Object` that is imported when it is asked for."""

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries: dict[str, str] = {}
        for name, target in entries.items():
            self.register(name, target)

    def register(self, name: str, target: str) -> None:
        """Add `name`. Raises UsageError when the name is taken by another target."""
        taken = self._entries.get(name)
        if taken is not None and taken != target:
            raise UsageError(f"{self.kind} '{name}' is already registered as {taken}; rename the second one, {target}")
        self._entries[name] = target

    def names(self) -> list[str]:
        """Every known name, built-in and from entry points, sorted."""
        return sorted({*self._entries, *_plugins(self.kind)})

    def target(self, name: str) -> str:
        """The `module:Object` of `name`. Raises UnknownNameError with the nearest name and the list of all."""
        target = self._entries.get(name) or _plugins(self.kind).get(name)
        if target is None:
            known = self.names()
            raise UnknownNameError(f"unknown {self.kind} '{name}'{suggest(name, known)} (known: {', '.join(known)})")
        return target

    def load(self, name: str) -> Any:
        """Import and return the object that `name` stands for."""
        return load_target(self.target(name))


def load_target(target: str) -> Any:
    """Import `module:Object` and return the object."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _plugins(kind: str) -> dict[str, str]:
    prefix = f"{kind}."
    return {
        point.name.removeprefix(prefix): point.value
        for point in entry_points(group="ftlab")
        if point.name.startswith(prefix)
    }


METHODS = Registry(
    "method",
    {
        "prompt": "ftlab.methods.prompt:Prompt",
        "lora": "ftlab.methods.adapter:Lora",
        "full": "ftlab.methods.full:Full",
    },
)

METRICS = Registry(
    "metric",
    {
        "accuracy": "ftlab.evaluate.metrics.classification:Accuracy",
        "macro_f1": "ftlab.evaluate.metrics.classification:MacroF1",
        "valid_format": "ftlab.evaluate.metrics.classification:ValidFormat",
        "exact_match": "ftlab.evaluate.metrics.words:ExactMatch",
        "token_f1": "ftlab.evaluate.metrics.words:TokenF1",
        "rouge1": "ftlab.evaluate.metrics.overlap:Rouge1",
        "rouge2": "ftlab.evaluate.metrics.overlap:Rouge2",
        "rougeL": "ftlab.evaluate.metrics.overlap:RougeL",
        "bleu": "ftlab.evaluate.metrics.overlap:Bleu",
        "chrf": "ftlab.evaluate.metrics.overlap:Chrf",
        "length_ratio": "ftlab.evaluate.metrics.overlap:LengthRatio",
        "repetition": "ftlab.evaluate.metrics.habits:Repetition",
        "refusal_rate": "ftlab.evaluate.metrics.habits:RefusalRate",
        "numeric": "ftlab.evaluate.metrics.patterns:Numeric",
        "regex": "ftlab.evaluate.metrics.patterns:Regex",
        "valid_json": "ftlab.evaluate.metrics.structure:ValidJson",
        "json_schema": "ftlab.evaluate.metrics.structure:JsonSchema",
        "json_schema_repaired": "ftlab.evaluate.metrics.structure:JsonSchemaRepaired",
        "field_precision": "ftlab.evaluate.metrics.structure:FieldPrecision",
        "field_recall": "ftlab.evaluate.metrics.structure:FieldRecall",
        "field_f1": "ftlab.evaluate.metrics.structure:FieldF1",
        "distinct_outputs": "ftlab.evaluate.metrics.variety:DistinctOutputs",
        "self_overlap": "ftlab.evaluate.metrics.variety:SelfOverlap",
        "perplexity": "ftlab.evaluate.metrics.likelihood:Perplexity",
    },
)

SEARCHERS = Registry(
    "sampler",
    {
        "tpe": "ftlab.search.optuna:Tpe",
        "random": "ftlab.search.optuna:Random",
        "gp": "ftlab.search.optuna:Gp",
        "nsga2": "ftlab.search.optuna:Nsga2",
        "cmaes": "ftlab.search.cmaes:CmaEs",
        "grid": "ftlab.search.grid:Grid",
    },
)

EXECUTORS = Registry("executor", {"local": "ftlab.execute.local:open_local", "slurm": "ftlab.execute.slurm:open_slurm"})
"""Functions of (results, pipeline, execute) that return a `ftlab.execute.base.Executor`."""

PRUNERS = Registry(
    "pruner",
    {
        "median": "ftlab.search.pruners:Median",
        "successive_halving": "ftlab.search.pruners:Halving",
        "hyperband": "ftlab.search.pruners:Hyperband",
        "wilcoxon": "ftlab.search.pruners:Wilcoxon",
    },
)

DATASETS = Registry(
    "builtin data set",
    {"medical-specialty": "ftlab.data.builtin:medical_specialty"},
)

MODELS = Registry(
    "builtin model",
    {"smollm2-135m-instruct": "ftlab.models.builtin:smollm2_135m_instruct"},
)

BENCHMARKS = Registry(
    "builtin benchmark",
    {
        "piqa": "ftlab.evaluate.builtin:piqa",
        "openbookqa": "ftlab.evaluate.builtin:openbookqa",
        "commonsenseqa": "ftlab.evaluate.builtin:commonsenseqa",
        "siqa": "ftlab.evaluate.builtin:siqa",
        "boolq": "ftlab.evaluate.builtin:boolq",
        "mmlu": "ftlab.evaluate.builtin:mmlu",
        "behaviour": "ftlab.evaluate.behaviour:behaviour",
        "neutral-text": "ftlab.evaluate.neutral_text:neutral_text",
    },
)

BENCHMARKS_LEFT_OUT = {
    "truthfulqa": "the rows at hand name right answers alone, and no wrong ones to choose from; with a hub, "
    "lm-eval's own truthfulqa_mc2 can be used"
}
"""Builtin benchmarks that one might look for, and why they are not offered."""
