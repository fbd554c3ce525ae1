"""One pass of a judge over a split: the best prompt's answers against every other arm's, kept so that none is asked
twice.

It stands above the runs, since a pair takes the answers of two of them. The ledger says what there is to judge; what
comes of it goes to files alone, from where the ledger takes it in.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from ftlab.decide.facts import ArmFacts, Facts, read_facts
from ftlab.errors import UsageError
from ftlab.evaluate.judge import MAX_UNANSWERED, AnswerFile, Judge, Judged, JudgePair, identity, judge_pairs
from ftlab.execute.judgements import (
    KIND,
    SCORES_FILE,
    JudgedRun,
    JudgeRecord,
    Rate,
    read_judgements,
    write_judgement,
)
from ftlab.execute.stages import StageStore
from ftlab.plan.identity import digest
from ftlab.plan.run import Plan
from ftlab.spec.judge import JudgeSpec
from ftlab.statistics.intervals import Interval
from ftlab.store.rating_file import PairRating, pair_ratings
from ftlab.text import coefficient

MIN_SHARED = 20
"""Fewer pairs that both the judge and people have seen measure no agreement: the interval of kappa over 20 pairs is
about 0.4 wide to either side."""

OnProgress = Callable[[str, int, int], None]
"""Hears about which arm how many questions have an answer, of how many."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """One run's answers and the baseline's."""

    arm: ArmFacts
    run_id: str
    predictions: str
    baseline: str


class Asked:
    """The judge of a plan, made when the first question has no answer yet: a model is not loaded for nothing."""

    def __init__(self, spec: JudgeSpec, plan: Plan, environment: Mapping[str, str] | None = None) -> None:
        self._spec = spec
        self._plan = plan
        self._environment = environment
        self._judge: Judge | None = None
        root = Path(plan.runs[0].data.root)
        if spec.endpoint is not None:
            self.who: dict[str, Any] = {"url": spec.endpoint.url, "model": spec.endpoint.model}
        else:
            from ftlab.models.sources import resolve_model

            assert spec.model is not None, "a judge is a model or an endpoint"
            self._ref = resolve_model(spec.model, root)
            self.who = {"revision": self._ref.revision, "dtype": self._ref.dtype}

    @property
    def failure(self) -> str | None:
        """Why the last question without an answer got none."""
        return getattr(self._judge, "failure", None)

    def ask(self, questions: Sequence[str]) -> Any:
        """As `Judge.ask`. Raises UsageError when the judge cannot be asked at all."""
        if self._judge is None:
            self._judge = self._make()
        return self._judge.ask(questions)

    def _make(self) -> Judge:
        if self._spec.endpoint is not None:
            from ftlab.evaluate.judge_endpoint import EndpointJudge

            return EndpointJudge(self._spec.endpoint, self._environment)
        from ftlab.evaluate.judge_local import LocalJudge
        from ftlab.models.load import load_model
        from ftlab.models.sources import fetch_model

        loaded = load_model(self._ref, fetch_model(self._ref))
        return LocalJudge(loaded, self._plan.execute.eval_batch_tokens)


def judge_split(
    cursor: duckdb.DuckDBPyConnection,
    plan: Plan,
    results: Path,
    split: str,
    judge: Asked,
    progress: OnProgress = lambda label, done, total: None,
) -> JudgeRecord | None:
    """Judge every arm of a split, measure the agreement with people, and put it on record.

    Returns the newest record, which is the last one when nothing changed; None while there is nothing to compare.
    Raises UsageError when the plan has no judge or the judge cannot be asked, StorageError when the disk is full.
    """
    spec = plan.judge
    if spec is None:
        raise UsageError(f"{plan.name} has no judge; add `judge:` to its spec and run it")
    facts = read_facts(cursor, plan.experiment_id)
    baseline = facts.baseline(split)
    sides = _sides(facts, split, baseline) if baseline is not None else []
    if baseline is None or not sides:
        return None
    who = identity(judge.who, spec.question)
    ratings = [rating for rating in pair_ratings(results, plan.experiment_id) if rating.split == split]
    store = StageStore(results)
    kept = AnswerFile(store.root / KIND / f"{who}.answers.jsonl")
    rows = _rows(cursor, plan, split, sides, spec.limit, ratings)
    judged: list[tuple[_Sides, str, list[Judged]]] = []
    for side in sides:
        pairs = _pairs(cursor, side, rows)
        found = judge_pairs(judge, pairs, spec.question, kept, partial(progress, side.arm.label))
        judged.append((side, _keep(store, who, side, found), found))
    record = _record(plan, spec, split, baseline, judged, ratings, who, judge.failure)
    return _on_record(results, record)


def _sides(facts: Facts, split: str, baseline: ArmFacts) -> list[_Sides]:
    """Every distinct set of answers that is not the baseline's, each against the baseline's of the same seed."""
    by_seed = {run.seed: key for run in baseline.runs if (key := run.key("predictions", split))}
    if not by_seed:
        return []
    first = next(iter(by_seed.values()))
    found: dict[tuple[str, str, str], _Sides] = {}
    for arm in facts.arms_on(split):
        for run in arm.runs:
            key = run.key("predictions", split)
            if arm is not baseline and key:
                against = by_seed.get(run.seed, first)
                found.setdefault((arm.arm_id, key, against), _Sides(arm, run.run_id, key, against))
    return list(found.values())


def _rows(
    cursor: duckdb.DuckDBPyConnection,
    plan: Plan,
    split: str,
    sides: Sequence[_Sides],
    limit: int,
    ratings: Sequence[PairRating],
) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """(request, target, columns) of the rows to judge, by example id: the rated first, the others in an order that
    depends on nothing but their ids."""
    from ftlab.data.templates import render

    run = next(run for run in plan.runs if run.arm_id == sides[0].arm.arm_id)
    key = run.key("dataset")
    found = cursor.execute(
        "SELECT example_id, fields_json, target FROM examples WHERE dataset_key = ? AND split = ?", [key, split]
    ).fetchall()
    pairs = {frozenset((side.predictions, side.baseline)) for side in sides}
    rated = {rating.example_id for rating in ratings if frozenset((rating.key_a, rating.key_b)) in pairs}
    chosen = sorted(found, key=lambda row: (row[0] not in rated, digest(row[0])))[:limit]
    labels = list(plan.task.labels or ()) or [
        row[0]
        for row in cursor.execute(
            "SELECT DISTINCT target FROM examples WHERE dataset_key = ? ORDER BY 1", [key]
        ).fetchall()
    ]
    rows = {}
    for example_id, fields, target in chosen:
        columns = json.loads(fields)
        said = [render(one.content, {**columns, "labels": labels}, "task.prompt") for one in plan.task.prompt]
        rows[example_id] = ("\n\n".join(said), target, columns)
    return rows


def _pairs(
    cursor: duckdb.DuckDBPyConnection, side: _Sides, rows: Mapping[str, tuple[str, str, dict[str, Any]]]
) -> list[JudgePair]:
    outputs = {
        key: dict(cursor.execute("SELECT example_id, output FROM predictions WHERE key = ?", [key]).fetchall())
        for key in (side.predictions, side.baseline)
    }
    mine, theirs = outputs[side.predictions], outputs[side.baseline]
    return [
        JudgePair(example_id, text, target, columns, mine[example_id] or "", theirs[example_id] or "")
        for example_id, (text, target, columns) in rows.items()
        if example_id in mine and example_id in theirs
    ]


def _keep(store: StageStore, who: str, side: _Sides, found: Sequence[Judged]) -> str:
    """The scores as a stage; returns its key. What got no answer is part of the key: a later pass may have it."""
    scores = sorted((one.example_id, one.score) for one in found if one.score is not None)
    key = digest({"stage": [KIND, 1], "judge": who, "sides": [side.predictions, side.baseline], "scores": scores})

    def compute(folder: Path) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            "example_id": pa.array([row[0] for row in scores], pa.string()),
            "score": pa.array([row[1] for row in scores], pa.float64()),
        }
        pq.write_table(pa.table(columns), folder / SCORES_FILE)
        return {"scores": len(scores)}

    store.produce(KIND, key, compute)
    return key


def _record(
    plan: Plan,
    spec: JudgeSpec,
    split: str,
    baseline: ArmFacts,
    judged: Sequence[tuple[_Sides, str, list[Judged]]],
    ratings: Sequence[PairRating],
    who: str,
    failure: str | None,
) -> JudgeRecord:
    from ftlab.statistics.intervals import bootstrap_mean, wilson

    everything = [one for _, _, found in judged for one in found]
    asked = [one for one in everything if not (one.score == 0.5 and one.arm_first is None)]
    silent = sum(one.arm_first is None or one.baseline_first is None for one in asked)
    unparsable = sum("" in (one.arm_first, one.baseline_first) for one in asked)
    unanswered = sum(one.score is None for one in asked)
    answered = unanswered <= MAX_UNANSWERED * len(asked)
    letters = [letter for one in asked for letter in (one.arm_first, one.baseline_first) if letter]
    runs = []
    for side, key, found in judged:
        scores = [one.score for one in sorted(found, key=lambda one: one.example_id) if one.score is not None]
        mean = bootstrap_mean(scores, int(key[:8], 16)) if answered and scores else None
        runs.append(
            JudgedRun(
                arm_id=side.arm.arm_id,
                run_id=side.run_id,
                predictions=side.predictions,
                stage=key,
                wins=scores.count(1.0),
                ties=scores.count(0.5),
                losses=scores.count(0.0),
                unanswered=len(found) - len(scores),
                score=_rate(mean),
            )
        )
    kappa, shared, raters = _agreement(judged, ratings)
    why = _why_not(spec, answered, unanswered, len(asked), failure, kappa, shared)
    return JudgeRecord(
        experiment_id=plan.experiment_id,
        number=0,
        ts=0.0,
        split=split,
        judge=spec.name,
        identity=who,
        question=digest(spec.question),
        baseline_arm_id=baseline.arm_id,
        baseline_predictions=judged[0][0].baseline,
        runs=tuple(runs),
        asked=len(asked),
        unparsable=unparsable,
        silent=silent,
        failure=failure if silent else None,
        first_place=_rate(wilson(letters.count("A"), len(letters))),
        flipped=sum(bool(one.arm_first) and one.arm_first == one.baseline_first for one in asked),
        kappa=_rate(kappa),
        shared=shared,
        raters=raters,
        min_kappa=spec.min_kappa,
        answered=answered,
        counts=not why,
        why=why,
    )


def _rate(found: Interval | None) -> Rate | None:
    if found is None or found.value is None:
        return None
    return Rate(value=found.value, low=found.low, high=found.high, n=found.n, method=found.method)


def _agreement(
    judged: Sequence[tuple[_Sides, str, list[Judged]]], ratings: Sequence[PairRating]
) -> tuple[Interval | None, int, int]:
    """Kappa over the pairs that both have seen, how many those are, and how many people rated them."""
    from ftlab.statistics.agreement import cohen_kappa

    by_example: dict[str, list[PairRating]] = {}
    for rating in ratings:
        by_example.setdefault(rating.example_id, []).append(rating)
    mine: list[str] = []
    theirs: list[str] = []
    raters: set[str] = set()
    seen: set[tuple[str, str, str]] = set()
    for side, _, found in judged:
        for one in sorted(found, key=lambda one: one.example_id):
            place = (side.predictions, side.baseline, one.example_id)
            here = [
                (rating.rater, choice)
                for rating in by_example.get(one.example_id, ())
                if (choice := rating.seen_from(side.predictions, side.baseline))
            ]
            if one.score is None or not here or place in seen:
                continue
            seen.add(place)
            mine.append("a" if one.score > 0.5 else "b" if one.score < 0.5 else "tie")
            theirs.append(majority(choice for _, choice in here))
            raters |= {rater for rater, _ in here}
    kappa = cohen_kappa(mine, theirs, 0) if len(mine) >= MIN_SHARED else None
    return kappa, len(mine), len(raters)


def _why_not(
    spec: JudgeSpec,
    answered: bool,
    unanswered: int,
    asked: int,
    failure: str | None,
    kappa: Interval | None,
    shared: int,
) -> str:
    """Why the scores do not count in a decision; empty when they do."""
    if not answered:
        cause = failure or "its answers name neither A nor B"
        return f"the judge did not answer: {unanswered} of {asked} pairs are without an answer ({cause})"
    if kappa is None:
        return f"agreement with people not measured: {shared} rated pairs, and it takes {MIN_SHARED}"
    if kappa.value is None:
        return f"agreement with people not measured: people and the judge gave one same verdict on all {shared} pairs"
    if kappa.value < spec.min_kappa:
        return f"it agrees too little with people: kappa {coefficient(kappa.value)}, and it takes {spec.min_kappa:g}"
    return ""


def _on_record(results: Path, record: JudgeRecord) -> JudgeRecord:
    """Write a record down unless the newest of its split says the same."""
    earlier = read_judgements(results / record.experiment_id)
    same = [one for one in earlier if one.split == record.split]
    if same and same[-1].model_copy(update={"number": 0, "ts": 0.0}) == record:
        return same[-1]
    number = earlier[-1].number + 1 if earlier else 1
    record = record.model_copy(update={"number": number, "ts": time.time()})
    write_judgement(results, record)
    return record


def majority(choices: Iterable[str]) -> str:
    """What most raters say; a tie when no choice has more votes than every other."""
    ranked = Counter(choices).most_common(2)
    return "tie" if len(ranked) == 2 and ranked[0][1] == ranked[1][1] else ranked[0][0]
