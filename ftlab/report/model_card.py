"""The model card that goes with exported weights: what they are, and the evidence for and against using them."""

from __future__ import annotations

import json
from typing import Any

from ftlab import __version__
from ftlab.decide.view import ArmView, DecisionView
from ftlab.report import format as fmt
from ftlab.report.markdown import escape, table
from ftlab.report.terminal import drift_words

_USE = {
    "adapter": "These are adapter weights for PEFT: load the base model, then "
    "`peft.PeftModel.from_pretrained(base, folder)`.",
    "merged": "These are complete weights: `transformers.AutoModelForCausalLM.from_pretrained(folder)`.",
}


def model_card(view: DecisionView, arm: ArmView, form: str, seed: int, revision: str) -> str:
    """The card of one arm's weights as Markdown with the front matter that model hubs read.

    Args:
        view: of the arm's experiment.
        arm: whose weights they are.
        form: `adapter` or `merged`.
        seed: of the exported run.
        revision: the base model's content address.
    """
    head = {"library_name": "peft" if form == "adapter" else "transformers", "base_model": fmt.plain(arm.model)}
    front = "\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items())
    parts = [
        f"---\n{front}\ntags: [ftlab]\n---",
        f"# {escape(arm.label)}",
        f"{escape(arm.model)} adapted by the method `{fmt.one_line(arm.method_name, 64)}` ({escape(arm.family)}), "
        f"seed {seed}, made by ftlab {__version__} in the experiment {escape(view.name)}. {_USE[form]}",
        "## Evidence",
        f"Measured on {fmt.count(view.examples)} {view.split} rows that were not trained on.",
        table(["metric", "value (95% CI)"], _metric_rows(view, arm)),
        f"Against the best prompt{_baseline(view)}: {_difference(view, arm)}.",
        f"The experiment's conclusion: {escape(view.conclusion.sentence)}",
        "## Forgetting",
        *_forgetting(view, arm),
        "## Limits",
        *_limits(view, arm),
        "## How it was made",
        _fenced({"method": arm.config, "cost": arm.cost.model_dump(mode="json")}),
        table(["what", "value"], _origin(view, revision)),
    ]
    return "\n\n".join(parts) + "\n"


def _metric_rows(view: DecisionView, arm: ArmView) -> list[list[str]]:
    return [
        [escape(fmt.metric_name(name)), fmt.estimate(arm.metrics.get(name), unit)]
        for name, unit in view.metric_units.items()
    ]


def _baseline(view: DecisionView) -> str:
    baseline = next((arm for arm in view.arms if arm.is_baseline), None)
    return f", {escape(baseline.label)}" if baseline else ""


def _difference(view: DecisionView, arm: ArmView) -> str:
    if arm.difference is None:
        return "it is the best prompt itself" if arm.is_baseline else "not compared yet"
    words = fmt.difference(arm.difference, view.metric_unit)
    joint = "; the interval holds together with those of all other arms" if arm.difference.simultaneous else ""
    found = arm.difference
    return f"{words} of {escape(fmt.metric_name(view.metric))}, {found.fixed} fixed and {found.broke} broken{joint}"


def _forgetting(view: DecisionView, arm: ArmView) -> list[str]:
    if not arm.benchmarks:
        return ["Not measured."]
    rows = [
        [
            escape(fmt.task_name(change.task)),
            fmt.estimate(change.base, change.unit),
            fmt.estimate(change.arm, change.unit),
            fmt.change_short(change),
            fmt.lost_gained(change),
            fmt.gate(change.within_limit),
        ]
        for change in arm.benchmarks
    ]
    limit = fmt.loss_limits(view)
    return [
        table(
            ["benchmark", "base", "this model", "change, in points unless named", "items", f"loss of at most {limit}"],
            rows,
        ),
        "Not shown means that the interval is too wide to tell, not that nothing was lost.",
        *_drift(arm),
    ]


def _drift(arm: ArmView) -> list[str]:
    if not arm.drift:
        return []
    rows = [
        [escape(fmt.task_name(moved.task)), escape(fmt.before_after(moved)), escape(drift_words(moved))]
        for moved in arm.drift
    ]
    return [
        "How default behaviour moved on general prompts; \\* marks what is more than chance, for better or worse.",
        table(["habit", "base → this model", "change"], rows),
    ]


def _limits(view: DecisionView, arm: ArmView) -> list[str]:
    lines = [escape(view.conclusion.caveat)] if view.conclusion.caveat else []
    if arm.reason:
        lines.append(f"{escape(arm.reason)}.")
    lines.append(
        "Nothing was measured beyond the task's own rows and the benchmarks above: not safety, not other languages."
    )
    return ["\n".join(f"- {line}" for line in lines)]


def _origin(view: DecisionView, revision: str) -> list[list[str]]:
    known = view.provenance
    data = known.get("data") or {}
    rows = {
        "experiment": view.experiment_id,
        "spec hash": known.get("spec_hash"),
        "data": data.get("source"),
        "data hash": data.get("content"),
        "base revision": revision,
        "device": known.get("device"),
        "commit": known.get("commit"),
        **{f"package {name}": version for name, version in sorted((known.get("packages") or {}).items())},
    }
    return [[escape(name), escape(str(value))] for name, value in rows.items() if value not in (None, "")]


def _fenced(value: Any) -> str:
    """JSON in a code fence. ASCII, and no run of backticks in it can be as long as the fence."""
    text = json.dumps(value, indent=2, sort_keys=True)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}json\n{text}\n{fence}"
