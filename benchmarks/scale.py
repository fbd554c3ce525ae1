"""Ten thousand arms: planned, then the folder of their finished runs resumed, asked for its status, and shown.

    python -m benchmarks.scale [--arms 10000]

Promised: planned in under 5 s; a results folder of 10,000 runs resumes in under 10 s; `status` answers in under 1 s.
Seconds are those of a process of its own, its start included, beside the processor time that it took. The finished
folder is written by this file directly, of the form that workers leave, for nobody could wait for 10,000 runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ftlab.events import EventType, Status
from ftlab.execute.attempts import run_folder
from ftlab.execute.coordinator import write_experiment
from ftlab.execute.stages import MANIFEST, MANIFEST_VERSION, StageStore
from ftlab.files import sha256_file
from ftlab.plan.expand import build_plan
from ftlab.plan.run import Plan, RunConfig, StageKey
from ftlab.spec.load import load_spec
from ftlab.store.journal import VERSION
from ftlab.testing.fakes import FakePipeline
from ftlab.testing.kills import CALL, write_fake_spec

ARMS = 10_000
CURVE_POINTS = 5
SPEC_TAIL = """
version: 1
name: ten-thousand
model: ./model
data: {{source: ./rows.jsonl, splits: {{validation: 8, test: 3}}}}
task:
  type: classification
  prompt: [{{role: user, content: "{{{{ question }}}}"}}]
  target: "{{{{ label }}}}"
methods:
  lora:
    type: lora
    r: {{grid: [{ranks}]}}
    learning_rate: {{grid: [{rates}]}}
