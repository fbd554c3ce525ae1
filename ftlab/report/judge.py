"""What there is to know of a judge before its scores count, as rows of a name and a sentence."""

from __future__ import annotations

from typing import Protocol

from ftlab.report import format as fmt


class _Rate(Protocol):
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int | None: ...


class Judged(Protocol):
    """What a record of a judge and its part of a view have in common."""

    @property
    def asked(self) -> int: ...
    @property
    def unparsable(self) -> int: ...
    @property
    def silent(self) -> int: ...
    @property
    def flipped(self) -> int: ...
    @property
    def first_place(self) -> _Rate | None: ...
    @property
    def kappa(self) -> _Rate | None: ...
    @property
    def shared(self) -> int: ...
    @property
    def raters(self) -> int: ...
    @property
    def min_kappa(self) -> float: ...
    @property
    def why(self) -> str: ...


def judge_facts(judge: Judged) -> list[tuple[str, str]]:
    """Agreement with people, position bias, unanswered pairs, and whether the scores count."""
    return [
        ("agreement with people", _agreement(judge)),
        ("position bias", _bias(judge)),
        ("unanswered pairs", _unanswered(judge)),
        ("counts in a decision", f"no: {judge.why}" if judge.why else "yes"),
    ]


def _agreement(judge: Judged) -> str:
    if judge.kappa is None:
        return f"not measured ({fmt.plural(judge.shared, 'rated pair')})"
    people = "one person" if judge.raters == 1 else f"{judge.raters} people"
    held = f"kappa {fmt.coefficient(judge.kappa.value)}{_interval(judge.kappa)} over {fmt.plural(judge.shared, 'pair')}"
    return f"{held} rated by {people}; {judge.min_kappa:g} is asked for"


def _bias(judge: Judged) -> str:
    if judge.first_place is None:
        return "not measured"
    share = f"{fmt.coefficient(judge.first_place.value)}{_interval(judge.first_place)}"
    ties = f"{judge.flipped} of {fmt.plural(judge.asked, 'pair')} are ties because the order decided"
    return f"the answer shown first wins {share} of the time (0.50 is fair); {ties}"


def _unanswered(judge: Judged) -> str:
    return f"{judge.silent} of {judge.asked} got no answer, {judge.unparsable} an answer that is neither A nor B"


def _interval(rate: _Rate) -> str:
    if rate.low is None or rate.high is None:
        return ""
    return f" (95% CI {fmt.coefficient(rate.low)} to {fmt.coefficient(rate.high)})"
