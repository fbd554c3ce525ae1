"""The names of lm-eval's tasks, read without lm-eval: the same ones, from the cache after the first time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftlab.evaluate import registry
from ftlab.evaluate.registry import scan_tasks, task_names

FILES = {
    "plain.yaml": "task: plain\ntag: [one, two]\nmetric_list:\n  - metric: acc\n",
    "tagged.yaml": "task: tagged  # a comment\ntag:\n  - three\n  - 'four'\noutput: a\n",
    "quoted.yaml": '"task": "quoted"\n"tag": "five"\n',
    "group.yaml": "group: all_of_them\ntask:\n  - plain\n  - task: inner\n    tag: not_a_tag\n",
    "included.yaml": "include: _template\ntask: included\n",
    "_template": "tag: six\ndoc_to_text: !function utils.text\n",
    "code.yaml": "task: code\nclass: !function task.Code\n",
    "both.yaml": "group: ignored\ntask: both\nclass: !function task.Both\n",
    "block.yaml": "description: |\n  task: not_one\ntask: block\n",
    "deeper/below.yaml": "include: ../_template\ntask: below\n",
    "broken.yaml": "task: [unclosed\n",
    "circle.yaml": "include: circle.yaml\n",
    "other.yaml": "nothing: here\n",
    "lost.yaml": "include: nowhere\ntask: lost\n",
}
NAMES = {
    "plain", "one", "two", "tagged", "three", "four", "quoted", "five", "all_of_them", "included", "six", "code",
    "both", "block", "below",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "tasks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "tasks"


def test_every_way_to_write_a_name(folder: Path) -> None:
    assert scan_tasks(folder) == NAMES


def test_lm_eval_itself_finds_the_same_in_those_files(folder: Path) -> None:
    from lm_eval.tasks._index import TaskIndex

    assert set(TaskIndex.build([folder])) == NAMES


@pytest.mark.parametrize("family", ["mmlu", "hellaswag", "bbh", "truthfulqa", "glue", "blimp", "cmmlu"])
def test_lm_eval_itself_finds_the_same_in_its_own_folders(family: str) -> None:
    from lm_eval.tasks._index import TaskIndex

    own = registry._tasks_folder() / family
    found = set(TaskIndex.build([own]))
    assert scan_tasks(own) == found
    assert found


def test_names_are_scanned_once_and_a_torn_cache_is_written_anew(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[Path] = []
    monkeypatch.setattr(registry, "_tasks_folder", lambda: folder)
    monkeypatch.setattr(registry, "scan_tasks", lambda place: scans.append(place) or scan_tasks(place))
    assert task_names() == task_names() == sorted(NAMES)
    assert scans == [folder]
    (file,) = (cache / "benchmarks").glob("*-names.json")
    file.write_text("[")
    assert task_names() == sorted(NAMES)
    assert json.loads(file.read_text()) == sorted(NAMES)


def test_a_cache_that_cannot_be_written_is_done_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(registry, "_tasks_folder", lambda: folder)
    assert task_names() == sorted(NAMES)


def test_no_lm_eval_is_imported(cache: Path) -> None:
    code = "import sys; from ftlab.evaluate.registry import task_names; n = task_names(); "
    code += "print('hellaswag' in n, 'mmlu' in n, sorted({'torch', 'lm_eval', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "True True []\n"
