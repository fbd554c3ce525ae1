"""The part of the Forgetting page on what happened on the way: benchmarks at points of the training."""

from __future__ import annotations

import streamlit as st

from ftlab.report import format as fmt
from ftlab.report.course import COURSE_NOTE, course_rows, courses
from ftlab.ui import charts, parts
from ftlab.ui.frame import Here


def draw(here: Here) -> None:
    """Draw it, if benchmarks were asked in the course of some training."""
    found = list(courses(here.view))
    if not found:
        return
    parts.heading("On the way", COURSE_NOTE)
    for task in dict.fromkeys(course.task for _, course in found):
        members = [(arm, course) for arm, course in found if course.task == task]
        limit = here.view.forgetting_limits.get(task, here.view.max_forgetting)
        lower = here.view.benchmark_units.get(task) == "nats"
        parts.heading(fmt.task_name(task), level=3)
        st.altair_chart(charts.course(members, limit if lower else -limit), width="stretch")
    columns = [("Method", False), ("Benchmark", False), ("Point", False), ("Change", False)]
    parts.listing("Benchmarks at points of the training", columns, course_rows(here.view))
