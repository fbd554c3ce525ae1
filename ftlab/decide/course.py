"""What an arm had forgotten at points of its training: the same paired differences as of its result, point by point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import duckdb

from ftlab.decide.costs import Summaries
from ftlab.decide.facts import ArmFacts, Facts
from ftlab.decide.gates import raw_change
from ftlab.decide.view import ArmView, BenchmarkChange, Course, CoursePoint, Estimate
from ftlab.spec.measures import measure_name

Stored = Mapping[tuple[str, str], Mapping[str, Estimate]]
"""Differences by arm and measure, and within these by point."""


def with_courses(
    cursor: duckdb.DuckDBPyConnection, facts: Facts, views: Sequence[ArmView], summaries: Summaries
) -> list[ArmView]:
    """The arms, those with benchmarks in the course of their training with what these came to."""
    if not facts.course:
        return list(views)
    stored = _stored(cursor, facts)
    by_id = {arm.arm_id: arm for arm in facts.arms}
    return [
        view.model_copy(update={"courses": _courses(view, by_id[view.arm_id], stored, summaries)}) for view in views
    ]


def _stored(cursor: duckdb.DuckDBPyConnection, facts: Facts) -> Stored:
    rows = cursor.execute(
        "SELECT arm_id, task, metric, split, estimate, low, high, n, method FROM comparisons "
        "WHERE experiment_id = ? AND kind = 'course' AND estimate IS NOT NULL",
        [facts.experiment_id],
    ).fetchall()
    found: dict[tuple[str, str], dict[str, Estimate]] = {}
    for arm_id, task, metric, point, value, low, high, n, method in rows:
        estimate = Estimate(value=value, low=low, high=high, n=n, method=method, confidence=1 - facts.alpha)
        found.setdefault((arm_id, measure_name(task, metric)), {})[point] = estimate
    return found


def _courses(view: ArmView, arm: ArmFacts, stored: Stored, summaries: Summaries) -> list[Course]:
    steps = _steps(arm, summaries)
    result = str(arm.method.get("keep", ""))
    found = []
    for change in view.benchmarks:
        points = {
            **{point: _turned(change, one) for point, one in stored.get((arm.arm_id, change.task), {}).items()},
            result: raw_change(change.direction, change.difference),
        }
        known = [
            CoursePoint(point=point, step=steps[point], change=one) for point, one in points.items() if point in steps
        ]
        if len(known) > 1:
            ordered = sorted(known, key=lambda one: (one.step, one.point == result))
            found.append(Course(task=change.task, unit=change.unit, result=result, points=ordered))
    return found


def _turned(change: BenchmarkChange, difference: Estimate) -> Estimate:
    """A difference as the measure itself moved."""
    return raw_change(change.direction, change.difference.model_copy(update={"estimate": difference}))


def _steps(arm: ArmFacts, summaries: Summaries) -> dict[str, float]:
    """The optimizer steps before each point, the mean over the arm's runs that have it."""
    told = [
        summaries[stage].get("points") or {} for key in arm.keys("weights") if (stage := ("weights", key)) in summaries
    ]
    points = dict.fromkeys(point for one in told for point in one)
    return {point: fmean(float(one[point]["step"]) for one in told if point in one) for point in points}
