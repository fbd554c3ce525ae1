"""Templates of prompts: what they can say, what they can never do, and few-shot chats."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from ftlab.data.prompts import few_shot_messages, render_messages, render_target, shots_for
from ftlab.data.records import Example
from ftlab.data.templates import MAX_TEXT, render
from ftlab.errors import DataError
from ftlab.spec.schema import Message

FIELDS = {
    "question": "Why?",
    "label": "red",
    "options": ["a", "b"],
    "meta": {"id": 7, "items": "shadowed"},
    "none": None,
}


def user(content: str) -> list[Message]:
    return [Message(role="user", content=content)]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ question }}", "Why?"),
        ("  {{ question }}\n", "  Why?\n"),
        ("{{ labels | join(', ') }}", "blue, red"),
        (
            "{% for o in options %}{{ loop.index }}. {{ o | upper }}{% if not loop.last %}\n{% endif %}{% endfor %}",
            "1. A\n2. B",
        ),
        ("{{ meta.id }} {{ meta['id'] }}", "7 7"),
        ("{{ question.strip().lower() ~ '!' }}", "why?!"),
        ("{{ question | replace('?', '.') }}", "Why."),
        ("{{ options | tojson }}", '["a", "b"]'),
        ("{{ '<b>' | tojson }}{{ '<i>' }}", '"<b>"<i>'),
        ("[{{ none }}]", "[]"),
        ("{{ absent | default('x') }}{{ absent is defined }}", "xFalse"),
        ("{{ 'yes' if label == 'red' else 'no' }}", "yes"),
    ],
)
def test_what_templates_can_say(template: str, expected: str) -> None:
    assert render_messages(user(template), FIELDS, ["blue", "red"])[0]["content"] == expected


def test_roles_are_kept_in_order() -> None:
    chat = [Message(role="system", content="Be brief."), Message(role="user", content="{{ question }}")]
    assert render_messages(chat, FIELDS, []) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]


def test_without_a_list_of_labels_the_name_is_a_column_like_others() -> None:
    assert render_messages(user("{{ labels }}"), {**FIELDS, "labels": "mine"}, [])[0]["content"] == "mine"
    with pytest.raises(DataError, match="there is no column 'labels'"):
        render_messages(user("{{ labels | join(', ') }}"), FIELDS, [])


def test_a_missing_column_is_named_with_the_nearest_and_all() -> None:
    with pytest.raises(DataError) as caught:
        render_messages(user("a {{ qestion }}"), FIELDS, [], place="methods.zero_shot.prompt")
    assert str(caught.value) == (
        "methods.zero_shot.prompt[0]: there is no column 'qestion', did you mean 'question'? "
        "(columns: label, meta, none, options, question)"
    )


@pytest.mark.parametrize(
    "use", ["{% if absent %}{% endif %}", "{{ absent.x }}", "{% for a in absent %}{% endfor %}", "{{ absent ~ 'a' }}"]
)
def test_every_use_of_a_missing_column_is_an_error(use: str) -> None:
    with pytest.raises(DataError, match="no column 'absent'"):
        render(use, FIELDS, "prompt")


def test_a_missing_member_of_a_column_is_an_error() -> None:
    with pytest.raises(DataError, match="has no attribute 'colour'"):
        render("{{ meta.colour }}", FIELDS, "prompt")


@pytest.mark.parametrize("template", ["{{ question", "{% if question %}", "{{ question | nonsense }}", "{{ 1 + }}"])
def test_a_template_that_is_not_valid_is_named_with_its_line(template: str) -> None:
    with pytest.raises(DataError, match=r"prompt: .*; correct it"):
        render(template, FIELDS, "prompt")


HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ question['__class__'] }}",
    "{{ question | attr('__class__') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'base' %}",
    "{% set x = 'a' %}{{ x }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call(x) foo() %}{% endcall %}",
    "{{ 'a' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ range(1000000000) | list }}",
    "{% for a in options recursive %}{{ loop(options) }}{% endfor %}",
    "{% for a in long %}{% for b in long %}{% for c in long %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in long %}{% endfor %}",
    "{% for a in wide %}{{ long }}{% endfor %}",
    "{{ long | replace('a', long) }}",
    "{{ wide | join(long) }}",
    "{{ options.append('c') }}",
    "{{ meta.update({'a': 1}) }}",
    "{{ meta.clear() }}",
    "{{ options.__len__() }}",
    "{{ question.encode() }}",
    "{{ {}[0] }}",
    "{{ 1 + 'a' }}",
    "{{ options | map(attribute='__class__') | join }}",
    "(" * 5000 + "{{ " + "(" * 5000 + " }}",
    "a" * 200_000,
]


@pytest.mark.parametrize("template", HOSTILE, ids=lambda template: template[:40])
def test_a_hostile_template_is_refused_at_once_and_does_nothing(template: str) -> None:
    fields = {**FIELDS, "long": "a" * 20_000, "wide": ["a"] * 9_000}
    started = time.perf_counter()
    with pytest.raises(DataError):
        render(template, fields, "prompt")
    assert time.perf_counter() - started < 2.0
    assert fields["options"] == ["a", "b"]
    assert fields["meta"] == {"id": 7, "items": "shadowed"}


def test_a_column_that_looks_like_a_template_stays_text() -> None:
    assert render("{{ question }}", {"question": "{{ 7 + 7 }}{% raw %}"}, "prompt") == "{{ 7 + 7 }}{% raw %}"


def test_output_is_bounded() -> None:
    text = "a" * MAX_TEXT
    assert render("{{ x }}", {"x": text}, "prompt") == text
    with pytest.raises(DataError, match="more than 1,000,000 characters"):
        render("{{ x }}b", {"x": text}, "prompt")


def test_targets_lose_blanks_at_their_ends() -> None:
    assert render_target(" {{ label }}\n", FIELDS) == "red"
    assert render_target("{{ none }}", FIELDS) == ""


def examples(counts: dict[str, int]) -> list[Example]:
    return [
        Example(f"{label}{index}", 0, "", {"question": f"q {label} {index}", "label": label}, label)
        for label, count in counts.items()
        for index in range(count)
    ]


def test_shots_are_spread_over_the_labels() -> None:
    train = examples({"a": 50, "b": 3, "c": 1})
    assert Counter(shot.target for shot in shots_for(train, ["a", "b", "c"], 5, 0)) == {"a": 2, "b": 2, "c": 1}
    assert len({shot.target for shot in shots_for(train, ["a", "b", "c"], 2, 0)}) == 2


def test_without_labels_shots_have_distinct_targets_while_there_are_any() -> None:
    train = examples({"a": 9, "b": 3, "c": 1})
    assert Counter(shot.target for shot in shots_for(train, [], 3, 0)) == {"a": 1, "b": 1, "c": 1}
    assert shots_for(train[::-1], [], 5, 1) == shots_for(train, [], 5, 1)
    assert len({shots_for(train, [], 1, seed)[0].target for seed in range(40)}) == 3


def test_shots_depend_on_seed_and_rows_alone() -> None:
    train = examples({"a": 9, "b": 9, "c": 9})
    first = shots_for(train, ["a", "b", "c"], 5, 1)
    assert shots_for(train[::-1], ["a", "b", "c"], 5, 1) == first
    assert (
        len({tuple(shot.example_id for shot in shots_for(train, ["a", "b", "c"], 5, seed)) for seed in range(9)}) == 9
    )
    assert {shots_for(train, ["a", "b", "c"], 1, seed)[0].target for seed in range(20)} == {"a", "b", "c"}


def test_more_shots_than_rows_are_refused() -> None:
    with pytest.raises(DataError, match="at most the 3 rows of train, found 4"):
        shots_for(examples({"a": 3}), ["a"], 4, 0)


def test_shots_stand_between_the_system_and_the_last_user_message() -> None:
    chat = [
        Message(role="system", content="One of {{ labels | join('/') }}."),
        Message(role="user", content="Q: {{ question }}"),
    ]
    shots = examples({"a": 1, "b": 1})
    assert few_shot_messages(chat, shots, FIELDS, ["a", "b"]) == [
        {"role": "system", "content": "One of a/b."},
        {"role": "user", "content": "Q: q a 0"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "Q: q b 0"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "Q: Why?"},
    ]
    assert few_shot_messages(chat, [], FIELDS, ["a", "b"]) == render_messages(chat, FIELDS, ["a", "b"])


def test_shots_need_a_user_message() -> None:
    with pytest.raises(DataError, match="last user message, and there is none"):
        few_shot_messages([Message(role="system", content="x")], examples({"a": 1}), FIELDS, ["a"])
