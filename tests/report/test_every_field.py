"""Every field of the decision view reaches every surface, or stands on a list with the reason why not.

Each field in turn is changed wherever it occurs; a surface that shows it then reads otherwise. So a field that somebody
adds to the view and forgets on the page fails here. `verdict.json` and `--json` are the view itself.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from rich.console import Console

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.view import DecisionView, Economics, Estimate, JudgeView, Majority, MissingPart, RatingsView
from ftlab.report.html import render_report
from ftlab.report.markdown import render_markdown
from ftlab.report.terminal import print_view
from ftlab.spec.measures import BEHAVIOUR, NEUTRAL_TEXT
from ftlab.spec.schema import PriceSpec
from ftlab.store.ledger import Ledger
from ftlab.store.snapshot import open_snapshot
from ftlab.testing.journals import FakeArm, make_results

OUTSIDE = ("PriceSpec",)
"""Models of the spec: what they hold is an input of what is shown."""

IDS = ("arm_id", "example_id", "run_ids")
"""By these the parts of a view find each other; a page shows labels."""

BRIEF = "the report and the app have it; this surface is brief"
IN_WORDS = "said in the words of the limit, which are shown"
ARM = "`ftlab show ARM` and the app's Run page have it"

NOWHERE: dict[str, str] = {
    "DecisionView.schema_version": "the form of the JSON",
    "DecisionView.splits": "which other views there are; the app offers them",
    "DecisionView.metric_direction": "every difference is turned so that positive is better",
    "DecisionView.min_valid_format": IN_WORDS,
    "DecisionView.max_p95_ms": IN_WORDS,
    "DecisionView.max_cost_per_1k": IN_WORDS,
    "ArmView.method_name": "part of the label",
    "ArmView.seeds": "how many there are is said",
    "ArmView.equivalent": "said in the sentence of the conclusion, where it matters",
    "ArmView.config": ARM,
    "ArmView.varied": "part of the label",
    "ArmView.cloned_from": "part of the label, and counted",
    "ArmView.on_training_front": "the app draws by it",
    "ArmView.model": "named once for all arms, and in the label where there are several",
    "ArmView.role": "the best prompt stands first, and the finalists by their methods",
    "Estimate.method": "exported tables and JSON have it",
    "BenchmarkChange.metric": ARM,
    "BenchmarkChange.limit": "the limits are said once above the table",
    "BenchmarkChange.group": "named in the head of the column",
    "BenchmarkChange.chance": "said as base at chance, where it matters",
    "PairedDifference.p_value": "the interval says as much and more; `ftlab compare` has it",
    "Drift.direction": "decides the colour of an arrow",
    "Cost.prompt_tokens_per_request": ARM,
    "Cost.output_tokens_per_request": ARM,
    "Economics.cheaper_per_request": "said as what pays back when",
    "Progress.running": "a report is of one moment; the app and `ftlab status` follow the runs",
    "MethodBudget.measured": "said where arms have no result",
    "MethodBudget.train_seconds": "part of the seconds of the search",
    "JudgeView.answered": "why its scores do not count says it",
    "JudgeView.counts": "whether there is a reason why not says it",
    "Majority.label": "said in the caveat of the conclusion",
    "Majority.share": "said in the caveat of the conclusion",
    "OpeningView.looks": "said where nothing new was seen",
}
"""Shown by no report, with the reason."""
IN_REPORT_ONLY = dict.fromkeys(
    (
        "DecisionView.model",
        "DecisionView.min_gain",
        "DecisionView.metric_units",
        "DecisionView.snapshot",
        "DecisionView.arms_tried",
        "DecisionView.arms_cloned",
        "DecisionView.provenance",
        "DecisionView.horizon_requests",
        "Conclusion.kind",
        "ArmView.status",
        "ArmView.reason",
        "ArmView.on_front",
        "ArmView.dominated_by",
        "ArmView.forgetting_gate",
        "ArmView.format_gate",
        "Cost.train_tokens",
        "Cost.peak_memory_bytes",
        "Cost.serving_memory_bytes",
        "Cost.trainable_parameters",
        "Cost.prediction_tokens_per_second",
        "Economics.training",
        "Economics.per_1k",
        "Economics.total",
        "Economics.break_even_requests",
        "Economics.per_extra_correct",
        "LabelFigures.label",
        "LabelFigures.support",
        "Majority.label",
        "Majority.share",
        "Regression.text",
        "Regression.target",
        "Regression.baseline_output",
        "Regression.arm_output",
        "ChangedAnswer.prompt",
        "ChangedAnswer.before",
        "ChangedAnswer.after",
        "ChangedAnswer.changes",
    ),
    BRIEF,
)
IN_MARKDOWN_TOO = dict.fromkeys(
    (
        "DecisionView.experiment_id",
        "DecisionView.updated_at",
        "DecisionView.cluster_by",
        "DecisionView.clusters",
        "DecisionView.folds",
        "DecisionView.smallest_detectable",
        "DecisionView.test_looks",
        "PairedDifference.correction",
        "Progress.total",
        "Progress.by_status",
        "MethodBudget.method_name",
        "MethodBudget.family",
        "MethodBudget.arms",
        "MethodBudget.train_tokens",
        "MethodBudget.search_seconds",
        "OpeningView.number",
        "OpeningView.at",
        "OpeningView.who",
        "OpeningView.why",
        "OpeningView.arms",
        "RatingsView.raters",
        "RatingsView.pairs",
        "RatingsView.scores",
        "RatingsView.agreement",
        "RatingsView.shared",
        "RatingsView.left_out",
        "RatingsView.bad_lines",
    ),
    BRIEF,
)
NOT_IN: dict[str, dict[str, str]] = {
    "html": {},
    "markdown": IN_REPORT_ONLY,
    "terminal": IN_REPORT_ONLY | IN_MARKDOWN_TOO,
}
"""Not on one surface, with the reason."""


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> DecisionView:
    folder = tmp_path_factory.mktemp("fields")
    arms = (
        FakeArm("zero_shot", "prompt", accuracy=0.3),
        FakeArm("few_shot", "prompt", {"shots": 4}, accuracy=0.4),
        FakeArm("lora", "lora", {"r": 8}, accuracy=0.6, forgetting=0.05),
        FakeArm("lora", "lora", {"r": 16}, accuracy=0.55, forgetting=0.01),
        FakeArm("full", "full", accuracy=0.5, forgetting=0.2),
    )
    names = ("builtin:piqa", NEUTRAL_TEXT, BEHAVIOUR)
    made = make_results(
        folder, arms=arms, benchmarks=names, items=48, opened=True, seeds=(0, 1), at=({"every": 0.5}, "best")
    )
    with Ledger(folder, derive=update_comparisons) as ledger:
        ledger.catch_up()
        ledger.publish()
    with open_snapshot(folder) as snapshot:
        return filled(build_view(snapshot.cursor(), made, snapshot.number))


def filled(view: DecisionView) -> DecisionView:
    """The same with everything that a spec may ask for besides."""
    money = Economics(training=1.2, per_1k=0.3, total=99.0, break_even_requests=4000.0, per_extra_correct=0.02)
    arms = [
        arm.model_copy(
            update={"economics": money, "cost": arm.cost.model_copy(update={"latency_p50": MS, "latency_p95": MS})}
        )
        for arm in view.arms
    ]
    asked = {
        "arms": arms,
        "prices": PriceSpec(machine_hour=2.0),
        "horizon_requests": 100_000,
        "cluster_by": "document",
        "clusters": 31,
        "folds": 5,
        "missing": [MissingPart(what="forgetting", why="not measured yet")],
        "majority": Majority(label="red", share=0.4),
        "ratings": RatingsView(raters=3, pairs=40, scores=7, agreement=0.5, shared=12, left_out=2, bad_lines=1),
        "judge": JudgeView(
            name="judge",
            asked=40,
            unparsable=2,
            silent=1,
            flipped=3,
            first_place=MS.model_copy(update={"value": 0.6, "low": 0.5, "high": 0.7}),
            kappa=MS.model_copy(update={"value": 0.4, "low": 0.2, "high": 0.6}),
            shared=30,
            raters=2,
            min_kappa=0.6,
            answered=True,
            why="kappa is too low",
        ),
    }
    return view.model_copy(update=asked)


MS = Estimate(value=80.0, low=70.0, high=95.0, n=80)


def terminal(view: DecisionView) -> str:
    out = io.StringIO()
    print_view(view, Console(file=out, width=200))
    return out.getvalue()


SURFACES = {"html": render_report, "markdown": render_markdown, "terminal": terminal}


def models(value: Any) -> Iterator[BaseModel]:
    """A model and all that are in it."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from models(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from models(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from models(each)


