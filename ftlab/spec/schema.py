"""What a spec may say: one pydantic model per block, unknown keys refused.

The field docstrings are the one source of the JSON Schema's descriptions, of the editor's hover text and of the
documentation. Ranges (`{grid: [...]}` and the like) are allowed in methods only; `ftlab.spec.space` derives the ranged
form of a method's config, so this module holds literals alone.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ftlab.spec.block import Block
from ftlab.spec.execution import ExecuteSpec
from ftlab.spec.judge import JudgeSpec
from ftlab.spec.metrics import DEFAULT_METRICS, GivenMetric, TaskType, metric_entry

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""What users call methods and experiments: lower case, digits, - and _, at most 64 characters."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

BenchmarkGroup = Literal[
    "knowledge", "reasoning", "reading", "instruction_following", "format", "neutral_text", "other"
]
"""What a general benchmark measures; `other` for those of lm-eval's registry of which ftlab does not know it."""


class Message(Block):
    """One chat message. `content` is a Jinja template over the columns of a row, and `labels` for the label list."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """The text; `{{ column }}` is filled from the row, `{{ labels | join(', ') }}` from the label list."""


class ModelSpec(Block):
    """A base model."""

    source: Annotated[str, StringConstraints(min_length=1)]
    """`builtin:<name>`, a folder that starts with `.`, `/` or `~`, or a hub id `org/name[@revision]`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The precision that predictions and benchmarks are computed in, the same for every arm."""


class Files(Block):
    """One file per split; the ending names the format: .jsonl, .json, .csv, .parquet."""

    train: str
    """Rows to train on and to take few-shot examples from."""
    validation: str | None = None
    """Rows that choose between arms; cut from train when left out."""
    test: str | None = None
    """Rows that stay sealed; cut from train when left out."""


class SplitSpec(Block):
    """How rows become splits: a whole number counts rows, a fraction below 1 is a share of all rows."""

    train: Annotated[float, Field(gt=0)] | None = None
    """Rows to train on; all that remain when left out."""
    validation: Annotated[float, Field(gt=0)] = 0.1
    """Rows that choose between arms."""
    test: Annotated[float, Field(gt=0)] = 0.2
    """Rows that stay sealed."""
    stratify: bool = True
    """Keep the shares of the labels equal in every split; of no effect for a task without labels."""
    deduplicate: bool = True
    """Drop rows whose columns equal an earlier row's, before anything is split."""
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Cross-validate: the rows of train and validation together are cut into so many folds (whole groups where
    `cluster_by` names them, labels in equal shares where `stratify` says so), and every arm runs once for each, trained
    on the others. So each of these rows is answered once by a model that has not seen it. Test stays sealed, outside of
    the folds; there every fold's model answers, and they count as replicates."""
    seed: int = 0
    """Decides which row goes where."""

    @field_validator("train", "validation", "test")
    @classmethod
    def _whole_or_share(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and value != int(value):
            raise ValueError(f"expected a whole number of rows or a share below 1, found {value}")
        return value


class DataSpec(Block):
    """Where the rows come from and how they are split."""

    source: str | None = None
    """`builtin:<name>`, a file (.jsonl, .json, .csv, .parquet) or a hub id `org/name[@revision]`."""
    files: Files | None = None
    """One file per split, instead of `source`."""
    subset: str | None = None
    """The configuration of a hub data set, where it has several."""
    splits: SplitSpec = SplitSpec()
    """How rows become splits."""
    cluster_by: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A column that says which rows belong together: a document, a customer, a template. A split then holds whole
    groups, so that its size is met as nearly as they allow, and intervals count groups, not rows, as independent."""

    @model_validator(mode="after")
    def _one_origin(self) -> DataSpec:
        if (self.source is None) == (self.files is None):
            raise ValueError("expected exactly one of 'source' and 'files'")
        return self


class TaskSpec(Block):
    """The user's own task: what is asked, what is right, and how it is scored."""

    type: TaskType
    """`classification`: one of a list of labels. `generation`: free text. `extraction`: JSON."""
    prompt: Annotated[list[Message], Field(min_length=1)]
    """The chat that every method starts from; a method may bring its own."""
    target: str
    """A template for the right answer of a row, e.g. `{{ label }}`, or for extraction `{{ record | tojson }}`."""
    labels: list[str] | None = None
    """Every allowed answer of a classification task, in the order that prompts list them; the training rows' answers,
    sorted, when left out."""
    metrics: Annotated[list[GivenMetric], Field(min_length=1)] = Field(default_factory=list)
    """Names of metrics, each alone or with options: `{regex: {pattern: ...}}`. The option `as` renames one. Those that
    fit the type when left out."""
    decode: Literal["generate", "choose"] = "generate"
    """`generate` and parse the text, or `choose` the label that the model finds likeliest (classification only)."""
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    """The longest answer in tokens; the longest label or training target plus a margin when left out."""

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_the_type(cls, data: Any) -> Any:
        if isinstance(data, dict) and "metrics" not in data and str(data.get("type")) in DEFAULT_METRICS:
            return {**data, "metrics": list(DEFAULT_METRICS[data["type"]])}
        return data


class MetricOptions(Block):
    """What a metric can be told; each metric adds its own fields."""


class EarlyStopping(Block):
    """Stop when the validation loss no longer falls."""

    patience: Annotated[int, Field(ge=1)] = 2
    """Evaluations without improvement before training stops."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """What counts as an improvement, in nats per target token."""


class TrainFields(Block):
    """What every trained method can be told. The defaults are overridden by `train:` and then by the method."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the training rows."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many optimizer steps, whatever `epochs` says."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Rows per forward pass."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Forward passes per optimizer step; the effective batch is `batch_size` times this."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """The peak learning rate."""
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warmup."""
    warmup_ratio: Fraction = 0.05
    """The share of all steps in which the learning rate rises from zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are clipped to this norm."""
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Longer sequences (prompt and target, in tokens) are cut on the left; the preflight counts them."""
    evaluations: Annotated[int, Field(ge=0)] = 2
    """How often the validation loss is measured, evenly over the training, the end included."""
    early_stopping: EarlyStopping | None = None
    """Stop when the validation loss no longer falls."""
    keep: Literal["last", "best"] = "last"
    """Which weights become the result: the last, or those with the lowest validation loss."""
    checkpoints: Annotated[int, Field(ge=0)] = 1
    """How many checkpoints are written on the way, evenly, so that a killed run resumes."""
    on_diverge: Literal["warn", "stop"] = "warn"
    """When gradients explode, the validation loss rises while the training loss falls, or nothing is learnt: say so, or
    `stop` the run early too. It fails then; with `keep: best` it goes on with the best weights, if something was
    learnt. A loss that is not a number always fails the run."""


class TrainSpec(TrainFields):
    """Defaults for every trained method; a method may override each."""


class MethodConfig(Block):
    """What every method can be told; each family adds its own fields. One value per field: a resolved config."""

    trained: ClassVar[bool] = False
    fixed_by_weights: ClassVar[frozenset[str]] = frozenset()
    """The fields that say which weights there are and how they act: training may begin only from weights that were
    made with the same ones."""

    type: str
    """The method family."""
    prompt: Annotated[list[Message], Field(min_length=1)] | None = None
    """The chat of this method, instead of the task's."""
    shots: Annotated[int, Field(ge=0, le=64)] = 0
    """Solved examples shown before the question, drawn from train by seed, spread over the labels."""
    decode: Literal["generate", "choose"] | None = None
    """How this method answers, instead of the task's `decode`."""


class TrainedConfig(MethodConfig, TrainFields):
    """A method that changes weights."""

    trained: ClassVar[bool] = True


OWN_TASK = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""What lm-eval tasks of a user's own may be called."""


class Every(Block):
    """Points of a training at equal distances."""

    every: Annotated[float, Field(gt=0, lt=1)]
    """A share of the training's steps: 0.25 for a quarter, half and three quarters of it."""


BEST, LAST = "best", "last"


class BenchmarkSpec(Block):
    """General benchmarks: what the model could do before and must still do after."""

    tasks: list[str] = Field(default=[])
    """`builtin:<name>`, any task name of lm-eval's registry, or a name of `own`."""
    own: dict[Annotated[str, StringConstraints(pattern=OWN_TASK)], str] = Field(default={})
    """lm-eval tasks of your own: a task's name and the folder whose YAML files define it. Such files may name Python
    code, which then runs with your rights: naming a task here allows it."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """The first so many items of each task; all when left out."""
    shots: Annotated[int, Field(ge=0, le=32)] | None = None
    """Few-shot examples; the task's own number when left out."""
    chat_template: bool = False
    """Whether questions are wrapped in the model's chat template."""
    at: list[Literal["best", "last"] | Every] = Field(default=[])
    """At which points of a training the benchmarks are asked besides its result: `best` (the lowest validation loss),
    `last`, `every: 0.25`. Weights are kept at these points, so that naming new ones trains again."""

    @field_validator("tasks")
    @classmethod
    def _distinct(cls, tasks: list[str]) -> list[str]:
        if twice := sorted({task for task in tasks if tasks.count(task) > 1}):
            raise ValueError(f"expected each benchmark once, found {', '.join(twice)} twice")
        return tasks

    def points(self) -> tuple[str, ...]:
        """The points of `at` in the order of a training, each once: shares such as `25%`, then `best`, then `last`."""
        named = [point for point in (BEST, LAST) if point in self.at]
        return (*(f"{100 * share:g}%" for share in self.shares()), *named)

    def shares(self) -> list[float]:
        """The points of `at` that are shares of a training, rising, between 0 and 1."""
        steps = [one.every for one in self.at if isinstance(one, Every)]
        return sorted({round(turn * step, 6) for step in steps for turn in range(1, math.ceil(1 / step - 1e-9))})


Loss = Annotated[float, Field(ge=0)]
MAX_FORGETTING = 0.02
"""The tolerated loss where the spec names none."""


class DecisionSpec(Block):
    """When a method is worth it."""

    metric: str = "accuracy"
    """The metric that decides; one of the task's metrics. For a task without labels the first one when left out."""
    min_gain: Annotated[float, Field(ge=0)] = 0.02
    """The smallest gain over the best prompt that is worth having, in the metric's own unit."""
    max_forgetting: Loss | dict[str, Loss] = MAX_FORGETTING
    """The largest tolerated loss on any benchmark, in shares: 0.02 is two points. As a mapping: by benchmark
    (`builtin:piqa`), by group (`knowledge`, `reasoning`, `reading`, `instruction_following`, `format`, `neutral_text`,
    `other`) and `default` for the rest; a benchmark's own number counts before its group's. Neutral text is in nats per
    token (0.1 unless named), the prompts of `builtin:behaviour` are few (0.25 unless named), and its drift closes no
    gate unless named: `builtin:behaviour/length` in tokens, `/refusals` and `/repetition` in shares, to either side."""
    min_valid_format: Fraction | None = None
    """The smallest tolerated share of answers in the asked form."""
    max_p95_ms: Annotated[float, Field(gt=0)] | None = None
    """The longest tolerated latency of a request served alone, in ms: 95 of 100 requests are answered within it."""
    max_cost_per_1k: Annotated[float, Field(gt=0)] | None = None
    """The most that 1,000 requests may cost, in the currency of `prices`, which must give a price for it."""
    alpha: Annotated[float, Field(ge=0.001, le=0.2)] = 0.05
    """The risk of the decision: its intervals hold at one minus this, 95% when left out."""
    horizon_requests: Annotated[int, Field(ge=1)] | None = None
    """How many requests the decision is to hold for: what training costs once is weighed against what they save."""


class HostedPrice(Block):
    """What a hosted service asks for one method's model, for a million tokens each."""

    input: Annotated[float, Field(ge=0)]
    """For a million tokens of prompts."""
    output: Annotated[float, Field(ge=0)]
    """For a million tokens of answers."""
    training: Annotated[float, Field(ge=0)] = 0.0
    """For a million tokens of training."""


class PriceSpec(Block):
    """What things cost. Without prices costs are shown as time; nothing here changes a result."""

    currency: Annotated[str, StringConstraints(min_length=1, max_length=4)] = "$"
    """What amounts are written with."""
    machine_hour: Annotated[float, Field(ge=0)] | None = None
    """An hour of the machine that trains and serves."""
    hosted: dict[Name, HostedPrice] = Field(default={})
    """By the name of a method: what it costs when a service hosts it, instead of the machine's time."""
    retrain_per_year: Annotated[float, Field(ge=0)] = 0.0
    """How often a year the training is repeated, on fresh data say."""
    horizon_years: Annotated[float, Field(gt=0)] = 1.0
    """In how many years `decision.horizon_requests` come in."""


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class SeedRace(Block):
    """Every arm runs with the first seeds, the leading ones with more: seeds go where they can change the answer.

    The leaders are the best arms of each trained method, and of all prompting methods together, by the mean of the
    deciding metric on validation over the first seeds, which every arm has. Only they can stand for their method.
    """

    top: Annotated[int, Field(ge=1)] = 3
    """How many arms of each method get more seeds."""
    count: Annotated[int, Field(ge=2, le=100)] = 5
    """How many seeds such an arm has in the end, the first ones included."""
    first: Annotated[list[Seed], Field(min_length=1)] = Field(default=[0])
    """The seeds that every arm runs with; the further ones are the smallest numbers that are not among them."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed of a leading arm, the first ones first."""
        further = (seed for seed in range(self.count + len(self.first)) if seed not in self.first)
        return (*self.first, *islice(further, self.count - len(self.first)))


class BudgetSpec(Block):
    """What every searched method may spend, so that none wins by more tries."""

    arms_per_method: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The most arms that a search tries, whatever it says itself."""
    training_tokens: Annotated[int, Field(ge=1)] | None = None
    """A search proposes nothing more once its arms have trained on so many tokens."""


class ExperimentSpec(Block):
    """One question, and everything that is needed to answer it. `methods` is checked by `ftlab.spec.load`."""

    version: Literal[1]
    """The version of the spec format."""
    name: Name
    """What the experiment is called; runs of the same name share one results folder."""
    question: str = ""
    """What is to be decided, in words, shown at the head of the page."""
    model: ModelSpec | str | Annotated[list[ModelSpec | str], Field(min_length=1)]
    """The base model, or a list of them: the model then becomes an axis."""
    data: DataSpec
    """Where the rows come from and how they are split."""
    task: TaskSpec
    """What is asked, what is right, and how it is scored."""
    methods: Annotated[dict[Name, Any], Field(min_length=1)]
    """The candidates by name. Any field may hold `{grid: [...]}`; `variants: [...]` couples several fields."""
    train: TrainSpec = TrainSpec()
    """Defaults for every trained method."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | SeedRace = Field(default=[0])
    """One replicate of every arm per seed; `{top: 3, count: 5}` gives the leading arms alone more than the first."""
    benchmarks: BenchmarkSpec = BenchmarkSpec()
    """General benchmarks, measured on every arm and on the base."""
    judge: JudgeSpec | None = None
    """A model that compares each arm's answers with the best prompt's; its score is the metric `judge`."""
    decision: DecisionSpec = DecisionSpec()
    """When a method is worth it."""
    prices: PriceSpec = PriceSpec()
    """What things cost. Without prices costs are shown as time; nothing here changes a result."""
    execute: ExecuteSpec = ExecuteSpec()
    """How the runs are executed; nothing here changes a result."""
    budget: BudgetSpec = BudgetSpec()
    """What every searched method may spend, so that none wins by more tries."""

    @property
    def first_seeds(self) -> tuple[int, ...]:
        """The seeds that every arm runs with."""
        return tuple(self.seeds.first if isinstance(self.seeds, SeedRace) else self.seeds)

    @property
    def race(self) -> SeedRace | None:
        """How leading arms get more seeds, where they do."""
        return self.seeds if isinstance(self.seeds, SeedRace) else None

    @model_validator(mode="before")
    @classmethod
    def _decide_by_a_metric_of_the_task(cls, data: Any) -> Any:
        metric = default_decision_metric(data)
        return data if metric is None else {**data, "decision": {**(data.get("decision") or {}), "metric": metric}}


def default_decision_metric(data: Any) -> str | None:
    """The metric that decides in a spec (plain values) that names none; None when it does, or is in error."""
    task, decision = (data.get(name) for name in ("task", "decision")) if isinstance(data, dict) else (None, None)
    if not isinstance(task, dict) or not isinstance(decision or {}, dict) or "metric" in (decision or {}):
        return None
    kind = task.get("type")
    if not isinstance(kind, str) or kind == "classification" or kind not in DEFAULT_METRICS:
        return None
    metrics = task.get("metrics") or DEFAULT_METRICS[kind]
    first = metrics[0] if isinstance(metrics, (list, tuple)) else None
    try:
        return metric_entry(first).key if isinstance(first, (str, dict)) else None
    except (ValueError, AttributeError):
        return None
