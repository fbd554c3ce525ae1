"""Equal things have equal hashes whatever their spelling; a key changes with what it names and with nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlab.plan import identity
from ftlab.plan.run import DataRef, ModelRef
from ftlab.spec.schema import BenchmarkSpec, DataSpec, TaskSpec

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def respelled(value: Any) -> Any:
    """The same value: keys in the other order, whole numbers as floats, lists as tuples."""
    if isinstance(value, dict):
        return {key: respelled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return tuple(respelled(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(values)
def test_spelling_does_not_count(value: Any) -> None:
    assert identity.canonical_json(value) == identity.canonical_json(respelled(value))
    assert identity.digest(value) == identity.digest(respelled(value))


@given(values)
def test_canonical_json_says_the_value(value: Any) -> None:
    assert json.loads(identity.canonical_json(value)) == value


@given(st.text())
def test_an_experiment_id_is_a_folder_name(name: str) -> None:
    found = identity.experiment_id(name)
    assert 1 <= len(found) <= 64
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert found == identity.experiment_id(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_is_no_value_has_no_hash(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        identity.canonical_json(value)


MODEL = ModelRef(source="org/model", revision="r1", dtype="float32")
METHOD = {"type": "lora", "r": 8, "decode": None, "prompt": None, "checkpoints": 1, "epochs": 2.0}
CHAT = [{"role": "user", "content": "{{ question }}"}]


def weights(**changes: Any) -> str:
    arguments: dict[str, Any] = {"model": MODEL, "dataset": "d", "method": METHOD, "messages": CHAT, "seed": 0}
    return identity.weights_key(**{**arguments, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"model": MODEL.model_copy(update={"revision": "r2"})},
        {"model": MODEL.model_copy(update={"dtype": "bfloat16"})},
        {"dataset": "other"},
        {"method": {**METHOD, "r": 16}},
        {"method": {**METHOD, "type": "full"}},
        {"method": {**METHOD, "on_diverge": "stop"}},
        {"messages": [{"role": "user", "content": "other"}]},
        {"seed": 1},
    ],
)
def test_what_changes_training_changes_the_weights_key(changes: dict[str, Any]) -> None:
    assert weights(**changes) != weights()


@pytest.mark.parametrize(
    "changes",
    [
        {"method": {**METHOD, "decode": "choose"}},
        {"method": {**METHOD, "checkpoints": 5}},
        {"method": {**METHOD, "on_diverge": "warn"}},
        {"method": {**METHOD, "epochs": 2}},
        {"model": MODEL.model_copy(update={"source": "elsewhere", "folder": "/tmp/model"})},
    ],
)
def test_what_does_not_change_training_keeps_the_weights_key(changes: dict[str, Any]) -> None:
    assert weights(**changes) == weights()


def test_fields_that_came_later_rename_no_arm_until_they_are_used() -> None:
    def arm(**fields: Any) -> str:
        return identity.arm_id("e", "lora", MODEL, {**METHOD, **fields}, {})

    assert arm(**identity.ADDED_LATER) == arm()
    assert arm(on_diverge="stop") != arm()


def predictions(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "weights": "w",
        "dataset": "d",
        "split": "validation",
        "messages": CHAT,
        "shots": 0,
        "decode": "generate",
        "max_new_tokens": 8,
        "seed": 0,
    }
    return identity.predictions_key(**{**arguments, **changes})


def test_the_seed_counts_in_predictions_only_where_it_draws_shots() -> None:
    assert predictions(seed=1) == predictions()
    assert predictions(seed=1, shots=4) != predictions(shots=4)


def test_the_longest_answer_counts_only_where_answers_are_generated() -> None:
    assert predictions(max_new_tokens=9) != predictions()
    assert predictions(max_new_tokens=9, decode="choose") == predictions(decode="choose")


def test_a_metric_touches_scores_and_a_prompt_leaves_the_dataset() -> None:
    task = TaskSpec.model_validate({"type": "classification", "prompt": CHAT, "target": "{{ label }}"})
    data = DataRef(spec=DataSpec(source="a/b"), content="c", root="/")
    assert identity.scores_key("p", {"accuracy": "1"}) != identity.scores_key("p", {"accuracy": "2"})
    other = task.model_copy(update={"prompt": [], "metrics": ["accuracy"]})
    assert identity.dataset_key(data, other) == identity.dataset_key(data, task)
    assert identity.dataset_key(data, task.model_copy(update={"labels": ["a"]})) != identity.dataset_key(data, task)


def test_a_benchmark_is_keyed_by_weights_version_and_how_it_is_asked() -> None:
    spec = BenchmarkSpec(tasks=["x"], limit=10)
    keys = {
        identity.benchmark_key("w", "x", "1", spec),
        identity.benchmark_key("w2", "x", "1", spec),
        identity.benchmark_key("w", "y", "1", spec),
        identity.benchmark_key("w", "x", "2", spec),
        identity.benchmark_key("w", "x", "1", spec.model_copy(update={"limit": 20})),
        identity.benchmark_key("w", "x", "1", spec.model_copy(update={"shots": 3})),
        identity.benchmark_key("w", "x", "1", spec.model_copy(update={"chat_template": True})),
    }
    assert len(keys) == 7
    assert identity.benchmark_key("w", "x", "1", spec.model_copy(update={"tasks": ["x", "y"]})) in keys
