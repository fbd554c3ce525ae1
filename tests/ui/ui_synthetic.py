"""A results database and a decision view made by hand: small, deterministic, every number chosen by the test."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ftlab.decide.view import (
    ArmView,
    BenchmarkChange,
    Conclusion,
    Cost,
    DecisionView,
    Estimate,
    PairedDifference,
    Progress,
    Regression,
)
from ftlab.store.migrations import migrate

EXPERIMENT = "medical-specialty-0a1b2c"
LABELS = ["Anatomy", "Dental", "Medicine", "Pathology", "Pharmacology", "Surgery"]
DATASET = "d" * 32


@dataclass(frozen=True)
class ArmPlan:
    """One arm to make up: how good it is, and where it stands."""

    arm_id: str
    method: str
    family: str
    label: str
    accuracy: float
    status: str = "complete"
    reason: str | None = None


ARMS = [
    ArmPlan("a00000000001", "few_shot", "prompt", "few_shot shots=4", 0.34),
    ArmPlan("a00000000002", "zero_shot", "prompt", "zero_shot", 0.18),
    ArmPlan("a00000000003", "lora", "adapter", "lora r=16 learning_rate=0.0005", 0.53),
    ArmPlan("a00000000004", "lora", "adapter", "lora r=8 learning_rate=0.0002", 0.41),
    ArmPlan("a00000000005", "full", "full", "full learning_rate=3e-05", 0.49),
    ArmPlan(
        "a00000000006",
        "full",
        "full",
        "full learning_rate=1e-05",
        0.0,
        "oom",
        "needed 9.1 GB of memory, 7.6 GB are there",
    ),
]


def run_id(arm: ArmPlan) -> str:
    """The id of the arm's one run."""
    return f"r{arm.arm_id[1:]}"


def estimate(value: float, half: float, n: int = 300, method: str = "Wilson") -> Estimate:
    """A value with a symmetric interval."""
    return Estimate(value=value, low=value - half, high=value + half, n=n, method=method)


def difference(value: float, half: float, n: int = 300) -> PairedDifference:
    """A paired difference whose flips fit its value."""
    broke = max(0, round(n * (0.1 - value / 2)))
    return PairedDifference(
        estimate=estimate(value, half, n, "paired bootstrap"),
        p_value=0.01,
        fixed=broke + round(n * value),
        broke=broke,
        dropped=0,
    )


