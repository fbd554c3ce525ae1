"""A spec whose plan needs no network: a builtin model (its revision is a constant) and rows in a file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ftlab.plan.expand import build_plan
from ftlab.plan.run import Plan
from ftlab.spec.load import LoadedSpec, parse_spec

TEXT = """\
version: 1
name: small
model: builtin:smollm2-135m-instruct
data: {source: rows.csv, splits: {train: 30, validation: 20, test: 10}}
task:
  type: classification
  prompt:
    - {role: user, content: "{{ question }}"}
  target: "{{ label }}"
methods:
  zero_shot: {type: prompt}
  few_shot: {type: prompt, shots: {grid: [2, 4]}}
  lora: {type: lora, r: {grid: [8, 16]}, learning_rate: 5e-4}
  full: {type: full}
seeds: [0, 1]
benchmarks: {tasks: [builtin:piqa], limit: 10}
"""

Loader = Callable[..., LoadedSpec]
Planner = Callable[..., Plan]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Load the spec with `(old, new)` replacements and overrides."""
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "cache"))
    rows = [f"question number {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,label", *rows, ""]), encoding="utf-8")

    def _load(*changes: tuple[str, str], overrides: tuple[str, ...] = (), text: str = TEXT) -> LoadedSpec:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return parse_spec(text, tmp_path / "spec.yaml", overrides)

    return _load


@pytest.fixture
def make_plan(load: Loader) -> Planner:
    def _plan(*changes: tuple[str, str], overrides: tuple[str, ...] = (), text: str = TEXT) -> Plan:
        return build_plan(load(*changes, overrides=overrides, text=text))

    return _plan


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model as a plan sees it: a config, a word tokenizer, and the header of a weight file without its weights."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "vocab_size": 100,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    tensors = {
        "model.embed_tokens.weight": [100, 16],
        "model.layers.0.self_attn.q_proj.weight": [16, 16],
        "model.layers.0.mlp.up_proj.weight": [32, 16],
        "model.norm.weight": [16],
    }
    header = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in tensors.items()}
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw)
    return folder
