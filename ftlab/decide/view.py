"""The one view that feeds the app, the HTML report, the terminal and `--json`: frozen, plain, complete.

Every number that a surface shows is in here, already computed; surfaces format and lay out, nothing else. A value that
is missing is None, and the field beside it says why.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ftlab.spec.schema import PriceSpec

SCHEMA_VERSION = 1

Gate = Literal["yes", "no", "not shown"]
"""A limit is kept, is not kept, or the data are too few to tell. The last is never read as the first."""


class ViewPart(BaseModel):
    """The base of every part of the view."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Estimate(ViewPart):
    """A value with its interval. `low` and `high` are None when no interval could be computed."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """How many examples it rests on."""
    method: str = ""
    """How the interval was computed, in words."""
    confidence: float = 0.95
    """How often such an interval covers the truth."""


class Spread(ViewPart):
    """Two kinds of chance in one figure, told apart, in the unit of the metric."""

    seeded: bool
    """Whether a seed can change the figure at all: not where nothing is trained and no example drawn."""
    over: Literal["seeds", "folds", "models"]
    """What the figures are of that scatter: seeds; with folds and one seed the folds of validation, each its own rows;
    or elsewhere the models of all folds and seeds."""
    replicates: int
    """How many there are, with answers of their own."""
    sd: float | None
    """Standard deviation of the figure over these; None for one: then it is not measured."""
    example_error: float | None
    """Standard error from the choice of examples; None where the figure has no interval."""
    examples: int | None
    """How many there are."""
    larger: Literal["replicates", "examples"] | None
    """Which of both leaves more open about the mean; None unless both are measured."""


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
    """The p value after the correction; None where nothing was corrected."""
    correction: Literal["", "Holm", "Benjamini-Hochberg"] = ""
    """Holm's over all arms of the table for the decision metric; Benjamini and Hochberg's over all that is explored for
    other metrics and for benchmarks."""
    simultaneous: bool = False
    """Whether the interval holds together with those of all other arms (max-T), so that picking the best is covered."""


class GateView(ViewPart):
    """One limit of the decision and how an arm stands to it."""

    name: Literal["forgetting", "format", "latency", "cost"]
    state: Gate
    words: str
    """What was measured and what the limit is."""


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
    unit: str = "share"
    """What base, arm, difference and limit are counted in."""
    direction: Literal["higher", "lower"] = "higher"
    """Which values are better. The difference is positive when better either way: where less is better, a rise by 0.1
    is a difference of -0.1."""


class CoursePoint(ViewPart):
    """One point of a training at which a benchmark was asked."""

    point: str
    """`25%` of the training, `best` (its lowest validation loss) or `last`."""
    step: float
    """Optimizer steps before it; the mean over the arm's runs."""
    change: Estimate
    """Against the base on the same items, as the measure itself moved."""


class Course(ViewPart):
    """One benchmark in the course of a training, the points in the order of their steps."""

    task: str
    unit: str
    """What the changes are counted in."""
    result: str
    """The point whose weights are the arm's result."""
    points: list[CoursePoint]


class Drift(ViewPart):
    """A measure of default behaviour that closes no gate unless the spec names it."""

    task: str
    """The measure: `builtin:behaviour/length`."""
    unit: str
    direction: Literal["higher", "lower", "none"]
    """Which values are better; `none`: neither, a change is only a change."""
    base: Estimate
    arm: Estimate
    difference: PairedDifference
    """The arm minus the base, whatever the direction; its interval holds together with those of all arms and measures
    of the benchmark. `fixed` counts prompts where the arm has more, `broke` where it has less."""
    limit: float | None = None
    """The largest tolerated change, to either side where there is no better one; None when the spec names none."""
    within_limit: Gate | None = None
    """Whether the change is shown to stay within the limit; None without one."""


class ChangedAnswer(ViewPart):
    """A general prompt that an arm answers otherwise than the base."""

    arm_id: str
    prompt: str
    before: str
    """The base's answer."""
    after: str
    """The arm's answer."""
    changes: list[str]
    """What is different, in words."""


class Cost(ViewPart):
    """What an arm costs, as measured on this machine."""

    train_seconds: float | None = None
    train_tokens: int | None = None
    peak_memory_bytes: int | None = None
    """The most memory in use while training; None for an arm that trains nothing."""
    serving_memory_bytes: int | None = None
    """The most memory in use while predicting, batches of `execute.eval_batch_tokens` included."""
    trainable_parameters: int | None = None
    artifact_bytes: int | None = None
    """What has to be stored and shipped beside the base; 0 for a prompt."""
    prediction_tokens_per_second: float | None = None
    seconds_per_1k_requests: float | None = None
    prompt_tokens_per_request: float | None = None
    output_tokens_per_request: float | None = None
    latency_p50: Estimate | None = None
    """The median time in ms of a request served alone, measured on this machine."""
    latency_p95: Estimate | None = None
    """The time in ms within which 95 of 100 requests served alone are answered; its interval has no upper end where too
    few were measured."""


