"""Metrics of JSON: the contract, what counts as JSON before and after repair, schemas, and fields by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlab.errors import UsageError
from ftlab.evaluate.metrics.base import Answer, Metric
from ftlab.evaluate.metrics.structure import (
    FieldF1,
    FieldOptions,
    FieldPrecision,
    FieldRecall,
    JsonSchema,
    JsonSchemaOptions,
    JsonSchemaRepaired,
    ValidJson,
)
from ftlab.testing.metric_contract import TextMetricContract

SCHEMA = {"type": "object", "required": ["name"], "properties": {"n": {"type": "integer"}}}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def answer(output: str, target: Any = None, index: int = 0) -> Answer:
    return Answer(f"e{index}", output, None, json.dumps(target))


def options(schema: Any = SCHEMA) -> JsonSchemaOptions:
    return JsonSchemaOptions.model_validate({"schema": schema})


class JsonContract(TextMetricContract):
    @pytest.fixture
    def answers(self) -> list[Answer]:
        """Records with a wrong field, a missing one, one too many; broken ones; words."""
        chance = random.Random(0)
        answers = []
        for index in range(60):
            target = {"name": chance.choice("abc"), "n": chance.randrange(3), "tags": ["x", chance.choice("yz")]}
            said: dict[str, Any] = dict(target)
            for change in chance.sample([("n", "many"), ("name", "d"), ("more", 1)], chance.randrange(3)):
                said.update([change])
            text = chance.choice([json.dumps(said), json.dumps(said), json.dumps(said)[:-1], "none", '{"n": "x"}'])
            answers.append(Answer(f"id{index}", text, None, json.dumps(target)))
        return answers


class TestValidJson(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return ValidJson()


class TestJsonSchema(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return JsonSchema(options())


class TestJsonSchemaRepaired(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return JsonSchemaRepaired(options())


class TestFieldPrecision(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return FieldPrecision()


class TestFieldRecall(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return FieldRecall()


class TestFieldF1(JsonContract):
    @pytest.fixture
    def metric(self) -> Metric:
        return FieldF1()


@pytest.mark.parametrize(
    ("text", "valid", "mended"),
    [
        (' {"name": "a"}\n', 1.0, 1.0),
        ("```json\n{\"name\": \"a\"}\n```", 0.0, 1.0),
        ('Here it is: {"name": "a"}', 0.0, 1.0),
        ("{'name': 'a',}", 0.0, 1.0),
        ('{"name": "a"', 0.0, 1.0),
        ('{"name": NaN}', 0.0, 0.0),
        ('{"name": 1e999}', 0.0, 0.0),
        ('{"name": 1, "name": 2}', 0.0, 1.0),
        ("[" * 5000, 0.0, 0.0),
        ('{"name":' * 300 + "1" + "}" * 300, 0.0, 0.0),
        ("no json at all", 0.0, 0.0),
        ("", 0.0, 0.0),
        ("7", 1.0, 0.0),
    ],
)  # fmt: skip
def test_what_counts_as_json(text: str, valid: float, mended: float) -> None:
    assert ValidJson().score(answer(text)) == valid
    assert JsonSchemaRepaired(options()).score(answer(text)) == mended


def test_a_schema_is_kept_before_and_after_repair_apart() -> None:
    strict, repaired = JsonSchema(options()), JsonSchemaRepaired(options())
    texts = ['{"name": "a", "n": 1}', '{"name": "a", "n": "1"}', '{name: "a"}', '{"n": 1}']
    assert [strict.score(answer(text)) for text in texts] == [1.0, 0.0, 0.0, 0.0]
    assert [repaired.score(answer(text)) for text in texts] == [1.0, 0.0, 1.0, 0.0]
    assert repaired.read(answer(texts[2])) == '{"name": "a"}'
    assert strict.read(answer(texts[2])) is None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("nowhere.json", "cannot read '.*nowhere.json': No such file"),
        ("broken.json", "'.*broken.json' is not JSON"),
        ({"type": "objekt"}, "is no JSON Schema: at type, 'objekt' is not valid"),
        ("list.json", "is no JSON Schema: at its top, \\[1\\] is not of type 'object', 'boolean'"),
    ],
)
def test_a_schema_that_is_none_is_told(tmp_path: Path, schema: Any, message: str) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(UsageError, match=message):
        JsonSchema(options(schema), tmp_path)
    found = JsonSchema.check(options(schema), tmp_path)
    assert found is not None
    assert found[0] == "schema"


def test_a_schema_comes_from_a_file_beside_the_spec_and_fetches_nothing(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(SCHEMA))
    metric = JsonSchema(options("record.json"), tmp_path)
    assert metric.score(answer('{"name": 1}')) == 1.0
    assert JsonSchema.content(options("record.json"), tmp_path) == SCHEMA
    far = JsonSchema(options({"$ref": "http://127.0.0.1:9/schema.json"}))
    with pytest.raises(UsageError, match="refers to what is not in it"):
        far.score(answer("{}"))


def test_fields_by_hand() -> None:
    target = {"name": "Ann Lee", "born": {"year": 1990, "month": None}, "tags": ["a", "b"]}
    # Right: year and both tags, whatever their order. Given: name, year, tags, one more: 5. Wanted: 4.
    said = answer('{"tags": ["b", "a"], "born": {"year": 1990.0}, "name": "Ann", "x": false}', target)
    assert FieldPrecision().aggregate([said], []) == pytest.approx(3 / 5)
    assert FieldRecall().aggregate([said], []) == pytest.approx(3 / 4)
    assert FieldF1().aggregate([said], []) == pytest.approx(2 * 3 / 9)
    # Micro: a second example that is no JSON wants 2 more fields and gives none.
    none = answer("no", {"a": 1, "b": 2}, 1)
    assert FieldPrecision().aggregate([said, none], []) == pytest.approx(3 / 5)
    assert FieldRecall().aggregate([said, none], []) == pytest.approx(3 / 6)
    assert FieldPrecision().aggregate([none], []) is None
    assert FieldF1().aggregate([none], []) == 0.0


@pytest.mark.parametrize(
    ("output", "target", "right"),
    [
        ('{"a": " x  y "}', {"a": "x y"}, True),
        ('{"a": "X"}', {"a": "x"}, False),
        ('{"a": 1}', {"a": True}, False),
        ('{"a": "1"}', {"a": 1}, False),
        ('{"a": ["x"]}', {"a": "x"}, False),
        ('{"a": {"*": 1}}', {"a": [1]}, False),
        ('{"a/b": 1}', {"a": {"b": 1}}, False),
        ('{"a": []}', {"a": []}, True),
        ('{"a": 1, "b": null}', {"a": 1}, True),
        ("[1, 1]", [1], False),
    ],
)
def test_what_makes_two_fields_equal(output: str, target: Any, right: bool) -> None:
    assert (FieldF1().aggregate([answer(output, target)], []) == 1.0) is right


def test_fields_can_be_compared_after_repair_and_without_case() -> None:
    loose = FieldF1(FieldOptions(repair=True, ignore_case=True))
    assert loose.aggregate([answer("```\n{'a': 'X'}\n```", {"a": "x"})], []) == 1.0


@settings(deadline=None)
@given(values, values)
def test_fields_of_any_two_values_are_counted(output: Any, target: Any) -> None:
    said = answer(json.dumps(output), target)
    precision, recall, f1 = (metric().aggregate([said], []) for metric in (FieldPrecision, FieldRecall, FieldF1))
    assert all(value is None or 0.0 <= value <= 1.0 for value in (precision, recall, f1))
    if precision and recall:
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    same = FieldF1().aggregate([answer(json.dumps(target), target)], [])
    assert same in (None, 1.0)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("{}[]\":,a1 '\\", max_size=40))
def test_any_text_is_survived(text: str) -> None:
    for metric in (ValidJson(), JsonSchemaRepaired(options()), FieldF1(FieldOptions(repair=True))):
        score = metric.score(answer(text, {"a": 1}))
        assert score is None or 0.0 <= score <= 1.0
        metric.read(answer(text, {"a": 1}))
