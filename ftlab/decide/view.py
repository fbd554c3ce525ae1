"""The one view that feeds the app, the HTML report, the terminal and `--json`: frozen, plain, complete.

Every number that a surface shows is in here, already computed; surfaces format and lay out, nothing else. A value that
is missing is None, and the field beside it says why.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1

Gate = Literal["yes", "no", "not shown"]
"""A limit is kept, is not kept, or the data are too few to tell. The last is never read as the first."""


class ViewPart(BaseModel):
    """The base of every part of the view."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Estimate(ViewPart):
    """A value with its 95% interval. `low` and `high` are None when no interval could be computed."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """How many examples it rests on."""
    method: str = ""
    """How the interval was computed, in words."""


class PairedDifference(ViewPart):
    """One arm against a baseline on the examples both were scored on: positive is better for the arm."""

    estimate: Estimate
    p_value: float | None
    fixed: int
    """Examples the baseline got wrong and the arm right."""
    broke: int
    """Examples the baseline got right and the arm wrong."""
    dropped: int
    """Examples that only one of the two was scored on, left out of the comparison."""
    p_adjusted: float | None = None
    """The p value after Holm's correction for every arm of the table; None where nothing was corrected."""
    simultaneous: bool = False
    """Whether the interval holds together with those of all other arms (max-T), so that picking the best is covered."""


class BenchmarkChange(ViewPart):
    """One general benchmark: the base's score, the arm's, and the paired difference.

    Gains and losses stand apart in the difference: `fixed` items were gained, `broke` items were lost.
    """

    task: str
    metric: str
    base: Estimate
    arm: Estimate
    difference: PairedDifference
    within_limit: Gate
    """`yes`: the interval lies above -limit; `no`: below it; `not shown`: the interval is too wide to tell."""
    limit: float | None = None
    """The largest tolerated loss on this benchmark; None in views of before it was told for each."""
    group: str = "other"
    """What it measures: `knowledge`, `reasoning`, `reading`, or `other` where ftlab does not know."""
    chance: float | None = None
    """The score that takes no skill; None where it is not known."""
    informative: bool | None = None
    """Whether the base is shown to beat chance; where it is not, a loss cannot show. None where chance is not known."""


class Cost(ViewPart):
    """What an arm costs, as measured on this machine."""

    train_seconds: float | None = None
    train_tokens: int | None = None
    peak_memory_bytes: int | None = None
    trainable_parameters: int | None = None
    artifact_bytes: int | None = None
    """What has to be stored and shipped beside the base; 0 for a prompt."""
    prediction_tokens_per_second: float | None = None
    seconds_per_1k_requests: float | None = None


class ArmView(ViewPart):
    """One row of the method table."""

    arm_id: str
    run_ids: list[str]
    method_name: str
    family: str
    label: str
    status: str
    """The least finished status among the arm's runs."""
    reason: str | None
    """Why the arm has no result, in words."""
    seeds: list[int]
    is_baseline: bool
    is_best_of_method: bool
    metrics: dict[str, Estimate]
    """Every metric by its name, e.g. `accuracy`; the decision metric among them."""
    difference: PairedDifference | None
    """The decision metric against the baseline; None for the baseline itself and for arms without a result."""
    benchmarks: list[BenchmarkChange]
    cost: Cost
    config: dict[str, Any]
    """The resolved method config."""
    varied: dict[str, Any]
    """The fields that tell this arm from its siblings."""
    on_front: bool
    """Whether no other arm is at least as good and at least as cheap (quality against seconds per 1,000 requests)."""
    on_training_front: bool = False
    """The same with training seconds as the cost."""
    dominated_by: str | None = None
    """The label of an arm that answers at least as well, serves at least as cheaply, and is better in one."""
    model: str = ""
    """The base model, as the spec names it."""
    forgetting_gate: Gate | None = None
    """All benchmarks together: `no` when one is beyond the limit, `yes` when all are within; None without any."""
    format_gate: Gate | None = None
    """Whether the share of answers in the asked form reaches `min_valid_format`; None when no share was asked for."""


class Regression(ViewPart):
    """A case that got worse: the baseline was right, the arm is wrong."""

    arm_id: str
    example_id: str
    text: str
    target: str
    baseline_output: str
    arm_output: str


class Majority(ViewPart):
    """What a method would score that gives every row the same answer: the bar below which nothing was learned."""

    label: str
    """The most frequent right answer of the split."""
    share: float
    """Its share of the rows, 0 to 1: the accuracy of always saying it."""


class Conclusion(ViewPart):
    """One sentence to act on, filled by rules."""

    kind: Literal["use", "keep_prompting", "undecided", "blocked", "incomplete"]
    sentence: str
    """What to do and by how much."""
    caveat: str
    """What this does not show."""
    arm_id: str | None
    """The arm that the sentence names."""


class MissingPart(ViewPart):
    """Something the page would show and cannot yet, with the reason."""

    what: str
    why: str


class Progress(ViewPart):
    """How far the sweep is."""

    total: int
    by_status: dict[str, int]
    running: list[str]
    """Labels of the arms that run now."""


class DecisionView(ViewPart):
    """All that there is to say about one experiment at one moment."""

    schema_version: int = SCHEMA_VERSION
    experiment_id: str
    name: str
    question: str
    model: list[str]
    split: str
    """The split that everything here was measured on."""
    metric: str
    """The decision metric."""
    metric_unit: str
    metric_direction: Literal["higher", "lower"]
    min_gain: float
    max_forgetting: float
    """The largest tolerated loss on a benchmark without a limit of its own."""
    forgetting_limits: dict[str, float] = {}
    """The largest tolerated loss on every benchmark of the spec, by its name."""
    min_valid_format: float | None = None
    """The smallest tolerated share of answers in the asked form; None when the spec asks for none."""
    metric_units: dict[str, str] = {}
    """The unit of every metric in the table, by its name."""
    benchmarks: list[str] = []
    """Every benchmark of the spec, measured or not, in the spec's order."""
    snapshot: int | None
    """The number of the snapshot this was read from."""
    updated_at: str
    """When the newest event in it was written, ISO 8601 UTC."""
    conclusion: Conclusion
    arms: list[ArmView]
    """The baseline first, then by method in the spec's order, the best of each method first."""
    regressions: list[Regression]
    warnings: list[str]
    missing: list[MissingPart]
    progress: Progress
    examples: int
    """Rows in the split."""
    majority: Majority | None = None
    """None without rows."""
    provenance: dict[str, Any]
    """Versions, device, commit, and content hashes of data and model."""
