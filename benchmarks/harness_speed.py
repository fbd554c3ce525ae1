"""ftlab's lm-eval model against lm-eval's own (`--model hf`) at its best batch size, on one model in one process.

    python -m benchmarks.harness_speed                                        # on a quiet machine: all of it, 3 rounds
    python -m benchmarks.harness_speed --tasks mmlu --limit 60 --batch-sizes 1 --rounds 1

Both get the same requests, built by lm-eval, and the same loaded weights in float32; only the call that scores them is
timed, after a warm-up. lm-eval's `logits_cache` (one-token continuations share a forward) is on, as by default. The two
take turns in every round, and what counts is CPU seconds, which other work on the machine inflates less than wall time.
Prints per task the median over the rounds at lm-eval's best batch size, the ratio, and the largest difference of a
log-likelihood; then the ratio of the sums for 5-shot MMLU and for zero-shot multiple choice.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from ftlab.catalog import BENCHMARKS
from ftlab.evaluate.benchmarks import load_tasks
from ftlab.evaluate.harness import LoadedLM
from ftlab.events import ignore
from ftlab.models.load import LoadedModel, load_model
from ftlab.models.sources import fetch_model, resolve_model

WARM_UP = 8
"""Requests scored before anything is timed."""
SHOTS = {"mmlu": 5}
"""Few-shot examples; 0 for the others."""


def main() -> None:
    """Measure the builtin benchmarks and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=BENCHMARKS.names(), choices=BENCHMARKS.names())
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="one: waiting threads burn CPU seconds")
    options = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    reference = resolve_model("builtin:smollm2-135m-instruct", Path())
    loaded = load_model(reference, fetch_model(reference), options.threads)
    sums: dict[str, list[float]] = {}
    for name in options.tasks:
        shots = SHOTS.get(name, 0)
        requests = build_requests(f"builtin:{name}", options.limit, shots)
        ours, theirs, worst = rounds(loaded, requests, options.batch_sizes, options.rounds)
        size = min(theirs, key=lambda batch_size: statistics.median(theirs[batch_size]))
        mine, best = statistics.median(ours), statistics.median(theirs[size])
        kind = f"{shots}-shot {name}" if shots else "zero-shot"
        sums[kind] = [total + part for total, part in zip(sums.get(kind, [0.0, 0.0]), (mine, best), strict=True)]
        print(
            f"{name:14} {shots}-shot  ftlab {mine:6.1f} s   lm-eval hf {best:6.1f} s (batch size {size})   "
            f"ratio {best / mine:4.2f}   largest difference {worst:.1e}",
            flush=True,
        )
    for kind, (mine, best) in sums.items():
        print(f"{kind:22}  ftlab {mine:6.1f} s   lm-eval hf {best:6.1f} s   ratio {best / mine:4.2f}")


def rounds(
    loaded: LoadedModel, requests: list[Any], batch_sizes: list[int], count: int
) -> tuple[list[float], dict[int, list[float]], float]:
    """CPU seconds of ours and of lm-eval's by batch size, one for each round, and the largest difference."""
    ours: list[float] = []
    theirs: dict[int, list[float]] = {size: [] for size in batch_sizes}
    worst = 0.0
    for _ in range(count):
        seconds, scores = timed(LoadedLM(loaded.model, loaded.tokenizer), requests)
        ours.append(seconds)
        for size, taken in theirs.items():
            seconds, expected = timed(hf_model(loaded, size), requests)
            taken.append(seconds)
            worst = max(worst, *(abs(a[0] - b[0]) for a, b in zip(scores, expected, strict=True)))
    return ours, theirs, worst


def build_requests(task: str, limit: int, shots: int) -> list[Any]:
    """The requests that lm-eval makes of a task's first items."""
    (one,) = load_tasks(task, shots, ignore)["tasks"].values()
    one.build_all_requests(limit=limit, rank=0, world_size=1)
    return one.instances


def hf_model(loaded: LoadedModel, batch_size: int) -> HFLM:
    """lm-eval's own model around the same weights."""
    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=batch_size, backend="causal")


def timed(model: Any, requests: list[Any]) -> tuple[float, list[tuple[float, bool]]]:
    """CPU seconds and scores of one call."""
    model.loglikelihood(requests[:WARM_UP], disable_tqdm=True)
    begun = time.process_time()
    scores = model.loglikelihood(requests, disable_tqdm=True)
    return time.process_time() - begun, scores


if __name__ == "__main__":
    main()
