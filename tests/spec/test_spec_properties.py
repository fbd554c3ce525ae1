"""What must hold for any text, any override and any grid."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftlab.errors import SpecError
from ftlab.spec.load import parse_spec
from ftlab.spec.overrides import apply_overrides
from ftlab.spec.space import count_points, points
from ftlab.spec.tree import read_tree

HERE = Path(__file__).parent
NO_FILES = HERE / "spec.yaml"

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

plain_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_characters="\x7f\x85\xad"), max_size=12
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    plain_text.filter(lambda text: not any(0x7F <= ord(char) <= 0x9F for char in text)),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
)
yamlish = st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@`,? \n\t0.1e\\~<\x00\x85\ud800é"), max_size=60)


def check_lines(error: SpecError, text: str) -> None:
    lines = max(1, len(text.splitlines()), text.count("\n") + 1)
    assert error.problems
    for problem in error.problems:
        assert 1 <= problem.line <= lines
        assert problem.column >= 1
        assert problem.message


@QUICK
@given(yamlish)
def test_any_text_is_a_spec_or_a_spec_error_with_lines_in_range(text: str) -> None:
    try:
        parse_spec(text, NO_FILES)
    except SpecError as error:
        check_lines(error, text)


@QUICK
@given(st.data())
def test_a_damaged_spec_is_still_a_spec_error(data: st.DataObject) -> None:
    text = (HERE.parents[1] / "ftlab" / "spec" / "starter.yaml").read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    damaged = text[:start] + data.draw(yamlish) + text[end:]
    try:
        parse_spec(damaged, NO_FILES)
    except SpecError as error:
        check_lines(error, damaged)


@QUICK
@given(
    st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), values, max_size=4),
    st.sampled_from(["methods", "task", "data"]),
)
def test_any_values_in_a_block_are_valid_or_a_spec_error(block: dict[str, object], name: str) -> None:
    spec = {"version": 1, "name": "x", "model": "a/b", "data": {"source": "a/b"}, name: block}
    text = json.dumps(spec, ensure_ascii=False)
    try:
        parse_spec(text, NO_FILES)
    except SpecError as error:
        check_lines(error, text)


@QUICK
@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=4), values)
def test_an_override_says_what_was_written(path: list[str], value: object) -> None:
    tree, _ = read_tree("{}", "f")
    assert tree is not None
    changed, problems = apply_overrides(tree, [f"{'.'.join(path)}={json.dumps(value, ensure_ascii=False)}"])
    assert problems == []
    found = changed.plain()
    for part in path:
        found = found[part]
    assert found == value


@QUICK
@given(
    st.dictionaries(
        st.text("abcd", min_size=1), st.lists(st.integers(), min_size=1, max_size=4, unique=True), max_size=4
    )
)
def test_a_grid_expands_to_the_product(grids: dict[str, list[int]]) -> None:
    fields = {"type": "lora", **{name: {"grid": choices} for name, choices in grids.items() if name != "type"}}
    found = [tuple(sorted(point.items())) for point, _ in points(fields)]
    assert len(found) == len(set(found)) == count_points(fields) == math.prod(map(len, grids.values()))