def make_view(arms: list[ArmPlan] = ARMS, snapshot: int = 1, **changes: Any) -> DecisionView:
    """A finished comparison of `arms`; the first one is the baseline."""
    base = arms[0].accuracy
    views, seen = [], set()
    for index, arm in enumerate(arms):
        done = arm.status == "complete"
        prompt = arm.family == "prompt"
        metrics = {"accuracy": estimate(arm.accuracy, 0.05), "valid_format": estimate(0.97, 0.02)} if done else {}
        changes_made = []
        for place, task in enumerate(["builtin:piqa", "builtin:openbookqa", "builtin:commonsenseqa"]):
            moved = 0.0 if prompt else (-0.012, 0.02, -0.065 if arm.family == "full" else -0.03)[place]
            gap = difference(moved, 0.0 if prompt else 0.025, 200)
            within = "yes" if prompt else ("no" if moved < -0.05 else "not shown")
            changes_made.append(
                BenchmarkChange(
                    task=task,
                    metric="acc_norm",
                    base=estimate(0.6, 0.06, 200),
                    arm=estimate(0.6 + moved, 0.06, 200),
                    difference=gap,
                    within_limit=within,
                )
            )
        cost = Cost(
            train_seconds=None if prompt else 95.0 + 30 * index,
            train_tokens=None if prompt else 120_000,
            peak_memory_bytes=1_200_000_000 + 500_000_000 * index,
            trainable_parameters=0 if prompt else (4_884_480 if arm.family == "adapter" else 134_515_008),
            artifact_bytes=0 if prompt else (19_500_000 if arm.family == "adapter" else 538_000_000),
            prediction_tokens_per_second=1500.0 - 90 * index,
            seconds_per_1k_requests=(240.0 if arm.label.startswith("few") else 95.0) + 4 * index,
        )
        views.append(
            ArmView(
                arm_id=arm.arm_id,
                run_ids=[run_id(arm)],
                method_name=arm.method,
                family=arm.family,
                label=arm.label,
                status=arm.status,
                reason=arm.reason,
                seeds=[0],
                is_baseline=index == 0,
                is_best_of_method=arm.method not in seen,
                metrics=metrics,
                difference=difference(arm.accuracy - base, 0.045) if done and index else None,
                benchmarks=changes_made if done else [],
                cost=cost if done else Cost(),
                config={"type": arm.method},
                varied={},
                on_front=done and arm.arm_id in ("a00000000002", "a00000000003"),
            )
        )
        seen.add(arm.method)
    fields: dict[str, Any] = {
        "experiment_id": EXPERIMENT,
        "name": "medical-specialty",
        "question": "Prompting, LoRA or full fine-tuning to route medical questions?",
        "model": ["builtin:smollm2-135m-instruct"],
        "split": "validation",
        "metric": "accuracy",
        "metric_unit": "share",
        "metric_direction": "higher",
        "min_gain": 0.02,
        "max_forgetting": 0.02,
        "metric_units": {"accuracy": "share", "valid_format": "share"},
        "benchmarks": ["builtin:piqa", "builtin:openbookqa", "builtin:commonsenseqa"],
        "snapshot": snapshot,
        "updated_at": "2026-11-22T02:41:07Z",
        "conclusion": Conclusion(
            kind="use",
            sentence="Use lora r=16 learning_rate=0.0005: +19.0 points over the best prompt (95% CI +14.5 to +23.5, "
            "300 validation examples), and no loss beyond 2 points on 2 of 3 general benchmarks.",
            caveat="Chosen and measured on the same validation examples; the sealed test split has not been opened. "
            "One seed: the noise of training itself has not been measured.",
            arm_id="a00000000003",
        ),
        "arms": views,
        "regressions": [
            Regression(
                arm_id="a00000000003",
                example_id=f"e{index:012d}",
                text=f"A 45-year-old man presents with crushing chest pain, case {index}. Most likely?",
                target="Medicine",
                baseline_output="Medicine",
                arm_output="Surgery of the chest",
            )
            for index in range(3)
        ],
        "warnings": ["2 of 600 training rows were cut at 1,024 tokens"],
        "missing": [],
        "progress": Progress(total=len(arms), by_status={"complete": len(arms) - 1, "oom": 1}, running=[]),
        "examples": 300,
        "provenance": {"ftlab": "0.1.0", "torch": "2.13.0", "device": "cpu", "data": {"sha256": "ab" * 32}},
    }
    return DecisionView(**{**fields, **changes})


