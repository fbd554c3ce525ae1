"""The tiny model and the tiny task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch

from ftlab.models.load import LoadedModel, load_tokenizer
from ftlab.testing.tiny import tiny_model, tiny_rows


def test_equal_seeds_give_equal_models(tiny_folder: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    same, other = tiny_model(tmp_path / "same"), tiny_model(tmp_path / "other", seed=1)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers are as they were"
    for file in sorted(tiny_folder.iterdir()):
        assert (same / file.name).read_bytes() == file.read_bytes(), file.name
    assert (other / "model.safetensors").read_bytes() != (same / "model.safetensors").read_bytes()


def test_its_tokenizer_spells_any_text(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    text = "Ünïcode 🙂  \n\t<script> \x1b[31m"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert tokenizer.convert_tokens_to_ids(special) == [0, 1, 2]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 0)


def test_it_is_small_and_runs(tiny: LoadedModel) -> None:
    assert sum(parameter.numel() for parameter in tiny.model.parameters()) < 50_000
    assert tiny.model.config.vocab_size == len(tiny.tokenizer)
    with torch.no_grad():
        logits = tiny.model(torch.tensor([[1, 5, 9]])).logits
    assert logits.shape == (1, 3, len(tiny.tokenizer))
    assert torch.isfinite(logits).all()


def test_rows_are_distinct_and_name_their_label() -> None:
    rows = tiny_rows(50, ("yes", "no", "perhaps"), seed=3)
    assert rows == tiny_rows(50, ("yes", "no", "perhaps"), seed=3)
    assert rows != tiny_rows(50, ("yes", "no", "perhaps"), seed=4)
    assert len({row["question"] for row in rows}) == 50
    assert sorted(Counter(row["label"] for row in rows).values()) == [16, 17, 17]
    assert all(row["question"].endswith(f" {row['label']}") for row in rows)
