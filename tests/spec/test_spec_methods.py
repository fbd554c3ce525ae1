"""From entries under `methods:` to arms: ranges, variants, defaults, searches."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.errors import SpecError
from ftlab.spec.load import LoadedSpec, parse_spec
from ftlab.spec.resolve import MAX_ARMS

HEAD = """\
version: 1
name: small
model: builtin:smollm2-135m-instruct
data: {source: rows.csv}
task: {type: classification, prompt: [{role: user, content: x}], target: "{{ label }}"}
"""


def load(methods: str, root: Path, more: str = "") -> LoadedSpec:
    body = "\n".join(f"  {line}" for line in methods.strip("\n").splitlines())
    return parse_spec(f"{HEAD}{more}methods:\n{body}\n", root / "spec.yaml")


def values(loaded: LoadedSpec, *fields: str) -> list[tuple[object, ...]]:
    return [tuple(getattr(arm.config, field) for field in fields) for arm in loaded.arms]


def problems(methods: str, root: Path, more: str = "") -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(methods, root, more)
    return [f"{problem.line}:{problem.column} {problem.path}: {problem.message}" for problem in caught.value.problems]


def test_grids_multiply_in_the_order_of_the_spec(root: Path) -> None:
    loaded = load("l: {type: lora, r: {grid: [8, 16]}, learning_rate: {grid: [2e-4, 5e-4]}}", root)
    assert values(loaded, "r", "learning_rate") == [(8, 2e-4), (8, 5e-4), (16, 2e-4), (16, 5e-4)]
    assert [arm.index for arm in loaded.arms] == [0, 1, 2, 3]
    assert loaded.arms[2].varied == {"r": 16, "learning_rate": 2e-4}


def test_variants_couple_values_and_multiply_with_grids(root: Path) -> None:
    loaded = load(
        "l: {type: lora, learning_rate: {grid: [1e-4, 2e-4]},\n"
        "    variants: [{r: 8, lora_alpha: 16}, {r: 32, lora_alpha: 8}]}",
        root,
    )
    assert values(loaded, "r", "lora_alpha", "learning_rate") == [
        (8, 16, 1e-4),
        (8, 16, 2e-4),
        (32, 8, 1e-4),
        (32, 8, 2e-4),
    ]
    assert loaded.arms[3].varied == {"r": 32, "lora_alpha": 8, "learning_rate": 2e-4}


def test_a_variant_shows_the_default_of_what_only_another_one_sets(root: Path) -> None:
    loaded = load("l: {type: lora, variants: [{}, {use_dora: true, r: {grid: [4, 8]}}]}", root)
    assert [arm.varied for arm in loaded.arms] == [
        {"use_dora": False, "r": 16},
        {"use_dora": True, "r": 4},
        {"use_dora": True, "r": 8},
    ]


def test_nested_fields_take_ranges(root: Path) -> None:
    loaded = load("l: {type: lora, early_stopping: {patience: {grid: [1, 3]}, min_delta: 0.01}}", root)
    assert [arm.config.early_stopping.patience for arm in loaded.arms] == [1, 3]
    assert loaded.arms[1].varied == {"early_stopping.patience": 3}


def test_messages_take_ranges(root: Path) -> None:
    loaded = load("p: {type: prompt, prompt: [{role: user, content: {grid: ['a', 'b']}}]}", root)
    assert [arm.config.prompt[0].content for arm in loaded.arms] == ["a", "b"]
    assert loaded.arms[1].varied == {"prompt.0.content": "b"}


def test_train_gives_defaults_to_trained_methods_only(root: Path) -> None:
    loaded = load(
        "p: {type: prompt}\na: {type: lora}\nb: {type: lora, epochs: 5}",
        root,
        "train: {epochs: 3, batch_size: 4}\n",
    )
    _, first, second = (arm.config for arm in loaded.arms)
    assert (first.epochs, first.batch_size, first.learning_rate) == (3, 4, type(first)().learning_rate)
    assert (second.epochs, second.batch_size) == (5, 4)
    assert not hasattr(loaded.arms[0].config, "epochs")


def test_defaults_of_the_method_win_over_unset_train_fields(root: Path) -> None:
    loaded = load("l: {type: lora}\nf: {type: full}", root, "train: {epochs: 2}\n")
    rates = [arm.config.learning_rate for arm in loaded.arms]
    assert rates[0] > rates[1], "train: must not push its own default learning rate onto both"


def test_a_search_is_checked_and_yields_no_arms(root: Path) -> None:
    loaded = load(
        "p: {type: prompt}\n"
        "t: {type: lora, r: {choice: [4, 8]}, learning_rate: {low: 1e-5, high: 1e-2, log: true},\n"
        "    search: {sampler: tpe, arms: 20}}",
        root,
    )
    assert [arm.name for arm in loaded.arms] == ["p"]
    assert [(search.name, search.search.arms) for search in loaded.searches] == [("t", 20)]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("{r: {grid: []}}", "methods.m.r.grid: expected a length of at least 1, found an empty list"),
        ("{r: {grid: [8, 8]}}", "methods.m.r.grid: expected distinct values, found 8 twice"),
        ("{r: {grid: 8}}", "methods.m.r.grid: expected a list, found 8"),
        ("{r: {grid: [8], lg: 1}}", "methods.m.r.lg: unknown key 'lg', did you mean 'log'?"),
        ("{r: {gird: [8]}}", "methods.m.r: expected a whole number, found a mapping, did you mean 'grid'?"),
        ("{r: [8, 16]}", "methods.m.r: expected a whole number, found a list"),
        (
            "{r: {choice: [8]}}",
            "methods.m.r: choice and low/high are for a method with 'search'; without one, use {grid: [...]}",
        ),
        (
            "{r: {grid: [8]}, search: {}}",
            "methods.m.r: expected {choice: [...]} or {low, high} in a method with 'search', found a grid",
        ),
        ("{r: {low: 8, high: 4}, search: {}}", "methods.m.r: expected 'low' below 'high', found 8 and 4"),
        ("{r: {low: 1.5, high: 4}, search: {}}", "methods.m.r.low: expected a whole number, found 1.5"),
        (
            "{lora_dropout: {low: 0, high: 0.5, log: true}, search: {}}",
            "methods.m.lora_dropout: expected 'low' above 0 with 'log: true', found 0",
        ),
        (
            "{use_dora: {low: 0, high: 1}, search: {}}",
            "methods.m.use_dora: expected a literal, {grid: [...]} or {choice: [...]}; low and high are for numbers",
        ),
        ("{r: {choice: [1, 2]}, search: {sampler: gp}}", "methods.m.search.sampler: 'gp' needs a {low, high} range"),
        ("{r: {choice: [1, 2]}, search: {sampler: cmaes}}", "methods.m.r: 'cmaes' searches numbers alone"),
        ("{lora_dropout: {low: 0, high: 0.5}, search: {sampler: grid}}", "methods.m.lora_dropout: a grid needs a"),
        (
            "{r: {choice: [1]}, search: {pruner: hyperband}}",
            "methods.m.search.pruner: expected 'evaluations' of 3 or more, for a rung before the end; found 2",
        ),
        (
            "{r: {choice: [1]}, evaluations: 1, search: {pruner: median}}",
            "methods.m.search.pruner: expected 'evaluations' above 'min_evaluations', 1; found 1",
        ),
        (
            "{evaluations: {choice: [3, 9]}, search: {pruner: median}}",
            "methods.m.search.pruner: a pruner compares arms at equal shares of their training; give 'evaluations'",
        ),
        (
            "{r: {choice: [1]}, search: {pruner: median, objectives: [quality, train_seconds]}}",
            "methods.m.search.pruner: a pruner judges by validation loss alone, so it needs the single objective",
        ),
        (
            "{r: {choice: [1]}, search: {constraints: [forgetting <= 0.02]}}",
            "methods.m.search.constraints.0: forgetting is measured on benchmarks, and this spec names none",
        ),
        (
            "{r: {choice: [1]}, search: {objectives: [quality, forgetting]}}",
            "methods.m.search.objectives.1: forgetting is measured on benchmarks, and this spec names none",
        ),
        (
            "{r: {choice: [1]}, search: {budget_usd: 5}}",
            "methods.m.search.budget_usd: a budget in money needs what an hour of the machine costs; set prices",
        ),
        ("{r: {choice: [1]}, search: {pruner: {type: median, p: 2}}}", "methods.m.search.pruner.p: "),
        ("{r: {choice: [1]}, search: {pruner: medan}}", "methods.m.search.pruner: expected 'none', 'median'"),
        ("{r: {choice: [1]}, search: {objectives: [speed]}}", "methods.m.search.objectives.0: unknown objective"),
        ("{r: {choice: [1]}, search: {constraints: [x < 1]}}", "methods.m.search.constraints.0: expected 'name <="),
        (
            "{r: {choice: [1]}, search: {constraints: [acuracy >= 0.5]}}",
            "methods.m.search.constraints.0: no metric 'acuracy', did you mean 'accuracy'?",
        ),
        ("{r: {choice: [1], when: {epochs: 1}}, search: {}}", "methods.m.r.when.epochs: expected a searched field"),
        ("{search: {}}", "methods.m.search: expected at least one {choice: [...]} or {low, high} to search over"),
        (
            "{r: {choice: [1, 2]}, search: {sampler: tpr}}",
            "methods.m.search.sampler: expected 'tpe', 'random', 'gp', 'cmaes', 'nsga2' or 'grid', found 'tpr', did "
            "you mean 'tpe'?",
        ),
        ("{r: {choice: [1]}, variants: [{epochs: 2}], search: {}}", "expected no variants in a method with 'search'"),
        ("{r: 4, variants: [{r: 8}]}", "methods.m.variants.0.r: 'r' is given by the method and by this variant"),
        ("{variants: [{ranks: 8}]}", "unknown key 'ranks'"),
        ("{variants: [{type: full}]}", "methods.m.variants.0.type: unknown key 'type'"),
        ("{r: {grid: [{grid: [1]}]}}", "methods.m.r.grid.0: expected a whole number, found a mapping"),
    ],
)
def test_ranges_that_make_no_sense_are_told(root: Path, method: str, message: str) -> None:
    found = problems(f"m: {{type: lora, {method[1:]}", root)
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("7:")


def test_a_product_that_nobody_can_run_is_counted_not_built(root: Path) -> None:
    grid = "{grid: [" + ", ".join(str(number) for number in range(1, 201)) + "]}"
    found = problems(f"m: {{type: lora, r: {grid}, lora_alpha: {grid}, batch_size: {grid}}}", root)
    assert found == [f"7:3 methods.m: expected at most {MAX_ARMS:,} arms in all, found 8,000,000 in this method"]


def test_a_wrong_point_of_a_grid_is_told_once(root: Path) -> None:
    found = problems("m: {type: lora, target_modules: {grid: [[], [q_proj]]}, r: {grid: [1, 2, 4]}}", root)
    assert len(found) == 1
    assert "methods.m.target_modules.grid.0" in found[0]
