"""What every benchmark that ftlab asks itself must keep to. Subclass it in a test module and name the benchmark:

class TestBehaviour(AskedBenchmarkContract):
    name = "behaviour"
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from ftlab.catalog import BENCHMARKS
from ftlab.evaluate.asked import AskedBenchmark
from ftlab.evaluate.benchmarks import benchmark_version, measures_of, run_benchmark
from ftlab.events import ignore
from ftlab.models.load import LoadedModel, load_model
from ftlab.plan.run import ModelRef
from ftlab.spec.measures import MEASURES, SIZES
from ftlab.spec.schema import BenchmarkSpec
from ftlab.testing.tiny import tiny_model
from ftlab.text import SHARE

HARNESS_NAMES = [name for name in BENCHMARKS.names() if f"builtin:{name}" not in MEASURES]
"""The builtin benchmarks that lm-eval asks."""


class AskedBenchmarkContract:
    """Run against one benchmark, on a tiny model in float32."""

    name: ClassVar[str]
    """The name in the catalogue."""

    @property
    def task(self) -> str:
        """The name in a spec."""
        return f"builtin:{self.name}"

    @pytest.fixture(scope="class")
    @classmethod
    def loaded(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
        """The model that all tests of the class share."""
        folder = tiny_model(tmp_path_factory.mktemp("contract") / "tiny")
        return load_model(ModelRef(source="tiny", revision="0", dtype="float32"), folder, threads=1)

    def run(self, loaded: LoadedModel, out: Path, **spec: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The summary and the items of one run."""
        out.mkdir(exist_ok=True)
        summary = run_benchmark(self.task, loaded.model, loaded, BenchmarkSpec(**spec), out, ignore)
        return summary, pq.read_table(out / "items.parquet").to_pylist()

    def test_it_says_what_it_is(self) -> None:
        """Its measures are declared, the first of them gated, no two alike."""
        benchmark = BENCHMARKS.load(self.name)
        assert isinstance(benchmark, AskedBenchmark)
        assert benchmark.task == self.task
        measures = MEASURES[self.task]
        assert measures_of(self.task) == measures
        assert measures[0].gated
        assert all(measure.direction != "none" and measure.tolerance for measure in measures if measure.gated)
        assert len({measure.metric for measure in measures}) == len(measures)
        assert len({measure.name(self.task) for measure in measures}) == len(measures)

    def test_planning_it_imports_nothing_heavy(self) -> None:
        """`plan` asks for its version and must answer at once."""
        heavy = ["torch", "transformers", "lm_eval", "scipy", "pandas"]
        code = (
            "import sys; from ftlab.evaluate.benchmarks import benchmark_facts, benchmark_version; "
            f"print(benchmark_version({self.task!r}), benchmark_facts({self.task!r})['group']); "
            f"sys.exit(bool([name for name in {heavy} if name in sys.modules]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[0] == benchmark_version(self.task)

    def test_every_item_has_finite_scores_of_declared_measures(self, loaded: LoadedModel, tmp_path: Path) -> None:
        """The items are as many as said, and the summary is what they come to."""
        summary, items = self.run(loaded, tmp_path)
        measures = {measure.metric: measure for measure in MEASURES[self.task]}
        assert {item["metric"] for item in items} <= set(measures)
        assert all(math.isfinite(item["score"]) for item in items)
        assert all(0 <= item["score"] <= 1 for item in items if measures[item["metric"]].unit == SHARE)
        assert len({item["doc_hash"] for item in items}) == SIZES[self.task] == summary["samples"]
        assert len({(item["doc_hash"], item["metric"]) for item in items}) == len(items)
        assert set(summary["metrics"]) == set(measures)
        for metric, row in summary["metrics"].items():
            scores = [item["score"] for item in items if item["metric"] == metric]
            assert row["value"] == (pytest.approx(sum(scores) / len(scores)) if scores else None)
            assert row["n"] == (len(scores) or None)
            assert (row["unit"], row["direction"]) == (measures[metric].unit, measures[metric].direction)
            assert row["low"] is None or row["low"] <= row["value"] <= row["high"]
        assert json.loads((tmp_path / "summary.json").read_text()) == summary

    def test_equal_weights_give_equal_items(self, loaded: LoadedModel, tmp_path: Path) -> None:
        """A limit takes the first items, and how other benchmarks are asked changes nothing."""
        _, first = self.run(loaded, tmp_path / "a", limit=6)
        _, again = self.run(loaded, tmp_path / "b", limit=6, shots=3, chat_template=True)
        assert first == again
        assert sorted({item["doc_id"] for item in first}) == list(range(6))
