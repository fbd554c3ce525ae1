"""A folder with a spec in it, and `ftlab` run there as a process of its own, with fake stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftlab.testing.tiny import tiny_rows

SPEC = """
version: 1
name: colours
question: Which method?
model: builtin:smollm2-135m-instruct
data: {source: ./rows.jsonl, splits: {validation: 24, test: 6}}
task:
  type: classification
  prompt: [{role: user, content: "{{ question }}"}]
  target: "{{ label }}"
  metrics: [accuracy, valid_format]
methods:
  zero_shot: {type: prompt}
  lora: {type: lora, r: {grid: [4, 8]}}
decision: {metric: accuracy}
"""


class Desk:
    """A folder with a spec in it, and `ftlab` run there with fake stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        (folder / "spec.yaml").write_text(SPEC)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(60)))

    def start(self, *arguments: str, fake: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "FTLAB_PIPELINE": "ftlab.testing.fakes:FakePipeline",
            "FTLAB_FAKE": json.dumps(fake or {}),
            "FTLAB_CACHE": str(self.folder / "cache"),
        }
        env.pop("FTLAB_RESULTS", None)
        command = [sys.executable, "-c", "import sys; from ftlab.cli import main; sys.exit(main())", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=env, text=True, **pipes)

    def __call__(self, *arguments: str, fake: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, fake=fake)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)
