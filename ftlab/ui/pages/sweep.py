"""What each method's search or grid has tried: how far it is, what was best, which fields mattered. Follows a sweep."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from ftlab.decide.facts import VALIDATION
from ftlab.decide.pairwise import Group, Pairwise, pairwise
from ftlab.decide.sweep import MethodSweep, Stand, read_sweeps
from ftlab.decide.view import DecisionView
from ftlab.report import format as fmt
from ftlab.search.importance import MIN_ARMS, Importance
from ftlab.ui import data, frame, parts, state, theme
from ftlab.ui import sweep_charts as charts
from ftlab.ui.data import Source
from ftlab.ui.frame import Here
from ftlab.ui.pages import sweep_tables

NOW_SHOWN = 8
"""Arms that run now and are named."""


def draw(here: Here) -> None:
    """Draw the page. A sweep is judged on the validation rows, also once the test rows were opened."""
    view = here.view
    frame.title(view.name, "Sweep")
    frame.progress(view)
    judged = view if view.split == VALIDATION else data.view(here.source, view.experiment_id, VALIDATION)
    sweeps = _sweeps(here.source, view.experiment_id)
    if not sweeps:
        parts.empty(
            "Nothing varies",
            "No method of this experiment has a field with several values. Give one a grid or a range to search.",
            "ftlab init",
        )
        return
    sweep = _chosen(sweeps)
    _standing(sweep, judged)
    if not sweep.measured:
        ended = f"{len(sweep.lost)} ended without a result" if sweep.lost else "the first has still to end"
        parts.empty("No arm has a result yet", f"{fmt.plural(len(sweep.arms), 'arm')} so far; {ended}.")
    else:
        _history(sweep, judged)
        mattered = _mattered(_facts(sweep), sweep)
        _importance(sweep, judged, mattered)
        _slices(sweep, judged)
        _parallel(sweep, judged)
        _together(sweep, judged, mattered)
        sweep_tables.measured(sweep, judged)
    sweep_tables.lost(sweep)
    here.link("runs", f"Every run of {sweep.name} →", method=sweep.name)


@st.cache_resource(max_entries=8, show_spinner=False)
def _sweeps(source: Source, experiment_id: str) -> list[MethodSweep]:
    return data.read(source, read_sweeps, data.view(source, experiment_id, VALIDATION))


@st.cache_data(max_entries=64, show_spinner=False)
def _mattered(facts: str, _sweep: MethodSweep) -> list[Importance]:
    """`facts` is all that the answer depends on: most snapshots of a running sweep have no new result."""
    return _sweep.importances()


def _facts(sweep: MethodSweep) -> str:
    fields = [field.dimension.model_dump(mode="json") for field in sweep.fields]
    return json.dumps([sweep.higher, fields, [[dict(arm.values), arm.value] for arm in sweep.measured]])


def _chosen(sweeps: Sequence[MethodSweep]) -> MethodSweep:
    names = [sweep.name for sweep in sweeps]
    largest = max(sweeps, key=lambda sweep: len(sweep.arms)).name
    name = state.seed("swept", state.one_of(names), largest)
    if len(names) > 1:
        name = st.selectbox("Method", names, format_func=parts.plain, key=state.widget_key("swept")) or name
    state.publish("swept", name)
    return next(sweep for sweep in sweeps if sweep.name == name)


def _standing(sweep: MethodSweep, view: DecisionView) -> None:
    """What runs, what waits, what was lost; the best so far; what it took."""
    chips = [("arms", str(len(sweep.arms)))]
    chips += [(parts.status_words(stand), str(count)) for stand, count in sweep.counts.items()]
    chips.append(("spent", _spent(sweep, view)))
    chips += [("search", _told(sweep, place)) for place in range(len(sweep.searches[:1]))]
    parts.chips(chips)
    running = [arm.label for arm in sweep.arms if arm.stand is Stand.RUNNING]
    if running:
        named = ", ".join(parts.clip(label, 80) for label in running[:NOW_SHOWN])
        more = f" and {len(running) - NOW_SHOWN} more" if len(running) > NOW_SHOWN else ""
        parts.markup(f'<p class="ft"><b>Now:</b> {parts.escape(named + more)}</p>')
    if (best := sweep.best) is not None:
        chosen = f" It is the best of {len(sweep.measured)}, which flatters it." if len(sweep.measured) > 1 else ""
        found = fmt.estimate(best.estimate, view.metric_unit)
        parts.markup(
            f'<p class="ft"><b>Best so far:</b> {parts.escape(parts.clip(best.label, 160))}, '
            f"{parts.escape(fmt.metric_name(view.metric))} {parts.escape(found)} on validation, "
            f"with its {fmt.level(view.confidence)} interval."
            f'<span class="ft-muted">{chosen}</span></p>'
        )
    aims = list(dict.fromkeys(aim for search in sweep.searches for aim in search.objectives))
    if len(aims) > 1:
        parts.markup(
            f'<p class="ft ft-note">This search aims at {parts.escape(", ".join(aims))}; this page orders by the '
            "deciding metric alone. <code>ftlab status</code> lists the arms that none beats in all of them.</p>"
        )


def _spent(sweep: MethodSweep, view: DecisionView) -> str:
    """The time of all attempts, in money too where the spec has a price for it."""
    hour = view.prices.machine_hour
    money = "" if hour is None else f", {fmt.money(sweep.seconds / 3600 * hour, view.prices.currency)}"
    return f"{fmt.duration(sweep.seconds)} of computing{money}"


def _told(sweep: MethodSweep, place: int) -> str:
    search = sweep.searches[place]
    ends = [f"up to {fmt.plural(search.arms, 'arm')}"] if search.arms is not None else []
    ends += [f"{search.budget_hours:g} h"] if search.budget_hours is not None else []
    pruner = [] if search.pruning.type == "none" else [search.pruning.type]
    each = " for each model" if len(sweep.searches) > 1 else ""
    return ", ".join([search.sampler, *pruner, *ends]) + each


def _history(sweep: MethodSweep, view: DecisionView) -> None:
    parts.heading(
        "History", "Arms in the order in which they ended. The line is the best until then; a cross has no result."
    )
    st.altair_chart(
        charts.history(sweep, view),
        alt=f"{view.metric} of {fmt.plural(len(sweep.measured), 'arm')} of {sweep.name} in the order in which they "
        "ended, with the best so far. The table below has the same figures.",
    )


def _importance(sweep: MethodSweep, view: DecisionView, found: Sequence[Importance]) -> None:
    rests = f"Rests on {fmt.plural(len(sweep.measured), 'measured arm')}"
    if not sweep.fields:
        return
    if not found:
        parts.heading("What mattered", f"Too few arms: it takes {MIN_ARMS} with a result. {rests}.")
        return
    parts.heading(
        "What mattered",
        "How differently the best third of the arms is spread over a field than all arms, as a share of all fields "
        f"(Optuna's PED-ANOVA). {rests}. Some field always comes out first: "
        "trust only what stands out from the same results dealt out to the arms at random.",
    )
    parts.listing(
        f"Importance of each field of {sweep.name} for {view.metric}",
        [("Field", False), ("Share", True), ("Beyond chance", False)],
        [
            (
                one.field,
                fmt.number(one.share, digits=0),
                f"{'yes' if one.beyond_chance else 'not shown'} ({fmt.p_value(one.p)})",
            )
            for one in found
        ],
    )


def _slices(sweep: MethodSweep, view: DecisionView) -> None:
    shown = [field for field in sweep.fields if any(field.name in arm.values for arm in sweep.measured)]
    if len(sweep.measured) < 2 or not shown:
        return
    parts.heading("Field by field", "Every measured arm along one field; a cross at the foot has no result.")
    for start in range(0, len(shown), 2):
        for place, field in zip(st.columns(2, gap="large"), shown[start : start + 2], strict=False):
            with place:
                st.altair_chart(
                    charts.slice_of(sweep, field, view),
                    alt=f"{view.metric} of the arms of {sweep.name} by {field.name}",
                )


def _parallel(sweep: MethodSweep, view: DecisionView) -> None:
    if len(sweep.measured) < 2 or not sweep.fields:
        return
    left = len(sweep.fields) - charts.MOST_AXES
    more = f" The first {charts.MOST_AXES} fields; {left} more are in the table." if left > 0 else ""
    kind = st.context.theme.type
    parts.heading("All fields at once", f"Each line is one measured arm, from blue (worst) to orange (best).{more}")
    st.altair_chart(
        charts.parallel(sweep, view, theme.text_color(kind), theme.ground_color(kind)),
        alt=f"Parallel coordinates of {fmt.plural(len(sweep.measured), 'arm')} of {sweep.name}: an axis for each field "
        f"and one for {view.metric}. The table below has the same figures.",
    )


def _together(sweep: MethodSweep, view: DecisionView, mattered: Sequence[Importance]) -> None:
    """Two fields at a time, at first the two that mattered most."""
    by_name = {field.name: field for field in sweep.fields if any(field.name in arm.values for arm in sweep.measured)}
    order = [one.field for one in mattered if one.field in by_name]
    names = list(dict.fromkeys([*order, *by_name]))
    if len(sweep.measured) < 2 or len(names) < 2:
        return
    parts.heading(
        "Two fields together",
        "Every measured arm where two fields put it, and plain means over their halves: no model, and no test.",
    )
    left, right = st.columns(2)
    with left:
        across = _field("Across", "across", names, names[0])
    rest = [name for name in names if name != across]
    with right:
        up = _field("Up", "up", rest, rest[0])
    st.altair_chart(
        charts.together(sweep, by_name[across], by_name[up], view),
        alt=f"{view.metric} of the arms of {sweep.name} by {across} and {up}. The tables below have the same figures.",
    )
    found = pairwise(sweep, by_name[up], by_name[across])
    if found is not None:
        _means(found, up, across, view)


def _field(label: str, name: str, options: list[str], first: str) -> str:
    state.seed(name, state.one_of(options), first)
    picked = st.selectbox(label, options, format_func=parts.plain, key=state.widget_key(name)) or first
    state.publish(name, picked)
    return picked


def _means(found: Pairwise, up: str, across: str, view: DecisionView) -> None:
    parts.listing(
        f"Mean {view.metric} by {up} and {across}",
        [("", False), *((_group(across, one), True) for one in found.columns)],
        [
            (
                _group(up, one),
                *(f"{fmt.number(cell.mean, view.metric_unit)} ({fmt.plural(cell.arms, 'arm')})" for cell in cells),
            )
            for one, cells in zip(found.rows, found.cells, strict=True)
        ],
    )
    if found.interaction is not None:
        more = fmt.signed(found.interaction, view.metric_unit)
        step = f"from {_group(across, found.columns[0])} to {_group(across, found.columns[1])}"
        said = (
            f"Interaction: going {step} brings {more} beside {_group(up, found.rows[1])}, compared with what it brings "
            f"beside {_group(up, found.rows[0])}."
        )
        parts.markup(f'<p class="ft ft-note">{parts.escape(said)}</p>')


def _group(field: str, group: Group) -> str:
    name = parts.clip(field, 60)
    if group.up_to is not None:
        return f"{name} ≤ {charts.show_value(group.up_to)}"
    if group.over is not None:
        return f"{name} > {charts.show_value(group.over)}"
    return f"{name} = {charts.show_value(group.value)}"