class Economics(ViewPart):
    """What an arm costs in money, in the currency of the prices; None wherever a price or a measurement is missing."""

    training: float | None = None
    """Training once."""
    per_1k: float | None = None
    """1,000 requests."""
    total: float | None = None
    """All trainings and all requests of the horizon."""
    break_even_requests: float | None = None
    """After how many requests the training has paid for itself; None when a request costs no less than the prompt's."""
    cheaper_per_request: bool | None = None
    """Whether a request costs less than the best prompt's."""
    per_extra_correct: float | None = None
    """What each case costs that is right and the best prompt has wrong, over the horizon; negative when it saves."""


class LabelFigures(ViewPart):
    """How an arm does on the cases of one label."""

    label: str
    support: int
    """Cases of the split with this label as their right answer."""
    recall: Estimate | None
    """Of the cases with this label, the share answered so."""
    precision: Estimate | None
    """Of the answers with this label, the share that is right; None when the arm never gave it."""


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
    probability_best: float | None = None
    """In which share of the resampled examples it is the best of all arms here, the best prompt included."""
    equivalent: bool | None = None
    """Whether it is shown to lie within the minimum gain of the best prompt, better or worse; None where not tested."""
    spread: Spread | None = None
    """What the drawing of seeds and that of examples leave open about the decision metric; None without a result."""
    difference: PairedDifference | None
    """The decision metric against the baseline; None for the baseline itself and for arms without a result."""
    benchmarks: list[BenchmarkChange]
    drift: list[Drift] = []
    """How default behaviour moved against the base."""
    courses: list[Course] = []
    """Benchmarks in the course of the training; empty where the spec asks for none."""
    cost: Cost
    economics: Economics = Economics()
    config: dict[str, Any]
    """The resolved method config."""
    varied: dict[str, Any]
    """The fields that tell this arm from its siblings."""
    cloned_from: str | None = None
    """The run whose config people made this arm from; None for an arm of the spec."""
    on_front: bool
    """Whether it is worth a look by quality and seconds per 1,000 requests, as `ftlab.decide.pareto` defines it."""
    on_training_front: bool = False
    """The same with training seconds as the cost."""
    dominated_by: str | None = None
    """The label of an arm on the front that answers better and serves about as cheaply, or as well and more cheaply."""
    model: str = ""
    """The base model, as the spec names it."""
    forgetting_gate: Gate | None = None
    """All benchmarks together: `no` when one is beyond the limit, `yes` when all are within; None without any."""
    role: Literal["baseline", "base", "finalist"] | None = None
    """What the arm is on the test rows; None in a view of validation."""
    validation: Estimate | None = None
    """In a view of test: the decision metric on the rows that chose the arm."""
    validation_difference: PairedDifference | None = None
    """In a view of test: the difference to the same baseline on the rows that chose the arm."""
    format_gate: Gate | None = None
    """Whether the share of answers in the asked form reaches `min_valid_format`; None when no share was asked for."""
    gates: list[GateView] = []
    """Every limit that the spec sets, forgetting and format among them; empty without a result."""
    labels: list[LabelFigures] = []
    """Label by label in the order of the alphabet; empty where there are no labels or no result yet."""


class MethodBudget(ViewPart):
    """What was tried and spent on tuning one method, all its arms and seeds together."""

    method_name: str
    family: str
    arms: int
    """Arms planned."""
    measured: int
    """Arms with a result on validation."""
    train_tokens: int
    train_seconds: float
    search_seconds: float
    """Training and answering the validation rows, the arms that lost included."""


class OpeningView(ViewPart):
    """One opening of the sealed test rows."""

    number: int
    at: str
    """ISO 8601 UTC."""
    who: str
    why: str
    arms: list[str]
    """Labels of the arms that were measured."""
    looks: int
    """How many answers to the test rows were new then; 0 when nothing was seen that had not been seen before."""


class Regression(ViewPart):
    """A case that got worse: the baseline was right, the arm is wrong."""

    arm_id: str
    example_id: str
    text: str
    target: str
    baseline_output: str
    arm_output: str


class WorstSlice(ViewPart):
    """The part of the rows on which an arm does worst against the best prompt: a lead, found by looking."""

    arm_id: str
    name: str
    """`label: Surgery`, `column: value`, `text: long`."""
    difference: PairedDifference
    """Its p value is corrected over all slices that were looked at."""
    looked_at: int
    """How many slices were."""


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


