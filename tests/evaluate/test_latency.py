"""Requests timed alone: which, how, and where the figures go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.evaluate.latency import measure_latency, spread_evenly
from ftlab.events import RunCancelled


class Ticking:
    """A clock that a request moves on by as many seconds as its number, plus one for the first of all."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[int] = []

    def __call__(self) -> float:
        return self.now

    def answer(self, place: int) -> None:
        self.now += place + (10 if not self.asked else 0)
        self.asked.append(place)


def test_the_first_request_is_made_twice_and_counted_once() -> None:
    clock = Ticking()
    assert measure_latency(clock.answer, 6, 3, clock=clock) == [0.0, 2000.0, 4000.0]
    assert clock.asked == [0, 0, 2, 4]


def test_what_is_told_between_requests_is_not_counted_and_can_end_them() -> None:
    clock, told = Ticking(), list[int]()

    def tell(done: int) -> None:
        clock.now += 100
        told.append(done)
        if done == 2:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        measure_latency(clock.answer, 6, 3, tell, clock)
    assert told == [0, 1, 2]
    assert clock.asked == [0, 0, 2]
    clock = Ticking()
    told.clear()

    def listen(done: int) -> None:
        clock.now += 100

    assert measure_latency(clock.answer, 6, 3, listen, clock) == [0.0, 2000.0, 4000.0]


def test_no_request_is_no_measurement() -> None:
    clock = Ticking()
    assert measure_latency(clock.answer, 0, 5, clock=clock) == []
    assert clock.asked == []


@given(st.integers(1, 500), st.integers(1, 300))
def test_requests_are_spread_over_the_split(total: int, wanted: int) -> None:
    places = spread_evenly(total, wanted)
    assert len(places) == wanted
    assert all(0 <= place < total for place in places)
    assert len(set(places)) == min(total, wanted)
    if wanted <= total:
        assert places == sorted(places)
        assert places[0] == 0
        assert places[-1] >= total - -(-total // wanted)


def test_places_repeat_when_more_are_wanted_than_there_are() -> None:
    assert spread_evenly(3, 7) == [0, 1, 2, 0, 1, 2, 0]
    assert spread_evenly(0, 7) == []
