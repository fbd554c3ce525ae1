"""What each method's search or grid has tried, in the order in which it ended: read from a snapshot, drawn by the app.

Only arms that are complete have a value here. An arm that was given up or failed is kept apart, with its reason: what
it had measured until then is no result of its values.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import duckdb

from ftlab.decide.sweep_fields import SweepField, sweep_fields
from ftlab.decide.view import ArmView, DecisionView, Estimate
from ftlab.events import Status
from ftlab.search.base import Past, Proposal, Space, State
from ftlab.search.importance import Importance, importances
from ftlab.spec.searches import Dimension, SearchSpec


class Stand(StrEnum):
    """Where an arm stands."""

    COMPLETE = "complete"
    RUNNING = "running"
    WAITING = "waiting"
    PRUNED = "pruned"
    FAILED = "failed"


_STANDS = {
    Status.COMPLETE: Stand.COMPLETE,
    Status.RUNNING: Stand.RUNNING,
    Status.WAITING: Stand.WAITING,
    Status.PRUNED: Stand.PRUNED,
}
"""Every other status is one of failure."""


@dataclass(frozen=True, slots=True)
class SweepArm:
    """One arm."""

    arm_id: str
    run_id: str
    """Its first run."""
    label: str
    values: Mapping[str, Any]
    """By field; without those that a condition left out."""
    stand: Stand
    status: str
    reason: str | None
    estimate: Estimate | None
    """The deciding metric on validation, the mean over its seeds; None unless complete."""
    seeds: int
    order: int | None
    """The how manieth of its method to end, from 1; None for one that has not."""
    seconds: float
    """How long its attempts worked, those of every seed and those that failed too."""

    @property
    def value(self) -> float | None:
        """The estimate without its interval."""
        return None if self.estimate is None else self.estimate.value


@dataclass(frozen=True, slots=True)
class MethodSweep:
    """All arms of one method, in the order of the plan."""

    name: str
    family: str
    searches: tuple[SearchSpec, ...]
    """One for each model; empty for a grid."""
    fields: tuple[SweepField, ...]
    arms: tuple[SweepArm, ...]
    higher: bool
    """Whether more is better."""

    @property
    def counts(self) -> dict[Stand, int]:
        """How many arms stand where; stands without an arm are left out."""
        found = Counter(arm.stand for arm in self.arms)
        return {stand: found[stand] for stand in Stand if found[stand]}

    @property
    def measured(self) -> list[SweepArm]:
        """The arms with a value, in the order in which they ended."""
        return sorted((arm for arm in self.arms if arm.value is not None), key=lambda arm: arm.order or 0)

    @property
    def lost(self) -> list[SweepArm]:
        """The arms that were given up or failed."""
        return [arm for arm in self.arms if arm.stand in (Stand.PRUNED, Stand.FAILED)]

    @property
    def best(self) -> SweepArm | None:
        """The best arm so far; of equal ones the first."""
        sign = 1.0 if self.higher else -1.0
        return max(self.measured, key=lambda arm: sign * (arm.value or 0.0), default=None)

    @property
    def seconds(self) -> float:
        """How long all its arms worked."""
        return sum(arm.seconds for arm in self.arms)

    def history(self) -> list[tuple[SweepArm, float]]:
        """Every measured arm as it ended, with the best value until then."""
        found: list[tuple[SweepArm, float]] = []
        for arm in self.measured:
            value = arm.value or 0.0
            before = found[-1][1] if found else value
            found.append((arm, max(before, value) if self.higher else min(before, value)))
        return found

    def importances(self) -> list[Importance]:
        """Which fields mattered for the deciding metric; empty with too few measured arms. Loads Optuna."""
        dimensions = tuple(sorted((field.dimension for field in self.fields), key=lambda one: bool(one.when)))
        space = Space(dimensions, ("maximize" if self.higher else "minimize",))
        known = {one.field for one in dimensions}
        past = [
            Past(
                Proposal({name: value for name, value in arm.values.items() if name in known}),
                State.COMPLETE,
                (arm.value,),
            )
            for arm in self.measured
            if arm.value is not None
        ]
        return importances(space, past)


def read_sweeps(cursor: duckdb.DuckDBPyConnection, view: DecisionView) -> list[MethodSweep]:
    """The methods of an experiment that have something to vary, in the order of the spec.

    `view` is that of the validation rows.
    """
    record = cursor.execute(
        "SELECT plan_json::JSON->'searches', plan_json::JSON->'race' FROM experiments WHERE experiment_id = ?",
        [view.experiment_id],
    ).fetchone()
    searches, race = (json.loads(part or "null") for part in record) if record else (None, None)
    planned: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for search in searches or []:
        planned[search["arm"]["method_name"]].append(search)
    work = _work(cursor, view.experiment_id, frozenset(race["seeds"][: race["first"]]) if race else None)
    arms: dict[str, list[ArmView]] = defaultdict(list)
    for arm in view.arms:
        arms[arm.method_name].append(arm)
    names = [name for name in arms if name in planned or any(arm.varied for arm in arms[name])]
    names += [name for name in planned if name not in arms]
    return [_method(name, arms[name], planned[name], work, view) for name in names]


@dataclass(frozen=True, slots=True)
class _Work:
    """What the attempts of an arm say."""

    position: int
    complete: bool
    """Whether the seeds that every arm has are all complete: a race for more leaves the arm open, not its result."""
    ended: float | None
    seconds: float


def _work(cursor: duckdb.DuckDBPyConnection, experiment_id: str, seeds: frozenset[int] | None) -> dict[str, _Work]:
    """By arm. An attempt after the first complete one, that of the test rows, ends no arm anew."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for arm_id, *row in cursor.execute(
        """
        SELECT r.arm_id, r.position, r.seed, r.status,
            coalesce(min(a.finished_ts) FILTER (WHERE a.status = 'complete'), max(a.finished_ts)),
            coalesce(sum(a.finished_ts - a.started_ts), 0)
        FROM runs AS r LEFT JOIN attempts AS a ON a.run_id = r.run_id
        WHERE r.experiment_id = ? AND r.current AND r.arm_id IS NOT NULL
        GROUP BY r.arm_id, r.run_id, r.position, r.seed, r.status
        """,
        [experiment_id],
    ).fetchall():
        found[arm_id].append(tuple(row))
    work = {}
    for arm_id, rows in found.items():
        first = [row for row in rows if seeds is None or row[1] in seeds] or rows
        ends = [row[3] for row in first if row[3] is not None]
        work[arm_id] = _Work(
            position=min(row[0] or 0 for row in rows),
            complete=all(row[2] == Status.COMPLETE for row in first),
            ended=max(ends) if len(ends) == len(first) else None,
            seconds=float(sum(max(0.0, row[4]) for row in rows)),
        )
    return work


