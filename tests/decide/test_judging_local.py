"""A local judge over a made-up folder, and the real model as a judge of a few real answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftlab.decide.build import build_view
from ftlab.decide.compare import update_comparisons
from ftlab.decide.judging import Asked, judge_split
from ftlab.execute.experiments import read_plan
from ftlab.execute.judgements import JudgeRecord
from ftlab.plan.run import Plan
from ftlab.spec.judge import JudgeSpec
from ftlab.store.ledger import Ledger
from ftlab.store.rebuild import dump_tables, rebuild
from ftlab.testing.journals import ARMS, make_results
from ftlab.testing.tiny import tiny_model


def with_judge(results: Path, judge: JudgeSpec, examples: int) -> Plan:
    """A finished experiment of two arms whose plan has a judge."""
    prompt = next(arm for arm in ARMS if arm.family == "prompt")
    trained = next(arm for arm in ARMS if arm.family != "prompt")
    made = make_results(results, arms=[prompt, trained], examples=examples, benchmarks=(), curve_points=2)
    home = results / made
    plan = read_plan(home).model_copy(update={"judge": judge})
    for path in (home / "resolved.json", *home.glob("plans/*.json")):
        stored = json.loads(path.read_bytes())
        path.write_text(json.dumps(stored | {"judge": judge.model_dump(mode="json")}))
    return plan


def judged(results: Path, plan: Plan) -> JudgeRecord:
    with Ledger(results, derive=update_comparisons) as ledger:
        ledger.catch_up()
        record = judge_split(ledger.connection, plan, results, "validation", Asked(plan.judge or JudgeSpec(), plan))
        ledger.catch_up()
        view = build_view(ledger.connection, plan.experiment_id)
    assert record is not None
    assert view.judge is not None
    assert view.judge.asked == record.asked
    assert sum("judge" in arm.metrics for arm in view.arms) == 2
    return record


def test_a_tiny_model_judges_at_most_the_limit_and_is_not_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(tmp_path / "tiny")
    plan = with_judge(tmp_path / "results", JudgeSpec(model=str(model), limit=12), 30)
    record = judged(tmp_path / "results", plan)
    (run,) = record.runs
    assert run.wins + run.ties + run.losses == 12
    assert record.silent == record.unparsable == 0
    assert record.first_place is not None
    assert record.first_place.n == 2 * record.asked

    def refuse(asked: Asked) -> None:
        raise AssertionError("every answer is kept")

    monkeypatch.setattr(Asked, "_make", refuse)
    assert judged(tmp_path / "results", plan) == record

    with Ledger(tmp_path / "results", derive=update_comparisons) as ledger:
        live = dump_tables(ledger.connection)
    assert len(live["judge_scores"]) == 12
    rebuild(tmp_path / "results", derive=update_comparisons)
    with Ledger(tmp_path / "results", derive=update_comparisons) as ledger:
        assert dump_tables(ledger.connection) == live


@pytest.mark.real
def test_smollm2_judges_a_few_pairs(tmp_path: Path) -> None:
    plan = with_judge(tmp_path / "results", JudgeSpec(model="builtin:smollm2-135m-instruct", limit=6), 12)
    record = judged(tmp_path / "results", plan)
    assert record.answered
    assert record.silent == 0
    assert not record.counts
