"""GGUF to safetensors, once: what `from_pretrained(gguf_file=...)` gives takes half a minute and cannot be saved."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from ftlab.errors import ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` to `folder`: float32 safetensors (tied embeddings stored once), tokenizer, template.

    Raises ModelError when the file cannot be read as a causal language model.
    """
    from transformers import AutoModelForCausalLM

    with _quiet_transformers(), _one_reader():
        try:
            tokenizer = _tokenizer(gguf)
            loaded = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{gguf.name} cannot be read as a causal language model ({first_line(error)})") from error
        clean = _without_quantization(loaded)
        with _operating_system_errors():
            clean.save_pretrained(folder)
            tokenizer.save_pretrained(folder)


def _without_quantization(loaded: Any) -> Any:
    """The same weights in a model that knows nothing of GGUF, so that it can be saved."""
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_name_or_path", None)
    clean = type(loaded)(type(loaded.config).from_dict(settings))
    clean.load_state_dict(loaded.state_dict())
    clean.generation_config = loaded.generation_config
    return clean.eval()


def _tokenizer(gguf: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `gguf`, with the splitting rule that its model was trained with.

    transformers rebuilds every byte-level BPE with GPT-2's splitting rule. The SmolLM family splits digits one by one
    first (`tokenizer.ggml.pre` says `smollm`; its own tokenizer.json has a `Digits` step before `ByteLevel`), which
    changes the tokens of blanks before numbers.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    rule = _pre_tokenizer_name(gguf)
    if rule == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif rule not in ("gpt-2", "default", None):
        raise ModelError(f"{gguf.name} splits text by the rule '{rule}', which ftlab cannot rebuild; use safetensors")
    return tokenizer


def _pre_tokenizer_name(gguf: Path) -> str | None:
    import gguf as library

    field = library.GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    return None if field is None else str(field.contents())


@contextmanager
def _operating_system_errors() -> Iterator[None]:
    """Give a full disk its own error back: safetensors wraps what the operating system says in an exception of Rust."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Progress goes through a Reporter, and what a conversion logs is of no use to the reader of a terminal."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # one of its bars cannot be turned off
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _one_reader() -> Iterator[None]:
    """Parse a GGUF file once: transformers asks for a reader four times, and each takes seconds to build."""
    import gguf as library

    original = library.GGUFReader
    shared = cache(lambda path: original(path))
    library.GGUFReader = lambda path, mode="r": shared(str(path))
    try:
        yield
    finally:
        library.GGUFReader = original
