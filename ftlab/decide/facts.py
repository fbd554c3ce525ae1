"""What the ledger says about one experiment's current plan, read once: arms, their runs, the keys of their stages.

`compare` and `build` both start here, so that they agree on which run counts for which arm and on who the baseline is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from ftlab.errors import UsageError
from ftlab.events import Status
from ftlab.execute.judgements import JudgeRecord
from ftlab.plan.opening import TEST, Opening, Role
from ftlab.plan.race import is_seeded
from ftlab.plan.run import BASE_FAMILY
from ftlab.spec.judge import JUDGE, JudgeSpec
from ftlab.spec.metrics import MetricEntry, metric_entry, metric_keys
from ftlab.spec.schema import PriceSpec
from ftlab.statistics.level import ALPHA

VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one run on one split, as the scorer wrote it."""

    value: float | None
    low: float | None
    high: float | None
    n: int | None
    unit: str
    direction: str
    interval: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run: where it stands, which stages it has, and what came out."""

    run_id: str
    seed: int
    status: str
    reason: str | None
    attempt: int | None
    stages: Mapping[tuple[str, str], str]
    """The key of every planned stage by (kind, name)."""
    done: frozenset[tuple[str, str]]
    """The stages that are complete, by (kind, name)."""
    metrics: Mapping[tuple[str, str], MetricRow]
    """Metrics by (split, name)."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """`train_tokens` and `train_seconds` of a training that was given up: it has no summary."""
    fold: int | None = None
    """Which fold of the data it held out; None where there are none."""

    def key(self, kind: str, name: str = "") -> str | None:
        """The key of a stage that is complete, else None."""
        return self.stages.get((kind, name)) if (kind, name) in self.done else None


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """One arm with its runs in the order of their seeds."""

    arm_id: str
    position: int
    method_name: str
    family: str
    label: str
    model_source: str
    model_revision: str
    method: Mapping[str, Any]
    varied: Mapping[str, Any]
    runs: tuple[RunFacts, ...]
    cloned_from: str | None = None
    """The run whose config people made it from after they saw results; None for an arm of the spec."""

    @property
    def is_seeded(self) -> bool:
        """Whether a seed can change what it answers: where something is trained, or examples are drawn."""
        return is_seeded(self.family, self.method)

    @property
    def seeds(self) -> list[int]:
        """Each once, in the order of its runs."""
        return list(dict.fromkeys(run.seed for run in self.runs))

    @property
    def datasets(self) -> list[str]:
        """The keys of the data sets that its runs read: one, or one for each fold."""
        return list(dict.fromkeys(run.stages["dataset", ""] for run in self.runs if ("dataset", "") in run.stages))

    def replicates(self, split: str) -> list[tuple[RunFacts, ...]]:
        """The runs that together answer every row of a split: one each, or those of all folds with one seed.

        Only the rows that folds hold out are shared out among runs: test and benchmarks every run answers whole.
        """
        if split != VALIDATION:
            return [(run,) for run in self.runs]
        parts: dict[tuple[int, str], list[RunFacts]] = {}
        for run in self.runs:
            parts.setdefault((run.seed, run.run_id if run.fold is None else ""), []).append(run)
        return [tuple(runs) for runs in parts.values()]

    def replicates_are(self, split: str) -> str:
        """What the replicates of a split are called: `seeds`, or `models` where each fold's model is one."""
        return "seeds" if len(self.replicates(split)) == len(self.seeds) else "models"

    def key_rows(self, kind: str, name: str = "") -> list[tuple[str, ...]]:
        """The keys of complete stages, a tuple for each replicate that has any; of equal ones the first."""
        rows = (tuple(key for run in runs if (key := run.key(kind, name))) for runs in self.replicates(name))
        return list(dict.fromkeys(row for row in rows if row))

    def metric_rows(self, split: str, metric: str) -> list[MetricRow]:
        """A metric of every replicate that has it; over folds pooled."""
        rows = (
            [row for run in runs if (row := run.metrics.get((split, metric))) and row.value is not None]
            for runs in self.replicates(split)
        )
        return [pooled(parts) for parts in rows if parts]

    def keys(self, kind: str, name: str = "") -> list[str]:
        """The distinct keys of a complete stage over the arm's seeds, in the order of the seeds."""
        return list(dict.fromkeys(key for run in self.runs if (key := run.key(kind, name))))

    def value(self, split: str, metric: str) -> float | None:
        """The mean of a metric over the replicates that have it."""
        values = [row.value for row in self.metric_rows(split, metric) if row.value is not None]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class Facts:
    """One experiment: its record and the arms of its current plan in the order of the spec."""

    experiment_id: str
    name: str
    question: str
    spec_hash: str
    metrics: tuple[str, ...]
    """The task's metrics in the order of the spec."""
    labels: tuple[str, ...]
    """The labels that the spec lists; empty when they are taken from the data."""
    decision: Mapping[str, Any]
    """The fields of `ftlab.spec.schema.DecisionSpec`; plans of earlier versions lack the newer ones."""
    benchmarks: tuple[str, ...]
    data: Mapping[str, Any]
    models: tuple[Mapping[str, Any], ...]
    arms: tuple[ArmFacts, ...] = field(default=())
    """The candidates."""
    task_type: str = "classification"
    metric_entries: Mapping[str, MetricEntry] = field(default_factory=dict)
    """The task's metrics by what their values are called."""
    prices: PriceSpec = field(default=PriceSpec())
    openings: tuple[Opening, ...] = field(default=())
    """Every opening of the test rows by this experiment, oldest first."""
    looks: tuple[float, ...] = field(default=())
    """When somebody saw something new of the same test rows, Unix times: other experiments in the folder included."""
    looks_at_other_splits: int = 0
    """The same for other splits of the same data: some of those rows may be test rows here."""
    judge: JudgeSpec | None = None
    judgements: Mapping[str, JudgeRecord] = field(default_factory=dict)
    """What the judge said of the answers at hand, by split."""
    course: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the benchmark stages in the course of a training are called, by task and point, in their order."""
    bases: tuple[ArmFacts, ...] = ()
    """The base models themselves, where they have runs of their own: benchmarked, and no candidates."""

    @property
    def folds(self) -> int | None:
        """How many folds the rows of train and validation are cut into, where they are."""
        return ((self.data.get("spec") or {}).get("splits") or {}).get("folds")

    @property
    def cluster_by(self) -> str | None:
        """The column whose groups of rows count as independent, where there is one."""
        return (self.data.get("spec") or {}).get("cluster_by")

    @property
    def alpha(self) -> float:
        """The risk that the decision's intervals are made at."""
        return float(self.decision.get("alpha", ALPHA))

    @property
    def metric(self) -> str:
        """The decision metric."""
        return self.decision["metric"]

    @property
    def baseline_metric(self) -> str:
        """The metric that tells the best prompt: a judge compares with that prompt, so it cannot choose it."""
        if self.metric != JUDGE:
            return self.metric
        measured = [metric for metric in self.metrics if metric != JUDGE]
        return next((name for name in measured if self.direction("validation", name) != "none"), measured[0])

    @property
    def splits(self) -> list[str]:
        """Every split that some run has or will have scores of, `validation` first."""
        names = {name for arm in self.arms for run in arm.runs for kind, name in run.stages if kind == "scores"}
        return sorted(names, key=lambda name: (name != "validation", name))

    def row(self, split: str, metric: str) -> MetricRow | None:
        """Any run's row of a metric: for its unit and direction, which are the same for every run."""
        return next(
            (row for arm in self.arms for run in arm.runs if (row := run.metrics.get((split, metric)))),
            None,
        )

    def direction(self, split: str, metric: str) -> str:
        """`higher` or `lower`; `higher` as long as nobody has measured it."""
        row = self.row(split, metric)
        return row.direction if row else "higher"

    @property
    def decision_split(self) -> str:
        """The split that the conclusion rests on: test once it was opened and every opened arm was measured there."""
        if not self.openings:
            return next(iter(self.splits), "validation")
        # Arms that left the plan are not waited for, nor seeds that have no result at all; the baseline must be there.
        expected = [run for arm in self.arms_on(TEST) for run in arm.runs if run.key("scores", "validation")]
        whole = all(run.key("scores", TEST) for run in expected)
        return TEST if whole and self.baseline(TEST) is not None else "validation"

    def opened(self) -> dict[str, Role]:
        """The role of every arm that was ever opened, as of its last opening."""
        return {arm.arm_id: arm.role for opening in self.openings for arm in opening.arms}

    def arms_on(self, split: str) -> list[ArmFacts]:
        """The arms that are or will be measured on a split: all of them, or on test those that were opened."""
        if split != TEST:
            return list(self.arms)
        opened = self.opened()
        return [arm for arm in self.arms if arm.arm_id in opened]

    def baseline(self, split: str) -> ArmFacts | None:
        """The best prompting arm by `baseline_metric`; of equal ones the first in the spec.

        On test it is the one that was the best on validation when the test rows were opened, whatever it scores there.
        """
        if split == TEST:
            chosen = self.openings[-1].baseline.arm_id if self.openings else None
            return next((arm for arm in self.arms if arm.arm_id == chosen and arm.keys("scores", TEST)), None)
        prompts = [arm for arm in self.arms if arm.family == "prompt"]
        return best(prompts, split, self.baseline_metric, self.direction(split, self.baseline_metric))

    def base_benchmark_key(self, arm: ArmFacts, task: str) -> str | None:
        """The complete benchmark stage of the arm's base model as it is: a prompting arm or the base's own run has
        it."""
        for other in (*self.arms, *self.bases):
            if (
                other.family in ("prompt", BASE_FAMILY)
                and _model_key(other) == _model_key(arm)
                and (keys := other.keys("benchmark", task))
            ):
                return keys[0]
        return None


