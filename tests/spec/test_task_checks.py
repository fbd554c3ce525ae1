"""What a task may say: metrics that fit its type, with options that fit them, and no labels where there are none."""

from __future__ import annotations

import pathlib

import pytest

from ftlab.errors import Problem, SpecError
from ftlab.spec.load import LoadedSpec, parse_spec

TEXT = """\
version: 1
name: small
model: builtin:smollm2-135m-instruct
data: {source: rows.csv}
task:
  type: generation
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  metrics: METRICS
methods:
  zero_shot: {type: prompt}
"""
DEFAULT = TEXT.replace("  metrics: METRICS\n", "")


def load(text: str, root: pathlib.Path, metrics: str = "[exact_match]") -> LoadedSpec:
    return parse_spec(text.replace("METRICS", metrics), root / "spec.yaml")


def problems_of(text: str, root: pathlib.Path, metrics: str = "[exact_match]") -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(text, root, metrics)
    return [told(problem) for problem in caught.value.problems]


def told(problem: Problem) -> str:
    return f"{problem.line}:{problem.column} {problem.path}: {problem.message}"


@pytest.mark.parametrize("kind", ["classification", "generation", "extraction"])
def test_each_type_has_metrics_and_a_metric_that_decides(root: pathlib.Path, kind: str) -> None:
    spec = load(DEFAULT.replace("generation", kind), root).spec
    assert spec.task.metrics
    assert spec.decision.metric == spec.task.metrics[0]


def test_the_first_metric_decides_unless_another_is_named(root: pathlib.Path) -> None:
    listed = "[token_f1, {exact_match: {normalize: true, as: same_words}}]"
    assert load(TEXT, root, listed).spec.decision.metric == "token_f1"
    text = TEXT + "decision: {metric: same_words, min_gain: 0.1}\n"
    decision = load(text, root, listed).spec.decision
    assert (decision.metric, decision.min_gain) == ("same_words", 0.1)
    assert load(TEXT + "decision: {min_gain: 0.1}\n", root, listed).spec.decision.metric == "token_f1"


def test_an_unknown_type_is_one_mistake(root: pathlib.Path) -> None:
    (problem,) = problems_of(TEXT.replace("type: generation", "type: generatoin"), root)
    assert problem.startswith("6:9 task.type: expected 'classification', 'generation' or 'extraction', found 'generat")
    assert problem.endswith("did you mean 'generation'?")


BAD = [
    (
        "[accuracy]",
        "9:13 task.metrics.0: 'accuracy' is a metric for classification, and this task is of type generation",
    ),
    ("[exact_mach]", "9:13 task.metrics.0: unknown metric 'exact_mach', did you mean 'exact_match'? (known: "),
    ("[{exact_mach: {}}]", "9:13 task.metrics.0: unknown metric 'exact_mach', did you mean 'exact_match'? (known: "),
    (
        "[exact_match, exact_match]",
        "9:26 task.metrics.1: expected each metric once, found 'exact_match' again; give one of them another name",
    ),
    (
        "[{exact_match: {normalise: true}}]",
        "9:28 task.metrics.0.exact_match.normalise: unknown key 'normalise', did you mean 'normalize'?",
    ),
    (
        "[{exact_match: {normalize: 1}}]",
        "9:39 task.metrics.0.exact_match.normalize: expected true or false, found 1",
    ),
    ("[{exact_match: {as: ../x}}]", "9:32 task.metrics.0.exact_match.as: expected a name of letters, digits"),
    ("[exact_match: {}, 3]", "9:30 task.metrics.1: expected text or a mapping, found 3"),
    (
        "[{exact_match: {}, token_f1: {}}]",
        "9:13 task.metrics.0: expected one metric with its options, such as {regex:",
    ),
    ("[regex]", "9:13 task.metrics.0: 'pattern' is missing"),
    ("[{regex: {}}]", "9:14 task.metrics.0.regex: 'pattern' is missing"),
    ("[{regex: {pattern: '(a'}}]", "9:31 task.metrics.0.regex.pattern: expected a regular expression, found one that"),
    (
        "[{json_schema: {schema: {}, file: a}}]",
        "9:40 task.metrics.0.json_schema.file: unknown key 'file' (known: schema)",
    ),
    ("[{json_schema: {schema: a.json}}]", "9:36 task.metrics.0.json_schema.schema: cannot read '"),
    ("[{json_schema: {schema: {type: a}}}]", "9:36 task.metrics.0.json_schema.schema: is no JSON Schema: at type"),
    ("[field_f1]", "9:13 task.metrics.0: 'field_f1' is a metric for extraction, and this task is of type generation"),
    ("[{numeric: {tolerance: -1}}]", "9:35 task.metrics.0.numeric.tolerance: expected a number of at least 0, found"),
    ("[length_ratio]", "9:12 decision.metric: expected a metric that says which output is better; 'length_ratio' only"),
    ("[nowhere:polite]", "9:13 task.metrics.0: there is no module 'nowhere' in "),
    ("[broken:polite]", "9:13 task.metrics.0: "),
    ("[scores:polit]", "9:13 task.metrics.0: there is no function 'polit' in "),
    ("[scores:odd]", "9:13 task.metrics.0: "),
    ("['scores:1']", "9:13 task.metrics.0: expected 'module:function', found 'scores:1'"),
    ("['os:system']", "9:13 task.metrics.0: there is no module 'os' in "),
    ("['json.decoder:nothing']", "9:13 task.metrics.0: there is no function 'nothing' in "),
    ("['builtins:eval']", "9:13 task.metrics.0: there is no module 'builtins' in "),
    ("[{scores:polite: {unit: percent}}]", "9:36 task.metrics.0.scores:polite.unit: expected 'share', 'ratio'"),
]


