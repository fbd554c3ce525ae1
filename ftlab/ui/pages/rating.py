"""The rating mode of the Examples page: answers without names, one example at a time, kept in the rater's own file.

The app is read-only but for this: a click adds one line to `<experiment>/ratings/<rater>.jsonl`. It is offered to
whoever uses the app on this machine, and to whoever has logged in, under the name of the login; an app that is open to
the network without a login, or a folder that cannot be written, has none.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import streamlit as st

from ftlab.errors import FtlabError, UsageError
from ftlab.report import format as fmt
from ftlab.store import ratings as rated
from ftlab.store import side_by_side
from ftlab.store.rating_file import Choice, PairRating, Rating, ScoreRating, append_ratings, now, rater_name
from ftlab.store.ratings import RatingRow
from ftlab.store.side_by_side import Column, Question
from ftlab.ui import cards, data, login, parts
from ftlab.ui.frame import Here
from ftlab.ui.parts import escape

SCORES = {"Good": 1.0, "Acceptable": 0.5, "Bad": 0.0}
_SKIPPED = "rating.skipped"


def offered(here: Here) -> bool:
    """Whether answers can be rated here."""
    folder = Path(here.source.results) / here.view.experiment_id
    return login.may_rate() and os.access(folder, os.W_OK)


def draw(here: Here, question: Question) -> None:
    """Draw the rating mode for the first column, or for the first two beside each other."""
    parts.heading(
        "Rate answers",
        "Answers come without names, in an order of chance. What you say goes to a file of yours in the results.",
    )
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        name = login.logged_in() or st.text_input("Your name", key="rating.name", max_chars=60, width=240)
        kinds = ["Which is better", "How good is one"]
        kind = st.segmented_control("Rate", kinds, default=kinds[0], key="rating.kind", required=True)
    try:
        rater = rater_name(name or "")
    except UsageError:
        parts.empty("Who rates?", "Give a name first: raters are told apart by it.")
        return
    if kind == kinds[0] and len(question.columns) < 2:
        parts.empty("Nothing to compare with", "Choose an arm above: its answers are rated beside the baseline's.")
        return
    columns = question.columns[:2] if kind == kinds[0] else question.columns[-1:]
    _next(here, question, columns, rater)


def _next(here: Here, question: Question, columns: tuple[Column, ...], rater: str) -> None:
    """The next example that this rater has not rated."""
    keys = [column.predictions for column in columns]
    examples, equal = data.read(here.source, rated.rateable, question.dataset, question.split, keys)
    rows = data.read(here.source, rated.latest_ratings, here.view.experiment_id)
    done = {row.example_id for row in rows if _is_of(row, rater, question.split, keys)}
    skipped: set[str] = st.session_state.setdefault(_SKIPPED, set())
    left = [example for example in examples if example not in done]
    note = f"{fmt.count(len(done & set(examples)))} of {fmt.count(len(examples))} rated"
    same = f"; {fmt.count(equal)} have equal answers and need no rating" if equal else ""
    parts.markup(f'<p class="ft ft-note" role="status">{escape(note + same)}.</p>')
    waiting = [example for example in left if example not in skipped] or left
    if not waiting:
        parts.empty("All rated", "Thank you. Choose another arm above, or look at the figures on the Decision page.")
        return
    example = waiting[0]
    one = Question(question.dataset, question.split, columns, question.metric, example_id=example)
    (row,) = data.read(here.source, side_by_side.find_examples, one, 1, 0)
    order = shuffled(rater, example, len(columns))
    answers = [
        cards.Answer(_title(place, len(columns)), _shown(row.cells[index]), "plain", "")
        for place, index in enumerate(order)
    ]
    parts.markup(cards.case(row.text, None, answers))
    _buttons(here, columns, order, rater, question.split, example)


def shuffled(rater: str, example: str, count: int) -> list[int]:
    """In which order the columns are shown: by rater and example, so that coming back changes nothing."""
    turned = hashlib.sha256(f"{rater} {example}".encode("utf-8", "surrogatepass")).digest()[0] % 2
    return list(range(count))[::-1] if turned else list(range(count))


def _is_of(row: RatingRow, rater: str, split: str, keys: list[str]) -> bool:
    found = {row.key_a} if row.key_b is None else {row.key_a, row.key_b}
    return row.rater == rater and row.split == split and found == set(keys) and (row.kind == "pair") == (len(keys) > 1)


def _title(place: int, count: int) -> str:
    return f"Answer {'AB'[place]}" if count > 1 else "Answer"


def _shown(cell: side_by_side.Cell | None) -> str:
    if cell is None or not cell.output.strip():
        return '<span class="ft-muted">(empty)</span>'
    return escape(parts.clip(parts.plain(cell.output)))


def _buttons(here: Here, columns: tuple[Column, ...], order: list[int], rater: str, split: str, example: str) -> None:
    who: dict[str, Any] = {"time": now(), "rater": rater, "split": split, "example_id": example}
    with st.container(horizontal=True, gap="small"):
        if len(columns) == 1:
            one = columns[0]
            for label, score in SCORES.items():
                rating = ScoreRating(**who, arm=one.arm_id, key=one.predictions, score=score)
                st.button(label, key=f"rate.{label}", on_click=_keep, args=(here, rater, rating))
        else:
            first, second = (columns[index] for index in order)
            choices: tuple[tuple[str, Choice], ...] = (("A is better", "a"), ("B is better", "b"), ("Tie", "tie"))
            for label, choice in choices:
                pair = PairRating(
                    arm_a=first.arm_id,
                    arm_b=second.arm_id,
                    key_a=first.predictions,
                    key_b=second.predictions,
                    choice=choice,
                    **who,
                )
                st.button(label, key=f"rate.{choice}", on_click=_keep, args=(here, rater, pair))
        st.button("Skip", key="rate.skip", on_click=_skip, args=(example,))
    if error := st.session_state.pop("rating.error", None):
        st.error(error)


def _keep(here: Here, rater: str, rating: Rating) -> None:
    try:
        append_ratings(Path(here.source.results), here.view.experiment_id, rater, [rating])
    except FtlabError as error:
        st.session_state["rating.error"] = str(error)


def _skip(example: str) -> None:
    st.session_state.setdefault(_SKIPPED, set()).add(example)