def make_database(path: Path, arms: list[ArmPlan] = ARMS, examples: int = 60, steps: int = 120, seed: int = 0) -> None:
    """A ledger with the runs, stages, curves, outputs and scores of `arms`, written straight into its tables."""
    noise = random.Random(seed)
    connection = duckdb.connect(str(path))
    migrate(connection, str(path))
    connection.execute(
        "INSERT INTO experiments VALUES (?, 'medical-specialty', 'Which one?', 'version: 1', 'h', '{}', 1e9)",
        [EXPERIMENT],
    )
    rows = [
        (
            DATASET,
            "validation",
            i,
            f"e{i:012d}",
            f"Question {i} about the {noise.choice(LABELS).lower()} of the heart?",
            "{}",
        )
        for i in range(examples)
    ]
    targets = [noise.choice(LABELS) for _ in rows]
    _insert(connection, "examples", [(*row, target) for row, target in zip(rows, targets, strict=True)])
    for position, arm in enumerate(arms):
        run = run_id(arm)
        connection.execute(
            "INSERT INTO arms VALUES (?, ?, ?, ?, ?, ?, 'builtin:model', 'rev', '{}', '{}', 'a:1:1', true)",
            [arm.arm_id, EXPERIMENT, position, arm.method, arm.family, arm.label],
        )
        config = {"method": {"type": arm.method, **({} if arm.family == "prompt" else {"epochs": 2})}, "seed": 0}
        started = 1_700_000_000.0 + 100 * position
        finished = None if arm.status in ("running", "waiting") else started + 80
        connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, 0, ?, ?, ?, 1, ?, ?, ?, true)",
            [run, EXPERIMENT, arm.arm_id, position, arm.status, arm.reason, started, finished, json.dumps(config)],
        )
        connection.execute(
            "INSERT INTO attempts VALUES (?, 1, ?, ?, NULL, 4711, 'box', ?, ?)",
            [run, arm.status, arm.reason, started, finished],
        )
        connection.execute(
            "INSERT INTO provenance VALUES (?, 1, ?)", [run, json.dumps({"torch": "2.13.0", "device": "cpu"})]
        )
        state = "complete" if arm.status == "complete" else "planned"
        kinds = [
            ("dataset", "", DATASET),
            ("predictions", "validation", f"p-{run}"),
            ("scores", "validation", f"s-{run}"),
        ]
        if arm.family != "prompt":
            kinds.insert(1, ("weights", "", f"w-{run}"))
        for place, (kind, name, key) in enumerate(kinds):
            connection.execute(
                "INSERT INTO run_stages VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                [run, place, kind, name, key, state, kind == "dataset" and position > 0, 12.5],
            )
        if arm.status != "complete":
            continue
        connection.execute(
            "INSERT INTO metrics VALUES (?, 'validation', 'accuracy', ?, 0, 1, ?, 'share', 'higher', 'Wilson', 1, 0)",
            [run, arm.accuracy, examples],
        )
        outputs, scores = [], []
        for i in range(examples):
            right = noise.random() < arm.accuracy
            said = targets[i] if right else noise.choice([label for label in LABELS if label != targets[i]])
            invalid = not right and noise.random() < 0.1
            output = "I am not sure about that." if invalid else said
            parsed = None if invalid else said
            outputs.append((f"p-{run}", f"e{i:012d}", output, 80, 3, 0.11, "stop", None))
            scores.append((f"s-{run}", f"e{i:012d}", "accuracy", float(right), parsed))
            scores.append((f"s-{run}", f"e{i:012d}", "valid_format", float(not invalid), parsed))
        _insert(connection, "predictions", outputs)
        _insert(connection, "scores", scores)
        if arm.family != "prompt":
            curves = []
            for step in range(1, steps + 1):
                curves.append((run, 1, step, "train/loss", 2.4 / (1 + step / 30) + noise.gauss(0, 0.05)))
                curves.append((run, 1, step, "train/learning_rate", 5e-4 * (1 - step / steps)))
                curves.append((run, 1, step, "train/grad_norm", 1 + abs(noise.gauss(0, 0.3))))
                curves.append((run, 1, step, "train/tokens_per_second", 900 + noise.gauss(0, 40)))
                curves.append((run, 1, step, "train/memory_bytes", 1.4e9))
                if step % max(1, steps // 4) == 0:
                    curves.append((run, 1, step, "validation/loss", 2.5 / (1 + step / 34)))
            _insert(connection, "curves", curves)
    connection.close()


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    import pyarrow as pa

    names = [row[0] for row in connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
    batch = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    connection.register("batch", batch)
    connection.execute(f"INSERT INTO {table} SELECT * FROM batch")
    connection.unregister("batch")


def make_log(results: Path, arm: ArmPlan, text: str) -> None:
    """The log of the arm's first attempt."""
    folder = results / EXPERIMENT / "runs" / run_id(arm) / "a1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").write_text(text, encoding="utf-8")
