"""YAML text as a tree of plain values with places."""

from __future__ import annotations

import pytest

from ftlab.errors import SpecError
from ftlab.spec.tree import MAX_DEPTH, MAX_NODES, read_tree


def read(text: str) -> object:
    tree, problems = read_tree(text, "f.yaml")
    assert tree is not None
    assert problems == []
    return tree.plain()


def first_problem(text: str) -> str:
    try:
        _, problems = read_tree(text, "f.yaml")
    except SpecError as error:
        problems = list(error.problems)
    return str(problems[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("5", 5),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        (".5", 0.5),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("a b", "a b"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = read(f"key: {text}\n")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)  # type: ignore[index]


def test_every_value_knows_its_place() -> None:
    tree, _ = read_tree("a:\n  b: [1, two]\nc: 3\n", "f.yaml")
    assert tree is not None
    places = {path: str(tree.place_of(path)) for path in [("a",), ("a", "b"), ("a", "b", 1), ("c",)]}
    assert places == {
        ("a",): "f.yaml:2:3",
        ("a", "b"): "f.yaml:2:6",
        ("a", "b", 1): "f.yaml:2:10",
        ("c",): "f.yaml:3:4",
    }
    assert str(tree.place_of(("a", "b"), key=True)) == "f.yaml:2:3"
    assert str(tree.place_of(("a", "missing", "deeper"))) == "f.yaml:1:1"


def test_an_alias_repeats_its_anchor() -> None:
    assert read("a: &x {k: [1]}\nb: *x\n") == {"a": {"k": [1]}, "b": {"k": [1]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1  the key 'a' appears twice; the first one is on line 1"),
        ("a:\n\tb: 1\n", "f.yaml:2:1  found a tab where YAML allows only spaces; indent with spaces"),
        ("a: 'open\n", "f.yaml:1:4  the quote that opens here is never closed"),
        ("a: b: c\n", "f.yaml:1:5  found a second ':' on this line; put text in quotes, or start a new line"),
        ("a: [1, 2\n", "f.yaml:1:9  the text ends where more was expected"),
        ("a: .nan\n", "f.yaml:1:4  a  expected a finite number, found .nan"),
        ("a: [1, -.inf]\n", "f.yaml:1:8  a  expected a finite number, found -.inf"),
        ("a: 1e999\n", "f.yaml:1:4  a  expected a finite number, found 1e999"),
        (f"a: {'9' * 5000}\n", "f.yaml:1:4  a  expected a number that fits into 64 bits"),
        ('a: "\\e[31m"\n', "f.yaml:1:4  a  expected text, found a control character in it"),
        ('a: "\\ud800"\n', "f.yaml:1:4  a  expected text, found a control character in it"),
        ("a: \x00\n", "f.yaml:1:4  found a character that YAML does not allow"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "f.yaml:1:4  a  expected a plain value, found the tag '!!python/object/apply:os.system'; remove the tag",
        ),
        ("a: &x [*x]\n", "f.yaml:1:8  the alias '*x' names no anchor that ends above it"),
        ("a: *nobody\n", "f.yaml:1:4  the alias '*nobody' names no anchor that ends above it"),
        (
            "a: &x {k: 1}\nb: {<<: *x}\n",
            "f.yaml:2:5  b  expected a key, found the merge key '<<', which YAML 1.2 does not have; write the keys out",
        ),
        ("? [a]\n: b\n", "f.yaml:1:3  expected a name as a key, found a list or a mapping"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1  expected one document, found a second one after '---'"),
        ("[" * 100, f"f.yaml:1:{MAX_DEPTH + 1}  expected at most {MAX_DEPTH} levels of nesting"),
    ],
)
def test_what_is_no_plain_yaml_is_one_sentence_with_its_place(text: str, message: str) -> None:
    assert first_problem(text) == message


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert first_problem("\n".join(lines)).endswith(f"expected at most {MAX_NODES:,} values once aliases are expanded")


def test_depth_counts_through_aliases() -> None:
    deep = "[" * 30 + "]" * 30
    assert "once aliases are expanded" in first_problem(f"a: &x {deep}\nb: {'[' * 20}*x{']' * 20}\n")


def test_a_text_beyond_the_size_limit_is_refused() -> None:
    assert first_problem("a: " + "x" * (1 << 20)).endswith("expected at most 1,048,576 bytes")


def test_a_line_that_would_take_minutes_to_scan_is_refused() -> None:
    assert first_problem("a: 1\nb: " + "!" * 200_000) == "f.yaml:2:1  expected lines of at most 100,000 characters"


def test_problems_of_values_come_together() -> None:
    _, problems = read_tree("a: .nan\na: 1\nb: !x 3\n", "f.yaml")
    assert [problem.line for problem in problems] == [1, 2, 3]