def pooled(parts: Sequence[MetricRow]) -> MetricRow:
    """A metric of several folds as one of all their rows: the mean weighted by rows, the ends as of independent parts.

    For a figure that is no mean over rows (macro F1) it is the mean of the folds' figures.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    weights = [float(part.n or 1) for part in parts]
    total = sum(weights)

    def joined(end: Callable[[MetricRow], float | None]) -> float | None:
        """The distance of an end from the pooled value."""
        gaps = [None if (found := end(part)) is None else found - (part.value or 0.0) for part in parts]
        known = [weight * gap for weight, gap in zip(weights, gaps, strict=True) if gap is not None]
        return math.hypot(*known) / total if len(known) == len(parts) else None

    value = sum(weight * (part.value or 0.0) for weight, part in zip(weights, parts, strict=True)) / total
    below, above = joined(lambda part: part.low), joined(lambda part: part.high)
    return replace(
        first,
        value=value,
        low=None if below is None else value - below,
        high=None if above is None else value + above,
        n=sum(part.n or 0 for part in parts) or None,
        interval=f"{first.interval or ''}; pooled over {len(parts)} folds",
    )


def best(arms: Iterable[ArmFacts], split: str, metric: str, direction: str) -> ArmFacts | None:
    """The arm with the best mean value; of equal ones the first. None when no arm has a value.

    Where a race gave leading arms more seeds than others, only those compete that have the most: the mean of one seed
    scatters more than that of five, and the highest of many such means is high by luck. Arms that no seed can change
    compete with their one value.
    """
    sign = -1.0 if direction == "lower" else 1.0
    arms = list(arms)
    most = max((len(arm.runs) for arm in arms if arm.is_seeded), default=0)
    competing = [arm for arm in arms if len(arm.runs) == most or not arm.is_seeded]
    measured = [(value, arm) for arm in competing if (value := arm.value(split, metric)) is not None]
    return max(measured, key=lambda pair: (sign * pair[0], -pair[1].position))[1] if measured else None


def finalists_on(facts: Facts, split: str) -> list[ArmFacts]:
    """The best arm of every trained method by the decision metric, in the order of the spec."""
    direction = facts.direction(split, facts.metric)
    trained = [arm for arm in facts.arms_on(split) if arm.family != "prompt"]
    names = dict.fromkeys(arm.method_name for arm in trained)
    chosen = (
        best([arm for arm in trained if arm.method_name == name], split, facts.metric, direction) for name in names
    )
    return [arm for arm in chosen if arm is not None]


def experiment_ids(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """Every experiment in the ledger, the newest first."""
    rows = cursor.execute("SELECT experiment_id FROM experiments ORDER BY created_ts DESC, experiment_id").fetchall()
    return [row[0] for row in rows]


def read_facts(cursor: duckdb.DuckDBPyConnection, experiment_id: str) -> Facts:
    """Read an experiment. Raises UsageError when the ledger does not have it."""
    from ftlab.decide.judged import with_judge

    record = cursor.execute(
        "SELECT name, question, spec_hash, plan_json FROM experiments WHERE experiment_id = ?", [experiment_id]
    ).fetchone()
    if record is None:
        raise UsageError(f"no experiment '{experiment_id}' in these results; `ftlab ls` lists what there is")
    name, question, spec_hash, plan_json = record
    plan = json.loads(plan_json)
    runs = plan["runs"]
    openings = _openings(cursor, experiment_id)
    looks, elsewhere = _looks(cursor, openings)
    clones = {arm["arm_id"]: arm["cloned_from"] for arm in plan["arms"] if arm.get("cloned_from")}
    arms = [replace(arm, cloned_from=clones.get(arm.arm_id)) for arm in _arms(cursor, experiment_id)]
    facts = Facts(
        experiment_id=experiment_id,
        name=name,
        question=question or "",
        spec_hash=spec_hash or "",
        metrics=(*metric_keys(plan["task"]["metrics"]), *([JUDGE] if plan.get("judge") else [])),
        labels=tuple(plan["task"].get("labels") or ()),
        decision=plan["decision"],
        benchmarks=tuple(plan["benchmarks"]["tasks"]),
        data=runs[0]["data"] if runs else {},
        models=tuple({arm["model"]["source"]: arm["model"] for arm in plan["arms"]}.values()),
        task_type=plan["task"].get("type", "classification"),
        metric_entries={entry.key: entry for entry in map(metric_entry, plan["task"]["metrics"])},
        prices=PriceSpec.model_validate(plan.get("prices") or {}),
        openings=openings,
        looks=looks,
        looks_at_other_splits=elsewhere,
        arms=tuple(arm for arm in arms if arm.family != BASE_FAMILY),
        bases=tuple(arm for arm in arms if arm.family == BASE_FAMILY),
        course={
            (stage["task"], stage["point"]): stage["name"]
            for run in runs
            for stage in run["stages"]
            if stage.get("point")
        },
    )
    return with_judge(cursor, facts, plan)


def _openings(cursor: duckdb.DuckDBPyConnection, experiment_id: str) -> tuple[Opening, ...]:
    rows = cursor.execute(
        "SELECT opening_json FROM test_openings WHERE experiment_id = ? ORDER BY number", [experiment_id]
    ).fetchall()
    return tuple(Opening.model_validate_json(row[0]) for row in rows)


def _looks(cursor: duckdb.DuckDBPyConnection, openings: tuple[Opening, ...]) -> tuple[tuple[float, ...], int]:
    """Looks at the newest opening's test rows, and looks at other splits of the same data, in the whole ledger."""
    if not openings:
        return (), 0
    newest = openings[-1]
    rows = cursor.execute(
        "SELECT ts, dataset_key = ? FROM test_openings WHERE content = ? AND looks > 0 ORDER BY ts",
        [newest.dataset, newest.content],
    ).fetchall()
    return tuple(ts for ts, same in rows if same), sum(not same for _, same in rows)


