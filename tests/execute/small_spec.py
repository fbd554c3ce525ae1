"""A plan from a spec's text, over a model and rows that are there in name only."""

from __future__ import annotations

import json
from pathlib import Path

from ftlab.plan.expand import build_plan
from ftlab.plan.run import Plan
from ftlab.spec.load import LoadedSpec, parse_spec


def spec_of(root: Path, text: str) -> LoadedSpec:
    """The spec, with `./model` and `./rows.jsonl` beside it."""
    (root / "model").mkdir(exist_ok=True)
    (root / "model" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (root / "model" / "tokenizer.json").write_text("{}")
    (root / "model" / "model.safetensors").write_bytes(b"")
    rows = [{"text": f"text {row}", "label": "xy"[row % 2]} for row in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return parse_spec(text, root / "spec.yaml")


def plan_of(root: Path, text: str) -> Plan:
    """Its plan."""
    return build_plan(spec_of(root, text))
