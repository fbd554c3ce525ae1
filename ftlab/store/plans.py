"""Plans in the ledger. Each plan that an experiment ever had is kept as `<experiment>/plans/<n>-<hash>.json`.

`resolved.json` is the newest plan alone, and is replaced when the spec changes. Arms and runs that are no longer
planned stay in the ledger (with `current` false), so what is known of them must be in the files too: before a plan
enters the ledger it is copied here, with the time at which it was first seen. Only these copies are read into the
ledger, oldest first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import ValidationError

from ftlab.files import storage_errors, write_atomic
from ftlab.plan.run import Plan

_KEPT = re.compile(r"([0-9]{4,9})-([0-9a-f]{16})\.json")


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """One plan that an experiment has or had."""

    name: str
    """The path from the results folder, with `/`."""
    size: int
    ts: float
    """When it was first seen, in seconds since 1970."""
    plan: Plan


class PlanKeeper:
    """Notices new plans in the experiments of one results folder, keeps them, and reads those the ledger lacks."""

    def __init__(self, results: Path, ingested: Collection[str]) -> None:
        self.results = results
        self.problems: dict[str, str] = {}
        """What is wrong with a plan, by the path of its file, as of the last look."""
        self._ingested = set(ingested)
        self._seen: dict[str, tuple[int, int, int]] = {}

    def pending(self, experiments: list[str]) -> list[KeptPlan]:
        """The plans that the ledger lacks, oldest first. Raises StorageError when a new one cannot be kept."""
        found: list[KeptPlan] = []
        for experiment in experiments:
            mark = _mark(self.results / experiment / "resolved.json")
            if mark is not None and self._seen.get(experiment) == mark:
                continue
            found.extend(self._look(experiment))
            if mark is not None:
                self._seen[experiment] = mark
        return found

    def advance(self, names: list[str]) -> None:
        """Remember that these plans are in the ledger."""
        self._ingested.update(names)

    def forget(self) -> None:
        """Look at every plan again the next time: what was found did not get into the ledger."""
        self._seen.clear()

    def _look(self, experiment: str) -> list[KeptPlan]:
        folder = self.results / experiment / "plans"
        kept = _kept(folder)
        resolved = self.results / experiment / "resolved.json"
        self.problems.pop(f"{experiment}/resolved.json", None)
        try:
            data = resolved.read_bytes()
            if not kept or kept[-1].group(2) != _digest(data):
                _check(data, experiment)
                keep_plan(self.results / experiment, data, time.time())
                kept = _kept(folder)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.problems[f"{experiment}/resolved.json"] = _why(error)
        plans = []
        for match in kept:
            name = f"{experiment}/plans/{match.group()}"
            if name not in self._ingested:
                try:
                    plans.append(_read(self.results / name, name, experiment))
                    self.problems.pop(name, None)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    self.problems[name] = _why(error)
        return plans


def keep_plan(home: Path, data: bytes, ts: float) -> None:
    """Keep the plan with the JSON `data` as the newest of the experiment in the folder `home`, first seen at `ts`.

    Raises StorageError.
    """
    folder = home / "plans"
    kept = _kept(folder)
    number = int(kept[-1].group(1)) + 1 if kept else 1
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
    write_atomic(
        folder / f"{number:04d}-{_digest(data)}.json", f'{{"ts":{ts!r},"plan":'.encode() + data.strip() + b"}\n"
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _kept(folder: Path) -> list[re.Match[str]]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((match for name in names if (match := _KEPT.fullmatch(name))), key=lambda match: int(match.group(1)))


def _check(data: bytes, experiment: str) -> Plan:
    plan = Plan.model_validate_json(data)
    if plan.experiment_id != experiment:
        raise ValueError(f"it is the plan of {plan.experiment_id}; a copied folder is no experiment of its own")
    return plan


def _read(path: Path, name: str, experiment: str) -> KeptPlan:
    data = path.read_bytes()
    content: dict[str, Any] = json.loads(data)
    plan = Plan.model_validate(content["plan"])
    if plan.experiment_id != experiment:
        raise ValueError(f"it is a plan of {plan.experiment_id}")
    return KeptPlan(name, len(data), float(content["ts"]), plan)


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def insert_plan(connection: duckdb.DuckDBPyConnection, kept: KeptPlan) -> list[str]:
    """Make `kept` the current plan of its experiment; returns the ids of its runs. Within the caller's transaction."""
    plan = kept.plan
    connection.execute(
        """
        INSERT INTO experiments VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name,
            question = excluded.question, spec_text = excluded.spec_text, spec_hash = excluded.spec_hash,
            plan_json = excluded.plan_json
        """,
        [
            plan.experiment_id,
            plan.name,
            plan.question,
            plan.spec_text,
            plan.spec_hash,
            plan.model_dump_json(),
            kept.ts,
        ],
    )
    for table in ("arms", "runs"):
        connection.execute(f"UPDATE {table} SET current = false WHERE experiment_id = ?", [plan.experiment_id])
    _insert_arms(connection, plan)
    _insert_runs(connection, plan)
    return [run.run_id for run in plan.runs]


def _insert_arms(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    arms = pa.Table.from_pylist(
        [
            {
                "arm_id": arm.arm_id,
                "experiment_id": plan.experiment_id,
                "position": position,
                "method_name": arm.method_name,
                "family": arm.family,
                "label": arm.label,
                "model_source": arm.model.source,
                "model_revision": arm.model.revision,
                "method_json": json.dumps(arm.method, sort_keys=True),
                "varied_json": json.dumps(arm.varied, sort_keys=True),
                "place": arm.place,
                "current": True,
            }
            for position, arm in enumerate(plan.arms)
        ]
    )
    if arms.num_rows:
        connection.register("arriving", arms)
        connection.execute("INSERT OR REPLACE INTO arms BY NAME SELECT * FROM arriving")
        connection.unregister("arriving")


def _insert_runs(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """The planned runs, waiting until their attempts say otherwise, and the stages that each will pass."""
    runs = [
        {
            "run_id": run.run_id,
            "experiment_id": plan.experiment_id,
            "arm_id": run.arm_id,
            "seed": run.seed,
            "position": position,
            "status": "waiting",
            "config_json": run.model_dump_json(),
            "current": True,
        }
        for position, run in enumerate(plan.runs)
    ]
    if not runs:
        return
    connection.register("arriving", pa.Table.from_pylist(runs))
    connection.execute(
        """
        INSERT INTO runs BY NAME SELECT * FROM arriving ON CONFLICT DO UPDATE SET arm_id = excluded.arm_id,
            seed = excluded.seed, position = excluded.position, config_json = excluded.config_json, current = true
        """
    )
    connection.execute("DELETE FROM planned_stages WHERE run_id IN (SELECT run_id FROM arriving)")
    connection.unregister("arriving")
    stages = [
        {"run_id": run.run_id, "position": position, "kind": stage.kind, "name": stage.name, "key": stage.key}
        for run in plan.runs
        for position, stage in enumerate(run.stages)
    ]
    if stages:
        connection.register("arriving", pa.Table.from_pylist(stages))
        connection.execute("INSERT INTO planned_stages BY NAME SELECT * FROM arriving")
        connection.unregister("arriving")
