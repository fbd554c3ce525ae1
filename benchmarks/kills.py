"""Nothing is lost: SIGKILL at random instants over every process of a sweep, and what is found after the resume.

    python -m benchmarks.kills [--kills 200] [--real 0] [--seed 0]

Sweeps of fake stages with real files, one after the other, each with a grid and a search, until there were `--kills`;
then sweeps that train a tiny model for real, until there were `--real`, whose weights are held bit for bit against
those of a sweep that nobody killed. Exits with 1 when anything is wrong. The suite has the same at a smaller size
(tests/execute/test_kills_of_all.py).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ftlab.execute.experiments import find_plan
from ftlab.testing.kills import App, KilledSweep, Victim, fake_environment, write_fake_spec
from ftlab.testing.soundness import unsound
from ftlab.testing.tiny import tiny_model, tiny_rows

GRID, ARMS = 30, 20
"""Arms of one sweep of fakes: of a grid, and proposed by a search."""
KILLS_PER_SWEEP = 70
REAL_KILLS_PER_SWEEP = 12
REAL_SPEC = """
version: 1
name: trained
model: ./model
data: {source: ./rows.jsonl, splits: {validation: 12, test: 3}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [2, 4, 8]}, learning_rate: 3e-3, lora_dropout: 0.1}
  full: {type: full, learning_rate: {grid: [1e-3, 3e-4]}}
  searched:
    type: lora
    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    search: {sampler: random, arms: 3}
train: {max_steps: 150, batch_size: 4, checkpoints: 25, evaluations: 3}
execute: {retries: 1}
"""


def killed(name: str, spec: Path, results: Path, kills: int, chance: random.Random, **how: object) -> Counter[Victim]:
    """One sweep to its end through at most `kills` kills; prints what it took and every promise that was broken."""
    started = time.perf_counter()
    environment = how["environment"]
    assert isinstance(environment, dict)
    app = App(results, environment)
    try:
        with KilledSweep(spec, results, chance, environment, float(str(how["pause"])), app) as sweep:
            sweep.kill_until(kills)
            sweep.finish()
        app.settle()
    finally:
        app.close()
    wrong = [*unsound(results), *app.errors]
    runs = len(find_plan(results).runs)
    told = ", ".join(f"{count} {victim}" for victim, count in sorted(sweep.kills.items()))
    print(
        f"{name}: {sweep.kills.total()} kills ({told}), {sweep.sessions} sessions, {runs} runs, "
        f"{app.answers} pages drawn, {time.perf_counter() - started:.0f} s; wrong: {len(wrong)}",
        flush=True,
    )
    for sentence in wrong:
        print(f"  {sentence}")
    if wrong:
        sys.exit(1)
    return sweep.kills


def fakes(kills: int, folder: Path, chance: random.Random) -> Counter[Victim]:
    """Sweeps of fakes until there were `kills`."""
    total: Counter[Victim] = Counter()
    for number in range(1, 1000):
        if total.total() >= kills:
            break
        spec = write_fake_spec(folder / f"fake{number}", GRID, ARMS)
        most = min(KILLS_PER_SWEEP, kills - total.total())
        how = {"environment": fake_environment(0.3), "pause": 1.5}
        total += killed(f"fakes {number}", spec, spec.parent / "results", most, chance, **how)
    return total


def trained(kills: int, folder: Path, chance: random.Random) -> Counter[Victim]:
    """Sweeps that train a tiny model until there were `kills`, compared with one that was left alone."""
    total: Counter[Victim] = Counter()
    spec = folder / "real" / "spec.yaml"
    spec.parent.mkdir(parents=True)
    tiny_model(spec.parent / "model")
    (spec.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(90)))
    spec.write_text(REAL_SPEC)
    whole = spec.parent / "whole"
    with KilledSweep(spec, whole, chance, {}, 0.0) as alone:
        alone.finish()
    for number in range(1, 1000):
        if total.total() >= kills:
            break
        results = spec.parent / f"killed{number}"
        how = {"environment": {}, "pause": 8.0}
        most = min(REAL_KILLS_PER_SWEEP, kills - total.total())
        total += killed(f"real {number}", spec, results, most, chance, **how)
        same = list(_compared(whole, results))
        print(f"real {number}: {sum(same)} of {len(same)} weights equal those of the sweep nobody killed, bit for bit")
        if not same or not all(same):
            sys.exit(1)
    return total


def _compared(whole: Path, killed: Path) -> Iterator[bool]:
    """For every file of weights of the one sweep, whether the other has the same bytes."""
    for file in sorted(whole.glob("stages/weights/*/*.safetensors")):
        other = killed / file.relative_to(whole)
        yield other.exists() and other.read_bytes() == file.read_bytes()


def main() -> None:
    """Kill, resume, look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="kills in sweeps of fakes")
    parser.add_argument("--real", type=int, default=0, help="kills in sweeps that train a tiny model")
    parser.add_argument("--seed", type=int, default=0)
    options, _ = parser.parse_known_args()
    chance = random.Random(options.seed)
    # The folder is removed only when all went well: what is wrong can then be looked at.
    folder = Path(tempfile.mkdtemp(prefix="ftlab-kills-"))
    print(f"in {folder}, seed {options.seed}", flush=True)
    total = fakes(options.kills, folder, chance)
    real = trained(options.real, folder, chance)
    shutil.rmtree(folder)
    for name, kills in (("fakes", total), ("real training", real)):
        told = ", ".join(f"{count} {victim}" for victim, count in sorted(kills.items()))
        print(f"{name}: {kills.total()} kills ({told or 'none'}), nothing lost, nothing computed twice")


if __name__ == "__main__":
    main()