def changed(value: Any, kind: str, field: str) -> Any:
    """The same with one field of one kind of model changed wherever it occurs."""
    if isinstance(value, BaseModel):
        update = {name: changed(getattr(value, name), kind, field) for name in type(value).model_fields}
        if type(value).__name__ == kind:
            update[field] = other(getattr(value, field), type(value).model_fields[field].annotation)
        return value.model_copy(update=update)
    if isinstance(value, list):
        return [changed(each, kind, field) for each in value]
    if isinstance(value, dict):
        return {name: changed(each, kind, field) for name, each in value.items()}
    return value


def other(value: Any, annotation: Any) -> Any:
    """Another value of the same kind."""
    words = [word for word in literals(annotation) if word != value]
    if words and (value is None or isinstance(value, str)):
        return words[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 3 * value + 1237
    if isinstance(value, float):
        return value * 1.31 + 0.0171
    if isinstance(value, str):
        return f"{value} otherwise"
    if isinstance(value, list):
        return [other(each, None) for each in value]
    if isinstance(value, dict):
        return {name: other(each, None) for name, each in value.items()}
    if value is None and "Estimate" in str(annotation):
        return Estimate(value=0.4321, low=0.3, high=0.5, n=9)
    if value is None and "float" in str(annotation):
        return 0.4321
    if value is None and "int" in str(annotation):
        return 4321
    if value is None and "str" in str(annotation):
        return "now it is said"
    return True if value is None else value


def literals(annotation: Any) -> list[str]:
    """The words that a field may hold, if it may hold certain words only."""
    if isinstance(annotation, str):
        return [annotation]
    return [word for part in get_args(annotation) for word in literals(part)]


def leaves(model: BaseModel) -> set[str]:
    """The fields that hold no other model: those have fields of their own."""
    return {name for name in type(model).model_fields if not any(True for _ in models(getattr(model, name)))}


def fields(view: DecisionView) -> list[tuple[str, str]]:
    """Every leaf by kind of model, in the order of their declaration."""
    inner: dict[type[BaseModel], set[str]] = {}
    for model in models(view):
        inner.setdefault(type(model), set(type(model).model_fields)).intersection_update(leaves(model))
    return [
        (kind.__name__, name)
        for kind, held in inner.items()
        if kind.__name__ not in OUTSIDE
        for name in kind.model_fields
        if name in held and name not in IDS
    ]


@pytest.mark.parametrize("surface", SURFACES)
def test_every_field_is_shown_or_excused(view: DecisionView, surface: str) -> None:
    render = SURFACES[surface]
    before = render(view)
    missing = []
    for kind, field in fields(view):
        name = f"{kind}.{field}"
        excused = name in NOWHERE or name in NOT_IN[surface]
        shown = render(changed(view, kind, field)) != before
        if not shown and not excused:
            missing.append(name)
    assert missing == [], f"not on {surface}, and on no list"


def test_the_lists_name_what_there_is_and_give_reasons(view: DecisionView) -> None:
    known = {f"{kind}.{field}" for kind, field in fields(view)}
    listed = {**NOWHERE, **{name: why for part in NOT_IN.values() for name, why in part.items()}}
    assert set(listed) <= known
    assert all(listed.values())


def test_the_verdict_file_is_the_view(view: DecisionView) -> None:
    assert DecisionView.model_validate(json.loads(view.model_dump_json())) == view
