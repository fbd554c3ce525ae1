"""What was forgotten in the course of a training, in words and as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator

from ftlab import text
from ftlab.decide.view import ArmView, Course, CoursePoint, DecisionView
from ftlab.report import format as fmt

COURSE_NOTE = (
    "Change against the base on the same items at points of the training; the intervals hold for each point alone, so "
    "a point that was picked for its value is likely to have been lucky."
)


def courses(view: DecisionView) -> Iterator[tuple[ArmView, Course]]:
    """Of the best arm of every method, each benchmark that was asked in the course of its training."""
    for arm in view.arms:
        if arm.is_best_of_method:
            for course in arm.courses:
                yield arm, course


def course_rows(view: DecisionView) -> list[tuple[str, str, str, str]]:
    """One row for each point: the arm, the benchmark, the point with its step, and the change."""
    return [
        (fmt.label(arm, 60), fmt.task_name(course.task), point_words(course, point), change_words(course, point))
        for arm, course in courses(view)
        for point in course.points
    ]


def course_lines(view: DecisionView) -> list[str]:
    """One line for each arm and benchmark, for a terminal."""
    return [
        f"{fmt.label(arm, 60)}, {fmt.task_name(course.task)}: "
        + "; ".join(f"{change_words(course, point)} at {point_words(course, point)}" for point in course.points)
        for arm, course in courses(view)
    ]


def point_words(course: Course, point: CoursePoint) -> str:
    """`25%, step 12`; the result is marked."""
    words = f"{point.point}, step {text.count(point.step)}"
    return f"{words} (the result)" if point.point == course.result else words


def change_words(course: Course, point: CoursePoint) -> str:
    """`−1.0 points (95% CI −3.0 to +1.0)`."""
    found = point.change
    return text.difference(found.value, found.low, found.high, course.unit, found.confidence)
