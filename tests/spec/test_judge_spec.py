"""What a spec may say of a judge: one who is there, a question that shows both answers, and never a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.errors import SpecError
from ftlab.spec.load import load_spec

SPEC = """
version: 1
name: colours
model: builtin:smollm2-135m-instruct
data: {source: builtin:medical-specialty}
task:
  type: generation
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  metrics: [METRICS]
methods: {zero_shot: {type: prompt}}
decision: {metric: judge}
judge: JUDGE
"""
ENDPOINT = "{endpoint: {url: URL, model: big, api_key: 'KEY'}}"


def load(tmp_path: Path, judge: str, metrics: str = "exact_match") -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("METRICS", metrics).replace("JUDGE", judge))
    load_spec(tmp_path / "spec.yaml")


def endpoint(url: str = "http://localhost:8000/v1", key: str = "${env:KEY}") -> str:
    return ENDPOINT.replace("URL", url).replace("KEY", key, 1)


@pytest.mark.parametrize("judge", ["{model: builtin:smollm2-135m-instruct}", endpoint()])
def test_a_judge_may_decide(judge: str, tmp_path: Path) -> None:
    load(tmp_path, judge)


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("{}", "expected exactly one of 'model' and 'endpoint'"),
        ("{model: builtin:smollm3}", "unknown builtin model 'smollm3'"),
        (endpoint(key="sk-very-secret"), "expected '${env:NAME}', the environment variable that holds the key"),
        (endpoint(url="ftp://host"), "expected an address such as"),
        (endpoint(url="https://me:sk-very-secret@host"), "expected an address without user, password"),
        ("{model: builtin:smollm2-135m-instruct, question: 'Is {{ first }} good?'}", "add {{ second }}"),
        ("null", "expected one of the task's metrics, found 'judge'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(judge: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, judge)
    assert said in str(caught.value)
    assert "spec.yaml:1" in str(caught.value)


def test_a_key_in_the_spec_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    for judge in (endpoint(key="sk-very-secret"), endpoint(url="https://me:sk-very-secret@host")):
        with pytest.raises(SpecError) as caught:
            load(tmp_path, judge)
        assert "sk-very-secret" not in str(caught.value)


def test_the_name_of_the_judges_score_is_taken_and_another_metric_must_find_the_best_prompt(tmp_path: Path) -> None:
    good = "{model: builtin:smollm2-135m-instruct}"
    with pytest.raises(SpecError, match="give this metric another name"):
        load(tmp_path, good, "exact_match, {token_f1: {as: judge}}")
    with pytest.raises(SpecError, match="tells which prompt is the best"):
        load(tmp_path, good, "length_ratio")
