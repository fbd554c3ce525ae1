"""The judge's part of one experiment's facts: its score beside the metrics of the runs it was asked about.

A record counts as long as it is about the answers at hand: the same judge, the same baseline, the same predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import numpy as np

from ftlab.decide.facts import ArmFacts, Facts, MetricRow, RunFacts
from ftlab.decide.view import Conclusion, Estimate, JudgeView, MissingPart
from ftlab.execute.judgements import KIND, JudgeRecord, Rate
from ftlab.plan.identity import digest
from ftlab.spec.judge import JUDGE, JudgeSpec
from ftlab.text import SHARE

REFERENCE = "reference"
"""Stands in the place of a stage's key for the baseline, whose answers all others are compared with."""
TIE = 0.5


def with_judge(cursor: duckdb.DuckDBPyConnection, facts: Facts, plan: Mapping[str, object]) -> Facts:
    """The same facts with what the judge of the plan said; as they are when it has none."""
    if not plan.get("judge"):
        return facts
    facts = replace(facts, judge=JudgeSpec.model_validate(plan["judge"]))
    newest = {
        split: JudgeRecord.model_validate_json(record)
        for split, record in cursor.execute(
            "SELECT split, record_json FROM judgements WHERE experiment_id = ? ORDER BY number", [facts.experiment_id]
        ).fetchall()
    }
    for split, record in newest.items():
        baseline = facts.baseline(split)
        if (
            baseline is not None
            and baseline.arm_id == record.baseline_arm_id
            and record.baseline_predictions in baseline.keys("predictions", split)
            and facts.judge is not None
            and (record.judge, record.question) == (facts.judge.name, digest(facts.judge.question))
            and record.min_kappa == facts.judge.min_kappa
        ):
            arms = tuple(_with_scores(arm, arm is baseline, split, record) for arm in facts.arms)
            facts = replace(facts, arms=arms, judgements={**facts.judgements, split: record})
    return facts


def _with_scores(arm: ArmFacts, is_baseline: bool, split: str, record: JudgeRecord) -> ArmFacts:
    if not record.answered:
        return arm
    return replace(arm, runs=tuple(_with_score(arm, run, is_baseline, split, record) for run in arm.runs))


def _with_score(arm: ArmFacts, run: RunFacts, is_baseline: bool, split: str, record: JudgeRecord) -> RunFacts:
    key = run.key("predictions", split)
    if key is None:
        return run
    if is_baseline:
        n = max((one.score.n for one in record.runs if one.score), default=0)
        stage, row = (
            REFERENCE,
            MetricRow(TIE, None, None, n, SHARE, "higher", "the answers that others are held against"),
        )
    else:
        one = next((one for one in record.runs if (one.arm_id, one.predictions) == (arm.arm_id, key)), None)
        if one is None or one.score is None:
            return run
        score = one.score
        stage, row = one.stage, MetricRow(score.value, score.low, score.high, score.n, SHARE, "higher", score.method)
    place = (KIND, split)
    return replace(
        run,
        stages={**run.stages, place: stage},
        done=run.done | {place},
        metrics={**run.metrics, (split, JUDGE): row},
    )


def judge_scores(cursor: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """The judge's scores by the key of their stage: arrays of one length, NaN where a pair has no answer."""
    columns = cursor.execute(
        "SELECT key, (dense_rank() OVER (ORDER BY example_id) - 1)::BIGINT AS row, score FROM judge_scores "
        "WHERE key IN (SELECT unnest(?))",
        [list(keys)],
    ).fetchnumpy()
    rows = np.asarray(columns["row"], dtype=np.int64)
    if not rows.size:
        return {}
    size = int(rows.max()) + 1
    found = {REFERENCE: np.full(size, TIE)}
    owners, values = np.asarray(columns["key"]), np.asarray(columns["score"], dtype=np.float64)
    for key in set(keys) - {REFERENCE}:
        mine = owners == key
        if mine.any():
            found[key] = np.full(size, np.nan)
            found[key][rows[mine]] = values[mine]
    return found


def judge_view(facts: Facts, split: str) -> JudgeView | None:
    """What there is to say of the judge on a split; None without one."""
    if facts.judge is None:
        return None
    record = facts.judgements.get(split)
    if record is None:
        return JudgeView(name=facts.judge.name, min_kappa=facts.judge.min_kappa, why="it was not asked yet")
    return JudgeView(
        name=record.judge,
        asked=record.asked,
        unparsable=record.unparsable,
        silent=record.silent,
        flipped=record.flipped,
        first_place=_estimate(record.first_place),
        kappa=_estimate(record.kappa),
        shared=record.shared,
        raters=record.raters,
        min_kappa=record.min_kappa,
        answered=record.answered,
        counts=record.counts,
        why=record.why,
    )


def _estimate(rate: Rate | None) -> Estimate | None:
    return Estimate(**rate.model_dump()) if rate else None


def judge_missing(facts: Facts, judge: JudgeView | None) -> list[MissingPart]:
    """What the judge did not tell."""
    if judge is None or judge.counts:
        return []
    if judge.answered:
        return [MissingPart(what="the judge's part in the decision", why=judge.why)]
    mend = f"{judge.why}; `ftlab judge {facts.experiment_id}` asks it"
    return [MissingPart(what="the judge's scores", why=mend)]


def held_back(conclusion: Conclusion, metric: str, judge: JudgeView | None) -> Conclusion:
    """The conclusion, or that there is none where it would rest on a judge whose scores do not count."""
    if metric != JUDGE or judge is None or judge.counts:
        return conclusion
    sentence = f"Not decided: the judge's scores do not count, because {judge.why}."
    return Conclusion(kind="undecided", sentence=sentence, caveat=conclusion.caveat, arm_id=None)
