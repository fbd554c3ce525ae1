"""What each arm could do before and cannot any more: every benchmark, and the items behind each change."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ftlab.decide.view import ArmView, BenchmarkChange
from ftlab.report import format as fmt
from ftlab.report.terminal import forgetting_note
from ftlab.spec.measures import task_of
from ftlab.store import bench_items
from ftlab.store.bench_items import ItemMode, ItemPair, ItemText
from ftlab.ui import cards, data, frame, parts, state, tables
from ftlab.ui.frame import Here
from ftlab.ui.pages import course, drift

PER_PAGE = 20
MODES: dict[ItemMode, str] = {"lost": "Lost", "gained": "Gained", "both_wrong": "Both wrong", "all": "All"}
LOWER_MODES: dict[ItemMode, str] = {"lost": "Worse", "gained": "Better", "both_wrong": "Both zero", "all": "All"}


def draw(here: Here) -> None:
    """Draw the page."""
    view = here.view
    frame.title(view.name, "Forgetting")
    arms = [arm for arm in view.arms if arm.family != "prompt" and (arm.benchmarks or arm.drift)]
    if not arms:
        why = "The spec names no general benchmark." if not view.benchmarks else "No trained arm has been measured yet."
        parts.empty("Nothing to show yet", f"{why} A prompt leaves the weights as they are, so it forgets nothing.")
        return
    parts.heading("Before and after", forgetting_note(view, fmt.GATE_WORDS))
    parts.markup(tables.forgetting_strip(view, [arm for arm in view.arms if arm.benchmarks]))
    course.draw(here)
    drift.draw(here, arms)
    _items(here, [arm for arm in arms if arm.benchmarks])


def _items(here: Here, arms: list[ArmView]) -> None:
    if not arms:
        return
    parts.heading("Item by item", "The questions behind a change, as the base and the arm answered them.")
    chosen = _chosen(here, arms)
    if chosen is None:
        return
    arm, change = chosen
    task = task_of(change.task)
    after = data.read(here.source, bench_items.benchmark_keys, arm.run_ids[0], task)
    before = data.read(here.source, bench_items.base_key, here.view.experiment_id, arm.run_ids[0], task)
    if before is None or after is None:
        parts.empty("Not measured yet", "The items appear when both the base and this arm have been benchmarked.")
        return
    lower = change.direction == "lower"
    counts = data.read(here.source, bench_items.count_items, before, after, change.metric)
    if lower:
        counts["lost"], counts["gained"] = counts["gained"], counts["lost"]
    names = LOWER_MODES if lower else MODES
    order: list[ItemMode] = ["lost", "gained", "all"]
    mode: ItemMode = state.seed("items", state.one_of(list(names)), next((one for one in order if counts[one]), "all"))
    picked = st.segmented_control(
        "Show",
        list(names),
        format_func=lambda key: f"{names[key]} {fmt.count(counts[key])}",
        key=state.widget_key("items"),
        required=True,
        on_change=_to_first_page,
    )
    mode = picked or mode
    state.publish("items", mode)
    turned: dict[ItemMode, ItemMode] = {"lost": "gained", "gained": "lost"} if lower else {}
    asked = turned.get(mode, mode)
    _list(here, arm, change, (before, after), asked, counts[mode])


def _chosen(here: Here, arms: list[ArmView]) -> tuple[ArmView, BenchmarkChange] | None:
    """The arm and the benchmark that the reader looks at; at first what the conclusion names, where it lost most."""
    labels = {arm.arm_id: parts.plain(parts.clip(arm.label, 100)) for arm in arms}
    concluded = here.view.conclusion.arm_id
    first = concluded if concluded in labels else arms[0].arm_id
    left, right = st.columns(2)
    with left:
        state.seed("forgot", state.one_of(list(labels)), first)
        arm_id = st.selectbox(
            "Trained arm",
            list(labels),
            format_func=lambda key: labels[key],
            key=state.widget_key("forgot"),
            on_change=_to_first_page,
        )
        state.publish("forgot", arm_id)
    arm = next((arm for arm in arms if arm.arm_id == arm_id), arms[0])
    tasks = [change.task for change in arm.benchmarks]
    worst = fmt.worst_benchmark(arm)
    with right:
        state.seed("benchmark", state.one_of(tasks), worst.task if worst else tasks[0])
        task = st.selectbox(
            "Benchmark", tasks, format_func=fmt.task_name, key=state.widget_key("benchmark"), on_change=_to_first_page
        )
        state.publish("benchmark", task)
    return next(((arm, change) for change in arm.benchmarks if change.task == task), None)


def _to_first_page() -> None:
    state.choose("item_page", 1)


def _list(here: Here, arm: ArmView, change: BenchmarkChange, keys: tuple[str, str], mode: ItemMode, total: int) -> None:
    pages = max(1, -(-total // PER_PAGE))
    page = state.seed("item_page", state.whole_number(pages), 1)
    if pages > 1:
        page = st.number_input(f"Page, 1 to {pages}", 1, pages, key=state.widget_key("item_page"))
        state.publish("item_page", page)
    note = f"{fmt.change(change)}; {fmt.lost_gained(change)}"
    seeds = f" Items are those of seed {arm.seeds[0]}." if len(arm.seeds) > 1 else ""
    parts.markup(f'<p class="ft ft-note">{parts.escape(note)}.{seeds}</p>')
    before, after = keys
    offset = (page - 1) * PER_PAGE
    found = data.read(here.source, bench_items.find_items, before, after, change.metric, mode, PER_PAGE, offset)
    if not found:
        parts.empty("None", "There is no such item.")
        return
    wanted = [item.doc_hash for item in found]
    results = Path(here.source.results)
    was = bench_items.item_texts(results, before, change.metric, wanted)
    now = bench_items.item_texts(results, after, change.metric, wanted)
    parts.markup(
        "".join(item_card(item, was.get(item.doc_hash), now.get(item.doc_hash), arm.label, change) for item in found)
    )


def item_card(item: ItemPair, was: ItemText | None, now: ItemText | None, label: str, change: BenchmarkChange) -> str:
    """One item as HTML: the question and its choices, and what the base and the arm made of it."""
    known = was or now
    question = (known.question if known else None) or f"item {item.doc_hash[:12]} (its text is not on this machine)"
    choices = known.choices if known else ()
    listed = "\n".join(f"{place + 1}. {text}" for place, text in enumerate(choices))
    target = _target(known)
    answers = [_answer("base model", item.before, was, change), _answer(label, item.after, now, change)]
    return cards.case(f"{question}\n{listed}" if listed else question, target, answers)


def _target(text: ItemText | None) -> str | None:
    """The right answer: the choice that the target numbers, or the target itself."""
    if text is None or not text.target:
        return None
    if text.choices and text.target.isdecimal() and int(text.target) < len(text.choices):
        return text.choices[int(text.target)]
    return text.target


def _answer(who: str, score: float, text: ItemText | None, change: BenchmarkChange) -> cards.Answer:
    if change.unit != "share":
        return cards.Answer(who, parts.escape(fmt.number(score, change.unit)), "plain", "")
    mark = "right" if score == 1 else "wrong" if score == 0 else "graded"
    if text is None or text.choice is None or text.choice >= len(text.choices):
        return cards.Answer(who, "", mark, "")
    nats = ", ".join(fmt.number(value, "nats") for value in text.logliks)
    return cards.Answer(who, parts.escape(parts.clip(text.choices[text.choice], 300)), mark, f"log-likelihoods {nats}")