@pytest.fixture
def scores(root: pathlib.Path) -> pathlib.Path:
    """A module beside the spec that must never run while a spec is checked."""
    text = "open('ran', 'w')\ndef polite(output, *, row=None): return 1\ndef odd(output, temperature): return 1\n"
    (root / "scores.py").write_text(text)
    (root / "broken.py").write_text("def polite(:")
    return root


@pytest.mark.parametrize(("metrics", "message"), BAD)
def test_a_metric_that_does_not_fit_is_told_with_its_place(scores: pathlib.Path, metrics: str, message: str) -> None:
    problem, *others = problems_of(TEXT, scores, metrics)
    assert problem.startswith(message)
    assert others == []


def test_what_is_wrong_with_a_function_is_told_with_its_line(scores: pathlib.Path) -> None:
    assert "broken.py, line 1: cannot be read as Python" in problems_of(TEXT, scores, "[broken:polite]")[0]
    (problem,) = problems_of(TEXT, scores, "[scores:odd]")
    assert problem.endswith(
        "scores.py, line 3: 'odd' takes 'temperature'; a metric's function takes some of: output, target, row"
    )


def test_checking_a_function_runs_nothing(scores: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scores)
    loaded = load(TEXT, scores, "[exact_match, scores:polite, {scores:polite: {as: rude, direction: lower}}]")
    assert not (scores / "ran").exists()
    assert loaded.spec.decision.metric == "exact_match"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  target", "  labels: [a, b]\n  target", "8:11 task.labels: a task of type generation has no labels; remove"),
        ("  target", "  decode: choose\n  target", "8:11 task.decode: 'choose' ranks labels, and a task of type gen"),
        ("type: prompt}", "type: prompt, decode: choose}", "11:37 methods.zero_shot.decode: 'choose' ranks labels"),
        (
            "type: prompt}",
            "type: prompt, decode: {grid: [generate, choose]}}",
            "11:55 methods.zero_shot.decode.grid.1: 'choose' ranks labels",
        ),
        (
            "type: prompt}",
            "type: prompt, variants: [{decode: choose}]}",
            "11:49 methods.zero_shot.variants.0.decode: 'choose' ranks labels",
        ),
        ("rows.csv}", "rows.csv, splits: {stratify: true}}", "4:45 data.splits.stratify: keeps the shares of labels"),
        (
            "methods:",
            "decision: {min_valid_format: 0.9}\nmethods:",
            "10:30 decision.min_valid_format: needs the metric 'valid_format' in task.metrics; for free text",
        ),
    ],
)
def test_what_belongs_to_labels_is_refused(root: pathlib.Path, old: str, new: str, message: str) -> None:
    (problem,) = problems_of(TEXT.replace(old, new, 1), root)
    assert problem.startswith(message)


def test_stratify_left_alone_is_nobodys_mistake(root: pathlib.Path) -> None:
    load(TEXT.replace("rows.csv}", "rows.csv, splits: {stratify: false}}"), root)
