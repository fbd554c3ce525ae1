"""GGUF to safetensors."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
from pathlib import Path

import pytest
import torch

from ftlab.errors import ModelError
from ftlab.models.chat import render_chat
from ftlab.models.convert import _operating_system_errors, convert_gguf
from ftlab.models.load import LoadedModel, load_model
from ftlab.models.sources import resolve_model


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"not a gguf file, whatever its name says")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelError, match=r"model\.gguf cannot be read as a causal language model"):
        convert_gguf(gguf, out)
    assert list(out.iterdir()) == []


def test_a_full_disk_is_an_error_of_the_operating_system(tiny: LoadedModel, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk; in a process of its own, since it cannot be lifted again."""

    def save() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            with _operating_system_errors():
                tiny.model.save_pretrained(tmp_path)
        except OSError as error:
            os._exit(error.errno or 0)

    process = multiprocessing.get_context("fork").Process(target=save)
    process.start()
    process.join()
    assert process.exitcode == errno.EFBIG


@pytest.mark.real
def test_smollm2_has_the_shape_and_tokens_of_the_published_model(smollm2: LoadedModel) -> None:
    config, tokenizer = smollm2.model.config, smollm2.tokenizer
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == 134_515_008
    assert (config.num_hidden_layers, config.hidden_size, config.num_key_value_heads) == (30, 576, 3)
    assert config.tie_word_embeddings
    assert (config.max_position_embeddings, config.rope_parameters["rope_theta"]) == (8192, 100000.0)
    assert not hasattr(config, "quantization_config")
    assert len(tokenizer) == 49_152
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [0, 1, 2]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)


@pytest.mark.real
def test_smollm2_splits_digits_one_by_one_before_anything_else(smollm2: LoadedModel) -> None:
    """GPT-2's rule, which transformers would use, keeps the blank before a number with it: `Ġ Ġ 4 2`."""
    assert smollm2.tokenizer.tokenize("a  42") == ["a", "ĠĠ", "4", "2"]
    assert smollm2.tokenizer.decode(smollm2.tokenizer.encode("a  42, é\n\n7")) == "a  42, é\n\n7"


@pytest.mark.real
def test_smollm2_knows_what_it_should(smollm2: LoadedModel) -> None:
    ids = render_chat(smollm2.tokenizer, [{"role": "user", "content": "What is the capital of France?"}]).prompt_ids
    with torch.no_grad():
        out = smollm2.model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    assert "Paris" in smollm2.tokenizer.decode(out[0, len(ids) :])


@pytest.mark.real
def test_smollm2_is_kept_as_safetensors_so_that_loading_converts_nothing(smollm2: LoadedModel) -> None:
    assert resolve_model(smollm2.ref.source, Path("/")).folder == str(smollm2.folder)
    assert not list(smollm2.folder.glob("*.gguf"))
    again = load_model(smollm2.ref, smollm2.folder)
    assert torch.equal(again.model.get_input_embeddings().weight, smollm2.model.get_input_embeddings().weight)
    assert again.model.get_output_embeddings().weight is again.model.get_input_embeddings().weight
