"""Limits as words: what is kept, what is not, and what nobody can tell; and what a verdict makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.decide.gates import Rule, gate_of
from ftlab.decide.limits import with_gates
from ftlab.decide.verdict import conclude
from ftlab.decide.view import ArmView, Conclusion, Cost, Economics, Estimate, PairedDifference, Progress

RULE = Rule("accuracy", "share", "test", 0.02, 0.02, None, (), max_p95_ms=150.0, max_cost_per_1k=0.5)
DONE = Progress(total=2, by_status={"complete": 2}, running=[])


def latency(value: float, low: float | None, high: float | None, n: int = 80) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n)


FAST, SLOW = latency(90, 80, 110), latency(300, 250, 380)


def arm(
    p95: Estimate | None = FAST, per_1k: float | None = 0.2, family: str = "adapter", name: str = "lora"
) -> ArmView:
    found = PairedDifference(
        estimate=Estimate(value=0.1, low=0.06, high=0.14, n=400), p_value=0.001, fixed=50, broke=10, dropped=0
    )
    return ArmView(
        arm_id=name,
        run_ids=[],
        method_name=name,
        family=family,
        label=name,
        status="complete",
        reason=None,
        seeds=[0],
        is_baseline=family == "prompt",
        is_best_of_method=True,
        metrics={"accuracy": Estimate(value=0.8)},
        difference=None if family == "prompt" else found,
        benchmarks=[],
        cost=Cost(train_seconds=60.0, seconds_per_1k_requests=10.0, latency_p50=p95, latency_p95=p95),
        economics=Economics(per_1k=per_1k),
        config={},
        varied={},
        on_front=False,
    )


PROMPT = arm(family="prompt", name="few")


def concluded(one: ArmView, prompt: ArmView = PROMPT, rule: Rule = RULE) -> Conclusion:
    return conclude(with_gates([prompt, one], rule), rule, lambda *_: True, DONE, 400, 1)


@pytest.mark.parametrize(
    ("p95", "state", "words"),
    [
        (FAST, "yes", "95% of requests within 90 ms (80 to 110), limit 150 ms"),
        (SLOW, "no", "95% of requests within 300 ms (250 to 380), limit 150 ms"),
        (latency(140, 120, 180), "not shown", "95% of requests within 140 ms (120 to 180), limit 150 ms"),
        (
            latency(90, 80, None, 20),
            "not shown",
            "95% of requests within 90 ms from 20 requests, too few to tell, limit",
        ),
        (latency(300, 250, None, 20), "no", "95% of requests within 300 ms, limit 150 ms"),
        (None, "not shown", "latency not measured, limit 150 ms"),
    ],
)
def test_latency_is_read_from_its_interval(p95: Estimate | None, state: str, words: str) -> None:
    (shown,) = with_gates([arm(p95)], replace(RULE, max_cost_per_1k=None))
    (gate,) = shown.gates
    assert (gate.name, gate.state) == ("latency", state)
    assert gate.words.startswith(words)


@pytest.mark.parametrize(("per_1k", "state"), [(0.2, "yes"), (0.5, "yes"), (0.8, "no"), (None, "not shown")])
def test_costs_are_compared_as_they_are(per_1k: float | None, state: str) -> None:
    (shown,) = with_gates([arm(per_1k=per_1k)], replace(RULE, max_p95_ms=None))
    assert [(gate.name, gate.state) for gate in shown.gates] == [("cost", state)]


def test_a_spec_without_limits_has_none_and_closes_nothing() -> None:
    (shown,) = with_gates([arm()], replace(RULE, max_p95_ms=None, max_cost_per_1k=None))
    assert shown.gates == []
    assert gate_of(shown) == "yes"


def test_kept_limits_are_part_of_the_recommendation() -> None:
    found = concluded(arm())
    assert found.kind == "use"
    assert "95% of requests within 90 ms (80 to 110), limit 150 ms" in found.sentence


def test_each_limit_that_is_not_kept_blocks_in_its_own_words() -> None:
    slow, dear = concluded(arm(SLOW)), concluded(arm(per_1k=0.8))
    assert slow.kind == dear.kind == "blocked"
    assert slow.sentence.endswith(
        "but it is not fast enough: 95% of requests within 300 ms (250 to 380), limit 150 ms."
    )
    assert dear.sentence.endswith("but it is not cheap enough: $0.80 per 1,000 requests, limit $0.50.")


def test_a_limit_that_nobody_can_tell_of_leaves_it_undecided() -> None:
    unknown, unmeasured = concluded(arm(latency(140, 120, 180))), concluded(arm(per_1k=None))
    assert unknown.kind == unmeasured.kind == "undecided"
    assert "but not shown to be fast enough: 95% of requests within 140 ms" in unknown.sentence
    assert "but not shown to be cheap enough: cost not measured" in unmeasured.sentence


def test_a_prompt_that_breaks_a_limit_itself_is_said() -> None:
    found = concluded(arm(), arm(SLOW, family="prompt", name="few"))
    assert "The best prompt itself is not shown to be fast enough: 95% of requests within 300 ms" in found.caveat


@given(
    st.one_of(st.none(), st.floats(1, 1000)),
    st.one_of(st.none(), st.floats(0, 500)),
    st.one_of(st.none(), st.floats(0, 500)),
    st.one_of(st.none(), st.floats(0, 5)),
)
def test_only_what_is_shown_to_be_kept_is_recommended(
    value: float | None, below: float | None, above: float | None, cost: float | None
) -> None:
    p95 = (
        None
        if value is None
        else latency(value, None if below is None else value - below, None if above is None else value + above)
    )
    kept = p95 is not None and p95.high is not None and p95.high <= 150.0 and cost is not None and cost <= 0.5
    assert (concluded(arm(p95, cost)).kind == "use") == kept