"""


def spec_of(folder: Path, arms: int) -> Path:
    """A spec whose grid has `arms` points, a square number."""
    side = round(arms**0.5)
    spec = write_fake_spec(folder, 1, 1)
    ranks = ", ".join(str(r) for r in range(1, side + 1))
    rates = ", ".join(f"{step / side / 100:.6f}" for step in range(1, side + 1))
    spec.write_text(SPEC_TAIL.format(ranks=ranks, rates=rates))
    return spec


class Finished:
    """Writes a folder in which every run of a plan is done: real artifacts of one run, shared by all as bytes."""

    def __init__(self, plan: Plan, results: Path) -> None:
        self._plan = plan
        self._results = results
        self._stages = StageStore(results)
        self._files: dict[str, list[tuple[str, bytes, str]]] = {}
        self._summaries: dict[str, dict[str, object]] = {}

    def write(self) -> None:
        """The experiment, its stages, and one complete attempt of every run."""
        write_experiment(self._plan, self._results)
        self._model_run(self._plan.runs[0])
        for config in self._plan.runs:
            for stage in config.stages:
                self._stage(stage)
            self._attempt(config)

    def _model_run(self, config: RunConfig) -> None:
        """The files of every kind of stage, computed once by the fake."""
        pipeline, folders = FakePipeline(), {}
        for stage in config.stages:
            out = self._results / "model" / stage.kind / "x"
            out.mkdir(parents=True)
            match stage.kind:
                case "dataset":
                    summary = pipeline.dataset(config, out, _silent)
                case "weights":
                    summary = pipeline.weights(config, folders["dataset"], out, out.parent / "checkpoints", _silent)
                case "predictions":
                    summary = pipeline.predictions(
                        config, stage.name, folders["dataset"], folders["weights"], out, _silent
                    )
                case "scores":
                    summary = pipeline.scores(
                        config, stage.name, folders["dataset"], folders["predictions"], out, _silent
                    )
                case _:
                    raise AssertionError(stage.kind)
            folders[stage.kind] = out
            self._summaries[stage.kind] = summary
            self._files[stage.kind] = [(file.name, file.read_bytes(), sha256_file(file)) for file in out.iterdir()]
        self._metrics = json.loads((folders["scores"] / "metrics.json").read_bytes())

    def _stage(self, stage: StageKey) -> None:
        folder = self._stages.path(stage.kind, stage.key)
        if folder.exists():
            return
        folder.mkdir(parents=True)
        files = {}
        for name, data, digest in self._files[stage.kind]:
            (folder / name).write_bytes(data)
            files[name] = {"bytes": len(data), "sha256": digest}
        manifest = {
            "version": MANIFEST_VERSION,
            "kind": stage.kind,
            "key": stage.key,
            "seconds": 1.0,
            "bytes": sum(len(data) for _, data, _ in self._files[stage.kind]),
            "summary": self._summaries[stage.kind],
            "files": files,
        }
        (folder / MANIFEST).write_text(json.dumps(manifest))

    def _attempt(self, config: RunConfig) -> None:
        attempt = run_folder(self._results, config) / "a1"
        attempt.mkdir(parents=True)
        (attempt / "config.json").write_text(config.model_dump_json())
        (attempt / "lease").touch()
        facts = {"run_id": config.run_id, "attempt": 1, "pid": 1, "host": "here", "provenance": {}}
        events: list[tuple[EventType, dict[str, object]]] = [(EventType.ATTEMPT_STARTED, facts)]
        for stage in config.stages:
            place = {"kind": stage.kind, "name": stage.name, "key": stage.key}
            events.append((EventType.STAGE_STARTED, place))
            if stage.kind == "weights":
                points = range(1, CURVE_POINTS + 1)
                events += [(EventType.CURVE, {"step": step, "values": {"train/loss": 1 / step}}) for step in points]
            done = {"cached": stage.kind == "dataset", "seconds": 1.0, "bytes": 1000}
            events.append((EventType.STAGE, {**place, **done, "summary": self._summaries[stage.kind]}))
        events.append((EventType.METRICS, {"split": "validation", "rows": self._metrics}))
        events.append((EventType.ATTEMPT_FINISHED, {"status": Status.COMPLETE, "reason": None, "error": None}))
        lines = [
            json.dumps({"v": VERSION, "seq": seq, "ts": time.time(), "type": kind, **fields})
            for seq, (kind, fields) in enumerate(events, 1)
        ]
        (attempt / "events.jsonl").write_text("\n".join(lines) + "\n")


def _silent(type: EventType, **fields: object) -> None:  # noqa: A002
    """A reporter nobody listens to."""


def timed(what: str, *arguments: str, promised: float | None = None) -> None:
    """Run `ftlab` with these arguments and print what it took."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CALL, *arguments], capture_output=True, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"ftlab {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    limit = f"   (promised: below {promised:g} s)" if promised else ""
    print(f"{what:<44}{wall:7.1f} s, of processor {processor:6.1f} s{limit}", flush=True)


def main() -> None:
    """Print what planning, resuming and asking take."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--arms", type=int, default=ARMS)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        spec, results = spec_of(folder, options.arms), folder / "results"
        started, used = time.perf_counter(), time.process_time()
        plan = build_plan(load_spec(spec))
        wall, processor = time.perf_counter() - started, time.process_time() - used
        print(
            f"{len(plan.runs):,} runs\n{'spec to plan, in process':<44}{wall:7.1f} s, of processor {processor:6.1f} s"
        )
        timed("ftlab plan", "plan", str(spec), promised=5)
        Finished(plan, results).write()
        pipeline = ("--pipeline", "ftlab.testing.fakes:FakePipeline", "--results", str(results))
        timed("ftlab rebuild", "rebuild", "--results", str(results))
        timed("ftlab resume, nothing left", "resume", *pipeline, promised=10)
        for attempt in list(results.glob("*/runs/*/a1"))[:3]:
            journal = attempt / "events.jsonl"
            journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
        timed("ftlab resume, three runs were killed", "resume", *pipeline, promised=10)
        timed("ftlab status", "status", "--results", str(results), promised=1)
        timed("ftlab ls", "ls", "--results", str(results))


if __name__ == "__main__":
    main()
