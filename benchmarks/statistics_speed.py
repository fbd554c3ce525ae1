"""What the statistics of one page cost: CPU seconds at the sizes of a large sweep, beside a plain numpy pass.

The plain pass is the one thing that cannot be spared: drawing the resamples and multiplying them with the scores.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ftlab.statistics.best import probability_best
from ftlab.statistics.clusters import clustered_difference
from ftlab.statistics.paired import paired_difference
from ftlab.statistics.replicates import replicated_difference
from ftlab.statistics.resampling import replicates
from ftlab.statistics.simultaneous import DRAWS, mean_differences
from ftlab.testing.simulations import simulate

ARMS, EXAMPLES, SEEDS = 24, 800, 5
ROUNDS = 5


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least CPU time of a few calls, in seconds, the first one (imports) not counted."""
    work()
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Print the CPU seconds of each, and how many plain passes that is."""
    rng = np.random.default_rng(0)
    clusters = np.arange(EXAMPLES) // 4
    scores = simulate(rng, [0.6] * (ARMS + 1), EXAMPLES)[:, 0]
    differences = (scores[1:] - scores[0]).T
    seeded = simulate(rng, [0.6, 0.62], EXAMPLES, seeds=SEEDS, by_seed=0.01)
    work: dict[str, Callable[[], object]] = {
        "plain bootstrap of 24 means": lambda: replicates(lambda drawn: drawn @ differences, EXAMPLES, 0, DRAWS),
        "max-T over 24 arms": lambda: mean_differences(differences, 0),
        "max-T, 200 clusters": lambda: mean_differences(differences, 0, clusters=clusters),
        "probability to be best": lambda: probability_best(differences, 0),
        "one difference of rates": lambda: paired_difference(scores[0].tolist(), scores[1].tolist(), 0),
        "one difference, clustered": lambda: clustered_difference(
            scores[0].tolist(), scores[1].tolist(), clusters.tolist(), 0
        ),
        "one difference over 5 seeds": lambda: replicated_difference(seeded[0], seeded[1], 0),
    }
    print(f"{ARMS} arms, {EXAMPLES} examples, {DRAWS} draws")
    plain = None
    for name, call in work.items():
        seconds = cpu_seconds(call)
        plain = plain or seconds
        print(f"{name:<30} {seconds:7.3f} s  {seconds / plain:5.2f} x")


if __name__ == "__main__":
    main()
