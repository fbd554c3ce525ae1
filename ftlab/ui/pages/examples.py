"""What the arms actually said: the baseline beside up to three arms on the same example."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st

from ftlab.report import format as fmt
from ftlab.store import side_by_side
from ftlab.store.side_by_side import Column, Mode, Question
from ftlab.ui import cards, data, frame, parts, state
from ftlab.ui.frame import Here
from ftlab.ui.pages import rating

PER_PAGE = 20
MOST_ARMS = side_by_side.MAX_COLUMNS - 1
LONGEST_SEARCH = 200
MODES: dict[Mode, str] = {
    "regressed": "Regressed",
    "improved": "Improved",
    "different": "Different",
    "invalid": "Invalid",
    "all": "All",
}
MEANS: dict[Mode, str] = {
    "regressed": "the baseline is right and one of the arms is wrong",
    "improved": "the baseline is wrong and one of the arms is right",
    "different": "one of the arms gives another answer than the baseline",
    "invalid": "no label could be read from one of the outputs",
    "all": "",
}


def draw(here: Here) -> None:
    """Draw the page."""
    view = here.view
    frame.title(view.name, "Examples")
    found = data.read(here.source, side_by_side.columns, [arm.arm_id for arm in view.arms], view.split)
    baseline = here.baseline
    others = [arm.arm_id for arm in view.arms if arm.arm_id in found and not arm.is_baseline]
    if baseline is None or baseline.arm_id not in found:
        parts.empty(
            "No outputs of the baseline yet",
            "Examples are shown beside the best prompting arm; none has finished its predictions.",
            "ftlab status latest",
        )
        return
    arms = _arms(here, others)
    columns = (found[baseline.arm_id], *(found[arm_id] for arm_id in arms))
    question = _question(here, columns)
    if question is None:
        parts.empty("No examples yet", "The data set of this run has not been read into the ledger.", "ftlab rebuild")
        return
    if question.example_id is None and rating.offered(here) and st.toggle("Rate answers", key="rating.on"):
        rating.draw(here, question)
    elif question.example_id is None:
        _list(here, question)
    else:
        _single(here, question, arms)


def _arms(here: Here, others: list[str]) -> list[str]:
    view = here.view
    labels = {arm.arm_id: parts.plain(parts.clip(arm.label, 100)) for arm in view.arms}
    best = [arm.arm_id for arm in view.arms if arm.is_best_of_method and arm.arm_id in others]
    concluded = [view.conclusion.arm_id] if view.conclusion.arm_id in others else []
    default = list(dict.fromkeys([*concluded, *best, *others]))[:1]
    state.seed("arms", state.some_of(others, MOST_ARMS), default)
    picked = st.multiselect(
        f"Beside the baseline, up to {MOST_ARMS} arms",
        others,
        format_func=lambda arm_id: labels[arm_id],
        max_selections=MOST_ARMS,
        key=state.widget_key("arms"),
        placeholder="Choose an arm" if others else "No other arm has outputs yet",
    )
    state.publish("arms", picked)
    return picked


def _question(here: Here, columns: tuple[Column, ...]) -> Question | None:
    """What the URL and the columns ask for, before any filter; None when the examples are not in the snapshot."""
    dataset = data.read(here.source, side_by_side.dataset_key, columns[0].run_id)
    if dataset is None:
        return None
    scores = columns[0].scores
    metric = None if scores is None else data.read(here.source, side_by_side.scored_by, scores, here.view.metric)
    return Question(dataset, here.view.split, columns, metric, example_id=st.query_params.get("example"))


def _filtered(here: Here, question: Question) -> tuple[Question, int]:
    """The question under the reader's filters, and how many examples answer it."""
    search = state.seed("search", state.text_up_to(LONGEST_SEARCH), "")
    question = replace(question, search=search)
    counts = data.read(here.source, side_by_side.count_examples, question)
    telling: list[Mode] = ["regressed", "different", "all"]
    first = next((mode for mode in telling if counts[mode]), "all")
    mode = state.seed("show", state.one_of(list(MODES)), first)
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        st.segmented_control(
            "Show",
            list(MODES),
            format_func=lambda key: f"{MODES[key]} {fmt.count(counts[key])}",
            key=state.widget_key("show"),
            required=True,
            on_change=_to_first_page,
        )
        st.text_input(
            "Find in question, answer or output",
            key=state.widget_key("search"),
            max_chars=LONGEST_SEARCH,
            type="search",
            width=280,
            on_change=_to_first_page,
        )
    state.publish("show", mode)
    state.publish("search", search)
    return replace(question, mode=mode), counts[mode]


def _to_first_page() -> None:
    state.choose("page", 1)


def _list(here: Here, question: Question) -> None:
    question, total = _filtered(here, question)
    page = _page_of(max(1, -(-total // PER_PAGE)))
    first = (page - 1) * PER_PAGE
    last = min(first + PER_PAGE, total)
    shown = f", {fmt.count(first + 1)} to {fmt.count(last)} here" if total > PER_PAGE else ""
    where = f" where {MEANS[question.mode]}" if MEANS[question.mode] else ""
    parts.markup(f'<p class="ft ft-note">{fmt.plural(total, "example")}{where}{shown}.</p>')
    _cases(here, question, first)


def _page_of(pages: int) -> int:
    """Draw the pagination and return the page.

    It takes a page from elsewhere (a link, a new filter) as its default only, so each such page gets a new one.
    """
    page = state.seed("page", state.whole_number(pages), 1)
    if pages > 1:
        turn = st.session_state.get("page.turn", 0) + (st.session_state.get("page.drawn") != page)
        page = st.pagination(pages, default=page, key=f"page.{turn}")
        st.session_state["page.turn"] = turn
    st.session_state["page.drawn"] = page
    state.choose("page", page)
    return page


def _single(here: Here, question: Question, arms: list[str]) -> None:
    parts.markup('<p class="ft ft-note">One example, opened by its link.</p>')
    here.link("examples", "← Back to all examples", arms=arms)
    _cases(here, question, 0)


def _cases(here: Here, question: Question, offset: int) -> None:
    rows = data.read(here.source, side_by_side.find_examples, question, PER_PAGE, offset)
    if not rows:
        _none(question)
        return
    names = _names(here, question.columns)
    arms = [column.arm_id for column in question.columns[1:]]
    for row in rows:
        answers = [cards.answer(name, cell) for name, cell in zip(names, row.cells, strict=True)]
        query = {"experiment": here.view.experiment_id, "arms": arms, "example": row.example_id}
        parts.markup(cards.case(row.text, row.target, answers, "?" + urlencode(query, doseq=True)))


def _names(here: Here, columns: tuple[Column, ...]) -> list[str]:
    names = []
    for column in columns:
        arm = here.arm(column.arm_id)
        label = column.arm_id if arm is None else arm.label
        seed = f", seed {column.seed}" if arm is not None and len(arm.seeds) > 1 else ""
        fold = "" if column.fold is None else f", fold {column.fold}"
        names.append(f"{label}{seed}{fold}{' (baseline)' if arm is not None and arm.is_baseline else ''}")
    return names


def _none(question: Question) -> None:
    if question.example_id:
        parts.empty("No such example", "The link names an example that this data set does not hold.")
    elif question.search:
        parts.empty("Nothing found", "No example fits both the filter and the text; take one of them away.")
    elif len(question.columns) == 1:
        parts.empty("Nothing to compare with", "Choose an arm above to see it beside the baseline.")
    else:
        parts.empty("None", f"There is no example where {MEANS[question.mode]}.")
