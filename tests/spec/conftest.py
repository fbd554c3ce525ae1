"""A small valid spec, as text and as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

MINIMAL = """\
version: 1
name: small
model: builtin:smollm2-135m-instruct
data: {source: rows.csv}
task:
  type: classification
  prompt:
    - {role: user, content: "{{ question }}"}
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the data that the small spec names."""
    rows = [f"question {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,label", *rows, ""]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def minimal() -> str:
    return MINIMAL
