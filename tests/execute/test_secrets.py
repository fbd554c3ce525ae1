"""A real run with secrets in its notification, its judge's key and an exception's text: none is in the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ftlab.testing.judge_server import perfect, serving
from ftlab.testing.tiny import tiny_rows

SPEC = """
version: 1
name: secrets
model: {model}
data: {{source: ./rows.jsonl, splits: {{validation: 8, test: 3}}}}
task:
  type: classification
  prompt: [{{role: user, content: "{{{{ question }}}}"}}]
  target: "{{{{ label }}}}"
  metrics: [accuracy, "leaks:telling"]
methods:
  zero_shot: {{type: prompt}}
  lora: {{type: lora, r: 2, learning_rate: 1e-2, max_steps: 2}}
execute: {{notify: ["${{env:WHERE_TO}}"]}}
judge: {{endpoint: {{url: "{url}", model: big, api_key: "${{env:PASS}}", retries: 0}}}}
"""
METRIC = """
import os, sys

def telling(output, target):
    print("to", os.environ["WHERE_TO"], "with", os.environ["PASS"], flush=True)
    print("token", os.environ["HF_TOKEN"], file=sys.stderr)
    raise RuntimeError(f"401 from {os.environ['WHERE_TO']} for {os.environ['PASS']} and {os.environ['HF_TOKEN']}")
"""


def test_no_file_of_the_results_holds_a_secret(
    tiny_folder: Path, tmp_path: Path, webhook: list[dict[str, Any]]
) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny_rows(40)))
    (tmp_path / "leaks.py").write_text(METRIC)
    with serving(perfect) as server:
        secrets = {"WHERE_TO": os.environ["HOOK"], "PASS": "key-of-the-judge", "HF_TOKEN": "plain-words-token"}
        (tmp_path / "spec.yaml").write_text(SPEC.format(model=tiny_folder, url=server.url))
        said = [ran(tmp_path, secrets, *verb) for verb in (("run", "spec.yaml"), ("status",), ("show",), ("rebuild",))]
        assert said[0].returncode == 3, said[0].stderr
    assert len(webhook) == 1
    told = "".join(one.stdout + one.stderr for one in said) + json.dumps(webhook)
    assert "401 from [redacted] for [redacted] and [redacted]" in told
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(files) > 15
    logs = b"".join(path.read_bytes() for path in files if path.name == "log.txt")
    assert b"to [redacted] with [redacted]" in logs
    for secret in secrets.values():
        assert secret not in told
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def ran(folder: Path, secrets: dict[str, str], *verb: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "ftlab.cli", *verb, "--results", "results"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **secrets}, capture_output=True, text=True, timeout=400, check=False
    )
