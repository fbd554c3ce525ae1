"""Reading a spec: what is right loads, what is wrong is told at once, each mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.errors import Problem, SpecError
from ftlab.spec.load import LoadedSpec, load_spec, parse_spec


def load(text: str, root: Path, *overrides: str) -> LoadedSpec:
    return parse_spec(text, root / "spec.yaml", overrides)


def problems_of(text: str, root: Path, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        load(text, root, *overrides)
    return caught.value.problems


def told(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.path}: {problem.message}" for problem in problems]


def test_a_small_spec_loads_with_its_defaults(minimal: str, root: Path) -> None:
    loaded = load(minimal, root)
    assert loaded.spec.seeds == [0]
    assert loaded.spec.decision.metric == "accuracy"
    assert [arm.name for arm in loaded.arms] == ["zero_shot"]
    assert loaded.arms[0].place == f"{root / 'spec.yaml'}:11:3"
    assert loaded.root == root


METHOD = "  zero_shot: {type: prompt}\n"

BAD = [
    ("unknown key", ("name: small", "nam: small"), ["2:1 nam: unknown key 'nam', did you mean 'name'?"]),
    ("unknown key in a block", ("data: {", "data: {sorce: x, "), ["did you mean 'source'?"]),
    ("wrong type", ("name: small", "name: [small]"), ["2:7 name: expected text, found a list"]),
    ("a number where text belongs", ("name: small", "name: 5"), ["2:7 name: expected text, found 5"]),
    ("a bad name", ("name: small", "name: ../etc"), ["2:7 name: expected lower-case letters, digits, - and _"]),
    ("missing key", ("name: small\n", ""), ["1:1 : 'name' is missing"]),
    ("missing file", ("rows.csv", "rows.jsonl"), ["4:16 data.source: no such file: 'rows.jsonl'"]),
    ("a file of no known kind", ("rows.csv", "./rows.txt"), ["4:16 data.source: expected a file that ends in one of"]),
    ("unknown builtin data", ("rows.csv", "builtin:medical"), ["4:16 data.source: unknown builtin data set 'medical'"]),
    (
        "missing model folder",
        ("builtin:smollm2-135m-instruct", "./nowhere"),
        ["3:8 model: no such folder: './nowhere'"],
    ),
    (
        "unknown builtin model",
        ("builtin:smollm2-135m-instruct", "builtin:smollm2-135m-instuct"),
        ["3:8 model: unknown builtin model 'smollm2-135m-instuct', did you mean 'smollm2-135m-instruct'?"],
    ),
    (
        "unknown method type",
        ("type: prompt", "type: promt"),
        ["11:21 methods.zero_shot.type: unknown method type 'promt', did you mean 'prompt'?"],
    ),
    ("a method without a type", ("{type: prompt}", "{shots: 3}"), ["11:3 methods.zero_shot: 'type' is missing"]),
    ("a method that is no mapping", ("{type: prompt}", "prompt"), ["11:14 methods.zero_shot: expected a mapping"]),
    (
        "a method name that is no name",
        ("zero_shot:", "Zero Shot:"),
        ["11:3 methods.Zero Shot: expected lower-case letters"],
    ),
    (
        "unknown metric",
        (METHOD, METHOD + "task2: 0\n"),
        ["12:1 task2: unknown key 'task2', did you mean 'task'?"],
    ),
    (
        "unknown metric name",
        ('target: "{{ label }}"', 'target: "{{ label }}"\n  metrics: [acuracy, accuracy]'),
        ["10:13 task.metrics.0: unknown metric 'acuracy', did you mean 'accuracy'?"],
    ),
    (
        "a metric twice",
        ('target: "{{ label }}"', 'target: "{{ label }}"\n  metrics: [accuracy, accuracy]'),
        ["10:23 task.metrics.1: expected each metric once, found 'accuracy' again"],
    ),
    (
        "labels twice",
        ('target: "{{ label }}"', 'target: "{{ label }}"\n  labels: [a, b, a]'),
        ["10:18 task.labels.2: expected each label once, found 'a' again"],
    ),
    (
        "unknown benchmark",
        (METHOD, METHOD + "benchmarks: {tasks: [builtin:piga, hellaswag]}\n"),
        ["12:22 benchmarks.tasks.0: unknown builtin benchmark 'piga', did you mean 'piqa'?"],
    ),
    (
        "a benchmark that is left out",
        (METHOD, METHOD + "benchmarks: {tasks: [builtin:truthfulqa]}\n"),
        ["12:22 benchmarks.tasks.0: there is no builtin benchmark 'truthfulqa': the rows at hand name right answers"],
    ),
    (
        "decision metric that is not measured",
        (METHOD, METHOD + "decision: {metric: macro_f2}\n"),
        ["12:20 decision.metric: expected one of the task's metrics, found 'macro_f2', did you mean 'macro_f1'?"],
    ),
    (
        "a limit on a metric that is not measured",
        (
            'target: "{{ label }}"',
            'target: "{{ label }}"\n  metrics: [accuracy]\ndecision: {min_valid_format: 0.9}\nexecute: {}',
        ),
        ["11:30 decision.min_valid_format: needs the metric 'valid_format' in task.metrics"],
    ),
    (
        "a price for a method that is not there",
        (METHOD, METHOD + "prices: {hosted: {full: {input: 1, output: 2}}}\n"),
        ["no method 'full'"],
    ),
    (
        "a limit for a benchmark that is not asked for",
        (
            METHOD,
            METHOD + "benchmarks: {tasks: [builtin:piqa]}\n"
            "decision: {max_forgetting: {default: 0.02, knowlege: 0.05, 'builtin:piqa': 0.03}}\n",
        ),
        [
            "13:54 decision.max_forgetting.knowlege: expected a benchmark of this spec, a group or 'default', "
            "found 'knowlege', did you mean 'knowledge'?"
        ],
    ),
    (
        "a loss limit below zero",
        (METHOD, METHOD + "decision: {max_forgetting: {default: -1}}\n"),
        ["12:38 decision.max_forgetting.default: expected a number of at least 0, found -1"],
    ),
    (
        "an address in place of the variable that holds it",
        (METHOD, METHOD + "execute: {notify: ['https://hooks.example.org/T0/secret']}\n"),
        [
            "12:20 execute.notify.0: expected '${env:NAME}', the environment variable that holds the address, "
            "never the address"
        ],
    ),
    (
        "nowhere to run",
        (METHOD, METHOD + "execute: {executor: locl}\n"),
        ["12:21 execute.executor: unknown executor 'locl', did you mean 'local'?"],
    ),
    (
        "an odd share of a GPU",
        (METHOD, METHOD + "execute: {gpus: 0.75}\n"),
        ["12:17 execute.gpus: expected a whole number of GPUs, or one over a whole number such as 0.5, found 0.75"],
    ),
    (
        "a name of an own benchmark",
        (METHOD, METHOD + "benchmarks: {own: {'Our tasks': ./tasks}}\n"),
        [
            "expected letters, digits, -, _ and . (at most 64, the first a letter or digit), found 'Our tasks'",
            "'Our tasks' is not among benchmarks.tasks",
        ],
    ),
    (
        "a loss limit in words",
        (METHOD, METHOD + "decision: {max_forgetting: little}\n"),
        ["12:28 decision.max_forgetting: expected a number or a mapping, found 'little'"],
    ),
    (
        "one fold",
        ("source: rows.csv", "source: rows.csv, splits: {folds: 1}"),
        ["4:42 data.splits.folds: expected a number of at least 2, found 1"],
    ),
    (
        "a judge of folds",
        ("source: rows.csv}", "source: rows.csv, splits: {folds: 3}}\njudge: {model: builtin:smollm2-135m-instruct}"),
        ["5:8 judge: a judge compares the answers of whole runs; leave it out, or data.splits.folds"],
    ),
    (
        "a race of nobody",
        (METHOD, METHOD + "seeds: {top: 0, count: 5}\n"),
        ["12:14 seeds.top: expected a number of at least 1, found 0"],
    ),
    (
        "a race without further seeds",
        (METHOD, METHOD + "seeds: {count: 2, first: [4, 5]}\n"),
        ["12:8 seeds: expected a count above the 2 first seeds, found 2"],
    ),
    (
        "a race with an unknown key",
        (METHOD, METHOD + "seeds: {top: 2, cuont: 5}\n"),
        ["12:17 seeds.cuont: unknown key 'cuont', did you mean 'count'?"],
    ),
    (
        "seeds that are neither",
        (METHOD, METHOD + "seeds: 3\n"),
        ["12:8 seeds: expected a list or a mapping, found 3"],
    ),
    (
        "first seeds twice",
        (METHOD, METHOD + "seeds: {first: [1, 1]}\n"),
        ["12:20 seeds.first.1: expected each seed once, found 1 again"],
    ),
    ("seeds twice", (METHOD, METHOD + "seeds: [1, 2, 1]\n"), ["12:15 seeds.2: expected each seed once, found 1 again"]),
    (
        "a negative seed",
        (METHOD, METHOD + "seeds: [-1]\n"),
        ["12:9 seeds.0: expected a number of at least 0, found -1"],
    ),
    (
        "a whole number in words",
        (METHOD, "  lora: {type: lora, r: eight}\n"),
        ["11:25 methods.lora.r: expected a whole number, found 'eight'"],
    ),
    (
        "a quoted number",
        (METHOD, "  lora: {type: lora, r: '8'}\n"),
        ["11:25 methods.lora.r: expected a whole number, found '8'"],
    ),
    (
        "true is no number",
        (METHOD, "  lora: {type: lora, r: true}\n"),
        ["11:25 methods.lora.r: expected a whole number, found true"],
    ),
    (
        "yes is no truth",
        (METHOD, "  lora: {type: lora, use_dora: yes}\n"),
        ["11:32 methods.lora.use_dora: expected true or false, found 'yes'"],
    ),
    (
        "out of bounds",
        (METHOD, "  lora: {type: lora, r: 0, lora_dropout: 1.5}\n"),
        [
            "11:25 methods.lora.r: expected a number of at least 1, found 0",
            "11:42 methods.lora.lora_dropout: expected a number below 1, found 1.5",
        ],
    ),
    (
        "a word that is near another",
        (METHOD, "  lora: {type: lora, keep: bets}\n"),
        ["11:28 methods.lora.keep: expected 'last' or 'best', found 'bets', did you mean 'best'?"],
    ),
    (
        "either of two types",
        (METHOD, "  lora: {type: lora, target_modules: 8}\n"),
        ["11:38 methods.lora.target_modules: expected 'all-linear' or a list, found 8"],
    ),
    (
        "train fields where nothing is trained",
        (METHOD, "  zero_shot: {type: prompt, epochs: 3}\n"),
        ["11:29 methods.zero_shot.epochs: unknown key 'epochs': a method of type prompt trains nothing"],
    ),
    (
        "an empty list",
        ("- {role: user, content:", "[] #"),
        ["8:5 task.prompt: expected a length of at least 1, found an empty list"],
    ),
    ("tab indentation", (METHOD, "\tzero_shot: {type: prompt}\n"), ["found a tab"]),
    ("NaN", (METHOD, METHOD + "decision: {min_gain: .nan}\n"), ["12:22 decision.min_gain: expected a finite number"]),
    (
        "a whole number of rows",
        ("rows.csv", "rows.csv, splits: {test: 1.5}"),
        ["data.splits.test: expected a whole number of rows or a share below 1, found 1.5"],
    ),
    (
        "two origins",
        ("{source: rows.csv}", "{source: rows.csv, files: {train: rows.csv}}"),
        ["expected exactly one of"],
    ),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_told_with_its_place(
    minimal: str, root: Path, change: tuple[str, str], expected: list[str]
) -> None:
    assert change[0] in minimal
    text = minimal.replace(*change)
    found = told(problems_of(text, root))
    for wanted in expected:
        assert any(wanted in line for line in found), found
    assert len(found) == len(expected), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1 : the file is empty; `ftlab init` writes a spec to start from"),
        ("# only a comment\n", "1:1 : the file is empty; `ftlab init` writes a spec to start from"),
        ("- a\n- b\n", "1:1 : expected a mapping at the top of a spec, found a list"),
        ("hello\n", "1:1 : expected a mapping at the top of a spec, found 'hello'"),
    ],
)
def test_what_is_no_spec_at_all_is_one_sentence(text: str, message: str, root: Path) -> None:
    assert told(problems_of(text, root)) == [message]


def test_all_mistakes_come_at_once_in_the_order_of_the_file(root: Path) -> None:
    text = """\
