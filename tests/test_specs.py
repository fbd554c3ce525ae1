"""Every spec that ships is valid, explains itself, and promises only what the schema knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftlab.spec.json_schema import HEAD
from ftlab.spec.load import load_spec

ROOT = Path(__file__).parents[1]
SPECS = sorted([*(ROOT / "experiments").rglob("*.yaml"), ROOT / "ftlab" / "spec" / "starter.yaml"])


def test_there_are_specs() -> None:
    assert ROOT / "experiments" / "quickstart.yaml" in SPECS


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
class TestShippedSpec:
    def test_it_is_valid(self, path: Path) -> None:
        loaded = load_spec(path)
        assert loaded.arms
        assert loaded.spec.question.endswith("?"), "an experiment asks something"

    def test_its_head_comment_is_its_manual(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(HEAD)
        comment = [line for line in text[: text.index("version:")].splitlines() if line.startswith("#")]
        assert len(comment) >= 8
        assert any("ftlab run " in line for line in comment)

    def test_prompting_gets_a_fair_chance(self, path: Path) -> None:
        families = {arm.config.type for arm in load_spec(path).arms}
        assert "prompt" in families


def test_the_list_of_experiments_is_complete() -> None:
    readme = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    for path in SPECS:
        if path.parent.name == "experiments":
            assert f"[{path.name}]({path.name})" in readme
