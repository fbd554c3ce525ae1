"""Hostile text on its way into markup, markdown and tables."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from ftlab.store.side_by_side import Cell
from ftlab.testing.journals import HOSTILE_TEXTS
from ftlab.ui import cards, parts
from ftlab.ui.diff import MOST_WORDS, word_diff


class Tags(HTMLParser):
    """Collects every tag with its attributes, and the text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_escaped_text_has_no_tag_and_reads_the_same(text: str) -> None:
    found = Tags(f"<p>{parts.escape(text)}</p>")
    assert found.tags == ["p"]
    assert found.text == parts.plain(text)


def test_escaped_text_cannot_leave_an_attribute() -> None:
    found = Tags(f'<a title="{parts.escape(chr(34) + " onmouseover=alert(1) x=" + chr(34))}">x</a>')
    assert [name for name, _ in found.attributes] == ["title"]


@pytest.mark.parametrize(
    "text",
    [
        "**bold** _it_ `code` ~~no~~",
        "[x](javascript:alert(1))",
        "![x](http://example.org/p.png)",
        "$x^2$ $$y$$",
        ":red[alarm] :material/home: :smile:",
        "# head",
        "<b>b</b> &amp;",
        "a -> b <- c",
        "| a | b |",
    ],
)
def test_markdown_labels_show_every_mark_escaped(text: str) -> None:
    safe = parts.safe_markdown(text)
    for index, letter in enumerate(safe):
        if letter.isascii() and not letter.isalnum() and letter not in " \\":
            assert safe[index - 1] == "\\", f"{letter!r} of {safe!r} is not escaped"
    assert safe.replace("\\", "").replace("\u2060", "") == text


def test_markdown_labels_break_up_what_is_found_after_parsing() -> None:
    for text in ("https://example.org", "www.example.org", "a@example.org", ":material/home:", "-->"):
        unescaped = parts.safe_markdown(text).replace("\\", "")
        for mark in ("://", "www.", "@e", ":m", "--", "->"):
            assert mark not in unescaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'=1"),
        ("-2.5", "-2.5"),
        ("lora r=8", "lora r=8"),
    ],
)
def test_table_cells_are_no_formulas(text: str, shown: str) -> None:
    assert parts.safe_cell(text) == shown


def test_long_text_says_how_much_is_cut() -> None:
    assert parts.clip("x" * 5_010, 5_000).endswith("… (10 more characters)")
    assert parts.clip("short", 10) == "short"


def test_nested_settings_become_rows_of_paths() -> None:
    value = {"a": {"b": 1, "c": None}, "d": [1, 2], "e": [{"f": "x"}], "g": []}
    assert parts.flatten(value) == [("a.b", "1"), ("a.c", "–"), ("d", "1, 2"), ("e[0].f", "x"), ("g", "–")]


def test_every_status_has_a_mark_and_words() -> None:
    assert parts.status_words("oom") == "✕ out of memory"
    assert parts.status_words("complete") == "✓ complete"


def test_word_diff_marks_what_changed_and_nothing_else() -> None:
    before, after = word_diff("the left ventricle of the heart", "the right ventricle of the heart")
    assert before == "the <del>left</del> ventricle of the heart"
    assert after == "the <ins>right</ins> ventricle of the heart"


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_word_diff_escapes_what_changed(text: str) -> None:
    common = "one two three four five six seven eight nine ten " * 3
    before, after = word_diff(common + text, common)
    assert set(Tags(before).tags + Tags(after).tags) <= {"del", "ins"}
    assert Tags(before).text == parts.plain(common + text)


def test_word_diff_leaves_two_unlike_answers_unmarked() -> None:
    assert word_diff("Anatomy", "Surgery of the chest") == ("Anatomy", "Surgery of the chest")


def test_word_diff_of_very_long_texts_is_not_tried() -> None:
    before, after = word_diff("a " * MOST_WORDS, "b " + "a " * MOST_WORDS)
    assert "<del>" not in before
    assert "<ins>" not in after


@pytest.mark.parametrize(
    ("cell", "mark"),
    [
        (Cell("Dental", "Dental", 1.0, 2, 0.1, "stop"), "right"),
        (Cell("Dental", "Dental", 0.0, 2, 0.1, "stop"), "wrong"),
        (Cell("a tooth", "a tooth", 0.43, 2, 0.1, "stop"), "graded"),
        (Cell("who knows", None, 0.0, 2, 0.1, "stop"), "invalid"),
        (Cell("Dental", None, None, 2, 0.1, "stop"), "unscored"),
        (None, "absent"),
    ],
)
def test_an_answer_is_judged_in_words(cell: Cell | None, mark: str) -> None:
    answer = cards.answer("lora", cell)
    assert answer.mark == mark
    assert cards.MARKS[mark][1] in cards.case("q", "Dental", [answer])


def test_an_answer_says_how_it_was_read_and_that_it_was_cut() -> None:
    answer = cards.answer("lora", Cell("It is Dental.", "Dental", 1.0, 1, 0.5, "length"))
    assert "read as “Dental”" in answer.meta
    assert "1 token " in answer.meta
    assert "cut at the longest answer" in answer.meta


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_case_holds_hostile_text_as_text(text: str) -> None:
    plain = set(Tags(cards.case("q", "t", [cards.answer("w", Cell("o", "p", 1.0, 1, 0.1, "stop"))], "?a=1")).tags)
    found = Tags(cards.case(text, text, [cards.answer(text, Cell(text, text, 1.0, 1, 0.1, "stop"))], f"?a={text}"))
    assert set(found.tags) == plain
    assert not [name for name, _ in found.attributes if name.startswith("on")]