class JudgeView(ViewPart):
    """What there is to know of a judge before its score, the metric `judge`, counts."""

    name: str
    asked: int = 0
    """Pairs that were put to it, in both orders; equal answers are a tie and are not asked."""
    unparsable: int = 0
    """Pairs with an answer that names neither A nor B."""
    silent: int = 0
    """Pairs with an order that got no answer at all."""
    flipped: int = 0
    """Pairs that are ties because the judge named the same place in both orders."""
    first_place: Estimate | None = None
    """How often the answer shown first wins: 0.5 without position bias."""
    kappa: Estimate | None = None
    """Cohen's kappa with people; None where it was not measured."""
    shared: int = 0
    """Judged pairs that people have rated."""
    raters: int = 0
    min_kappa: float
    answered: bool = False
    """Whether enough pairs have an answer; without it there are no scores."""
    counts: bool = False
    """Whether its scores count in a decision."""
    why: str = ""
    """Why they do not; empty when they do."""


class RatingsView(ViewPart):
    """What people have rated on these rows."""

    raters: int
    pairs: int
    """Pairs of answers that somebody compared, each rater's by itself."""
    scores: int
    """Single answers that somebody scored, likewise."""
    agreement: float | None = None
    """Cohen's kappa between raters; None where no two of them rated the same pairs."""
    shared: int = 0
    """Pairs that more than one of them rated."""
    left_out: int = 0
    """Ratings of outputs that no arm has any more."""
    bad_lines: int = 0
    """Lines of the files that are no ratings."""


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
    splits: list[str] = []
    """The splits that a view can be had of: `test` once it was opened and measured."""
    metric: str
    """The decision metric."""
    metric_unit: str
    metric_direction: Literal["higher", "lower"]
    min_gain: float
    max_forgetting: float
    """The largest tolerated loss on a benchmark without a limit of its own."""
    forgetting_limits: dict[str, float] = {}
    """The largest tolerated loss on every benchmark of the spec, and change of every drift that it names, by name."""
    min_valid_format: float | None = None
    """The smallest tolerated share of answers in the asked form; None when the spec asks for none."""
    max_p95_ms: float | None = None
    """The longest tolerated 95th percentile of latency, in ms; None when the spec asks for none."""
    max_cost_per_1k: float | None = None
    """The most that 1,000 requests may cost, in the currency of the prices; None when the spec asks for none."""
    confidence: float = 0.95
    """The level of the decision's intervals: of differences and of changes on benchmarks."""
    metric_units: dict[str, str] = {}
    """The unit of every metric in the table, by its name."""
    benchmarks: list[str] = []
    """Every benchmark of the spec, measured or not, in the spec's order; of one with several measures those whose loss
    closes the gate, each by its name."""
    benchmark_groups: dict[str, str] = {}
    """What each of them measures."""
    benchmark_units: dict[str, str] = {}
    """What each of them, and every drift, is counted in."""
    snapshot: int | None
    """The number of the snapshot this was read from."""
    updated_at: str
    """When the newest event in it was written, ISO 8601 UTC."""
    conclusion: Conclusion
    arms: list[ArmView]
    """The baseline first, then by method in the spec's order, the best of each method first."""
    regressions: list[Regression]
    worst_slices: list[WorstSlice] = []
    """Of the best arm of each trained method, in the order of the spec."""
    changed_answers: list[ChangedAnswer] = []
    """General prompts that the best arm of each trained method answers otherwise than the base."""
    warnings: list[str]
    missing: list[MissingPart]
    progress: Progress
    arms_tried: int = 0
    arms_cloned: int = 0
    """How many of them people chose after they saw results."""
    """How many arms the experiment has, those included that this view does not show."""
    examples: int
    """Rows in the split."""
    smallest_detectable: float | None = None
    """The smallest difference to the best prompt that these rows would show at 80% power, by the measured spread of the
    arm compared first; None where nothing is compared."""
    cluster_by: str | None = None
    """The column whose groups of rows count as independent; None when every row does."""
    folds: int | None = None
    """Into how many folds the rows of train and validation are cut; None where they are not."""
    clusters: int | None = None
    """How many groups the split's rows come in."""
    majority: Majority | None = None
    """None without rows."""
    ratings: RatingsView | None = None
    """What people have rated; None where nobody did."""
    judge: JudgeView | None = None
    """None when the spec has no judge."""
    prices: PriceSpec = PriceSpec()
    """What the economics rest on."""
    horizon_requests: int | None = None
    """How many requests the decision is to hold for."""
    budgets: list[MethodBudget] = []
    """What each method was given to be tuned, in the spec's order."""
    openings: list[OpeningView] = []
    """Every opening of the test rows by this experiment, oldest first."""
    test_looks: int = 0
    """How often something new was seen of these test rows, by this experiment and others in the folder."""
    provenance: dict[str, Any]
    """Versions, device, commit, and content hashes of data and model."""