def _model_key(arm: ArmFacts) -> tuple[str, str]:
    return arm.model_source, arm.model_revision


def _arms(cursor: duckdb.DuckDBPyConnection, experiment_id: str) -> tuple[ArmFacts, ...]:
    runs = _runs(cursor, experiment_id)
    rows = cursor.execute(
        "SELECT arm_id, position, method_name, family, label, model_source, model_revision, method_json, varied_json "
        "FROM arms WHERE experiment_id = ? AND current ORDER BY position",
        [experiment_id],
    ).fetchall()
    return tuple(
        ArmFacts(
            arm_id,
            position,
            method_name,
            family,
            label,
            source,
            revision,
            json.loads(method),
            json.loads(varied),
            tuple(runs.get(arm_id, ())),
        )
        for arm_id, position, method_name, family, label, source, revision, method, varied in rows
    )


def _runs(cursor: duckdb.DuckDBPyConnection, experiment_id: str) -> dict[str, list[RunFacts]]:
    stages: dict[str, dict[tuple[str, str], str]] = {}
    done: dict[str, set[tuple[str, str]]] = {}
    for run_id, kind, name, key, state in cursor.execute(
        "SELECT run_id, kind, name, key, state FROM run_stages JOIN runs USING (run_id) "
        "WHERE experiment_id = ? AND current",
        [experiment_id],
    ).fetchall():
        stages.setdefault(run_id, {})[kind, name or ""] = key
        if state == "complete":
            done.setdefault(run_id, set()).add((kind, name or ""))
    metrics: dict[str, dict[tuple[str, str], MetricRow]] = {}
    for run_id, split, key, *values in cursor.execute(
        "SELECT m.run_id, m.split, m.key, m.value, m.low, m.high, m.n, m.unit, m.direction, m.interval "
        "FROM metrics m JOIN runs r ON r.run_id = m.run_id WHERE r.experiment_id = ? AND r.current",
        [experiment_id],
    ).fetchall():
        metrics.setdefault(run_id, {})[split, key] = MetricRow(*values)
    spent = _spent(cursor, experiment_id)
    by_arm: dict[str, list[RunFacts]] = {}
    for arm_id, run_id, seed, status, reason, attempt, fold in cursor.execute(
        "SELECT arm_id, run_id, seed, status, reason, attempt, (config_json::JSON->>'fold')::INTEGER FROM runs "
        "WHERE experiment_id = ? AND current ORDER BY position, seed, run_id",
        [experiment_id],
    ).fetchall():
        by_arm.setdefault(arm_id, []).append(
            RunFacts(
                run_id,
                seed,
                str(status),
                reason,
                attempt,
                stages.get(run_id, {}),
                frozenset(done.get(run_id, ())),
                metrics.get(run_id, {}),
                spent.get(run_id, {}),
                fold,
            )
        )
    return {arm_id: _without_results(runs) for arm_id, runs in by_arm.items()}


def _spent(cursor: duckdb.DuckDBPyConnection, experiment_id: str) -> dict[str, dict[str, float]]:
    rows = cursor.execute(
        "SELECT c.run_id, c.key, max(c.value) FROM curves c JOIN runs r ON r.run_id = c.run_id "
        "WHERE r.experiment_id = ? AND r.current AND r.status = 'pruned' "
        "AND c.key IN ('cost/train_tokens', 'cost/train_seconds') GROUP BY ALL",
        [experiment_id],
    ).fetchall()
    spent: dict[str, dict[str, float]] = {}
    for run_id, key, value in rows:
        if value is not None:
            spent.setdefault(run_id, {})[key.removeprefix("cost/")] = value
    return spent


def _without_results(runs: list[RunFacts]) -> list[RunFacts]:
    """The runs of an arm; where one was given up so was the arm, and what another seed still measured counts nowhere.

    The seeds that were left would otherwise be those that happened to go well.
    """
    if not any(run.status == Status.PRUNED for run in runs):
        return runs
    return [
        replace(run, metrics={}, done=frozenset(stage for stage in run.done if stage[0] in ("dataset", "weights")))
        for run in runs
    ]
