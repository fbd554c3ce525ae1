"""How long one request takes when it is served alone: from the chat's text to the answer's, nothing shared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

Clock = Callable[[], float]
WARM_UP = 1
"""Requests that are answered first and not counted: the first one pays for what the next ones find ready."""


def spread_evenly(total: int, wanted: int) -> list[int]:
    """`wanted` places of a sequence of `total`, evenly from the first to the last; all of them when there are fewer.

    Places repeat when more are wanted than there are, so that a small split gives enough measurements.
    """
    if total < 1:
        return []
    if wanted > total:
        return [place % total for place in range(wanted)]
    return [place * total // wanted for place in range(wanted)]


def measure_latency(
    answer: Callable[[int], object],
    total: int,
    wanted: int,
    on_each: Callable[[int], None] = lambda done: None,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Milliseconds of `wanted` requests, one after the other. `answer(i)` answers the i-th of `total` requests.

    `on_each` hears between two requests how many are done; what it takes is not counted, and what it raises ends the
    measurement. Empty when there is no request.
    """
    places: Sequence[int] = spread_evenly(total, wanted)
    on_each(0)
    for place in places[:WARM_UP]:
        answer(place)
    taken: list[float] = []
    for place in places:
        started = clock()
        answer(place)
        taken.append(1000.0 * (clock() - started))
        on_each(len(taken))
    return taken
