"""Numbers that people read are written by `ftlab.text` alone: no other module formats digits by itself."""

from __future__ import annotations

import re
from pathlib import Path

import ftlab

ROOMS = ("cli", "decide", "report", "ui")
DIGITS = re.compile(r":[+,]*\.\d+[efg%]\}")
NO_READERS_NUMBER = {
    "ui/frame.py": "the width of a progress bar",
    "ui/tables.py": "the width of a drawn interval",
    "report/charts.py": "a coordinate in a drawing",
    "cli/read.py": "a gate's value in the unit that its condition was typed in",
}


def test_no_surface_formats_digits_by_itself():
    root = Path(ftlab.__file__).parent
    files = [path for room in ROOMS for path in (root / room).rglob("*.py")]
    assert len(files) > 40
    found = {str(path.relative_to(root)) for path in files if DIGITS.search(path.read_text(encoding="utf-8"))}
    assert found == set(NO_READERS_NUMBER)