def _method(
    name: str,
    views: Sequence[ArmView],
    planned: Sequence[Mapping[str, Any]],
    work: Mapping[str, _Work],
    view: DecisionView,
) -> MethodSweep:
    nothing = _Work(0, False, None, 0.0)
    known = sorted(((one, work.get(one.arm_id, nothing)) for one in views), key=lambda pair: pair[1].position)
    ended = sorted(
        (done.ended, place)
        for place, (one, done) in enumerate(known)
        if done.ended is not None and _stand(one, done) not in (Stand.RUNNING, Stand.WAITING)
    )
    orders = {place: order for order, (_, place) in enumerate(ended, 1)}
    family = views[0].family if views else str(planned[0]["arm"]["family"])
    return MethodSweep(
        name=name,
        family=family,
        searches=tuple(SearchSpec.model_validate(one["search"]) for one in planned),
        fields=sweep_fields(
            [one.varied for one in views],
            [Dimension.model_validate(found) for one in planned for found in one["dimensions"]],
        ),
        arms=tuple(_arm(one, done, orders.get(place), view.metric) for place, (one, done) in enumerate(known)),
        higher=view.metric_direction == "higher",
    )


def _stand(arm: ArmView, work: _Work) -> Stand:
    return Stand.COMPLETE if work.complete else _STANDS.get(Status(arm.status), Stand.FAILED)


def _arm(arm: ArmView, work: _Work, order: int | None, metric: str) -> SweepArm:
    stand = _stand(arm, work)
    return SweepArm(
        arm_id=arm.arm_id,
        run_id=arm.run_ids[0],
        label=arm.label,
        values=arm.varied,
        stand=stand,
        status=arm.status,
        reason=arm.reason,
        estimate=arm.metrics.get(metric) if stand is Stand.COMPLETE else None,
        seeds=len(arm.seeds),
        order=order,
        seconds=work.seconds,
    )