version: 2
name: Bad
model: {sourc: x}
data: {source: builtin:nothing}
task:
  type: classification
  prompt: [{role: usr, content: x}]
  target: 5
  metrics: [acuracy]
methods:
  a: {type: lora, r: {grid: [0, x]}, early_stopping: {patience: 0, min_delta: {grid: [-1]}}}
  b: {type: nothing}
train: {epochs: eight}
train: {epochs: 1}
"""
    problems = problems_of(text, root)
    assert [problem.path for problem in problems] == [
        "version",
        "name",
        "model.sourc",
        "data.source",
        "task.prompt.0.role",
        "task.target",
        "task.metrics.0",
        "methods.a.r.grid.0",
        "methods.a.r.grid.1",
        "methods.a.early_stopping.patience",
        "methods.a.early_stopping.min_delta.grid.0",
        "methods.b.type",
        "train.epochs",
        "",
    ]
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("version: 1\n")
    with pytest.raises(SpecError, match=r"no such file, did you mean '.*quickstart\.yaml'\?"):
        load_spec(tmp_path / "quickstat.yaml")


def test_a_folder_and_other_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a file, found a folder"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: café\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin\.yaml:1:10 .*expected UTF-8 text"):
        load_spec(tmp_path / "latin.yaml")


def test_a_byte_order_mark_is_no_mistake(minimal: str, root: Path) -> None:
    (root / "spec.yaml").write_text(minimal, encoding="utf-8-sig")
    assert load_spec(root / "spec.yaml").spec.name == "small"


class TestOverrides:
    def test_they_set_values_of_every_kind(self, minimal: str, root: Path) -> None:
        loaded = load(
            minimal,
            root,
            "methods.zero_shot.shots={grid: [4, 8]}",
            "decision.min_gain=5e-2",
            'task.prompt.0.content="Say: {{ question }}"',
            "question='no: it is text'",
            "execute.workers=2",
        )
        assert [arm.config.shots for arm in loaded.arms] == [4, 8]
        assert loaded.spec.decision.min_gain == 0.05
        assert loaded.spec.question == "no: it is text"
        assert loaded.spec.execute.workers == 2

    def test_a_value_with_a_colon_needs_quotes_and_says_so(self, minimal: str, root: Path) -> None:
        (problem,) = problems_of(minimal, root, "question=one: two: three")
        assert problem.file == "-s question=one: two: three"
        assert "text goes in quotes" in problem.message

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("methods.zero_shot.shot=3", "unknown key 'shot', did you mean 'shots'?"),
            ("methods.zero_shot.shots=many", "expected a whole number, found 'many'"),
            ("task.prompt.3.role=user", "expected a position from 0 to 0 in the list 'task.prompt', found '3'"),
            ("name.first=x", "expected a mapping at 'name', found 'small'"),
            ("no equals sign", "expected key=value, e.g. methods.lora.r=16"),
            ("a..b=1", "expected key=value, e.g. methods.lora.r=16"),
            ("decision.min_gain=.inf", "expected a finite number, found .inf"),
            ("seeds=[1", "the text ends where more was expected (text goes in quotes)"),
        ],
    )
    def test_a_bad_one_is_named_itself(self, minimal: str, root: Path, override: str, message: str) -> None:
        (problem,) = problems_of(minimal, root, override)
        assert problem.file == f"-s {override}"
        assert problem.line == 0
        assert problem.message == message

    @pytest.mark.parametrize(
        "override",
        ["judge={endpoint: {url: 'https://h/v1', model: m, api_key: sk-123}}", "execute.notify=[sk-123]"],
    )
    def test_what_may_be_a_secret_is_not_repeated(self, minimal: str, root: Path, override: str) -> None:
        problems = problems_of(minimal, root, override)
        assert any("expected '${env:NAME}'" in problem.message for problem in problems)
        assert all("sk-123" not in str(problem) for problem in problems)

    def test_they_are_kept_with_the_text(self, minimal: str, root: Path) -> None:
        loaded = load(minimal, root, "seeds=[3]")
        assert loaded.text.startswith(minimal)
        assert '# -s "seeds=[3]"' in loaded.text
        assert loaded.data["seeds"] == [3]

    def test_one_does_not_leak_through_an_alias(self, minimal: str, root: Path) -> None:
        text = minimal.replace(
            "  zero_shot: {type: prompt}\n",
            "  a: &a {type: prompt, shots: 1}\n  b: {type: prompt, shots: 2}\n  c: *a\n",
        )
        loaded = load(text, root, "methods.a.shots=5")
        assert [(arm.name, arm.config.shots) for arm in loaded.arms] == [("a", 5), ("b", 2), ("c", 1)]
