"""What the README says can be done: its commands exist, and the spec it shows is valid."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ftlab.cli.main import VERBS, main
from ftlab.spec.load import load_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith(f"{program} ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_every_verb_of_the_readme_exists_and_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = {words[1] for words in commands("ftlab")} | set(re.findall(r"`ftlab ([a-z]+)", README))
    assert len(verbs) > 10
    assert verbs <= set(VERBS)
    for verb in sorted({words[1] for words in commands("ftlab")}):
        assert main([verb, "--help"]) == 0
        assert verb in capsys.readouterr().out


def test_every_make_target_of_the_readme_exists() -> None:
    targets = {words[1] for words in commands("make")}
    assert {"demo", "test"} <= targets
    for target in sorted(targets):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_the_spec_of_the_readme_is_valid(tmp_path: Path) -> None:
    (spec,) = (block for block in blocks("yaml") if block.startswith("version: 1"))
    (tmp_path / "tickets.csv").write_text("subject,body,team\nhelp,it is broken,repairs\n")
    (tmp_path / "spec.yaml").write_text(spec)
    loaded = load_spec(tmp_path / "spec.yaml")
    assert [arm.name for arm in loaded.arms] == ["ask", "few_shot", "few_shot", "ranked", "lora", "lora", "full"]


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert "docs/decision.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_says_what_its_placeholders_stood_for() -> None:
    assert "@@" not in README
