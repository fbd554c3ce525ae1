"""ftlab's lm-eval model against lm-eval's own (`--model hf`) at its best batch size, on one model in one process.

    python benchmarks/harness_speed.py [--limit 100] [--shots 0] [--batch-sizes 1 4 8 16 32]

Both get the same requests, built by lm-eval, and the same loaded weights in float32; only the call that scores them is
timed, after a warm-up. lm-eval's `logits_cache` (one-token continuations share a forward) is on, as by default. Prints
CPU seconds per task (which other work on the machine does not inflate as it does wall time), the ratio, and the largest
difference of a log-likelihood.
"""

from __future__ import annotations

import argparse
import logging
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


def main() -> None:
    """Measure every builtin benchmark and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    reference = resolve_model("builtin:smollm2-135m-instruct", Path())
    loaded = load_model(reference, fetch_model(reference), options.threads)
    total_ours = total_theirs = 0.0
    for name in BENCHMARKS.names():
        requests = build_requests(f"builtin:{name}", options.limit, options.shots)
        ours, scores = timed(LoadedLM(loaded.model, loaded.tokenizer), requests)
        best, size, worst = float("inf"), 0, 0.0
        for batch_size in options.batch_sizes:
            theirs, expected = timed(hf_model(loaded, batch_size), requests)
            worst = max(worst, *(abs(a[0] - b[0]) for a, b in zip(scores, expected, strict=True)))
            if theirs < best:
                best, size = theirs, batch_size
        total_ours, total_theirs = total_ours + ours, total_theirs + best
        print(
            f"{name:14} ftlab {ours:6.1f} s   lm-eval hf {best:6.1f} s (batch size {size})   ratio {best / ours:4.2f}"
            f"   largest difference {worst:.1e}",
            flush=True,
        )
    ratio = total_theirs / total_ours
    print(f"{'all':14} ftlab {total_ours:6.1f} s   lm-eval hf {total_theirs:6.1f} s   ratio {ratio:4.2f}")


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
