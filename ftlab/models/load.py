"""Load a fetched base model for use: weights, tokenizer, device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from ftlab.errors import ModelError, first_line, is_out_of_memory
from ftlab.plan.run import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(slots=True)
class LoadedModel:
    """A live base model, kept by a worker for all its runs on the same base.

    Methods adapt `model` in place and must leave it bit for bit as it was (`Method.detach`).
    """

    ref: ModelRef
    model: PreTrainedModel
    """A causal language model in evaluation mode, every parameter in `ref.dtype`."""
    tokenizer: PreTrainedTokenizerBase
    """With a padding token, in any case."""
    device: torch.device
    folder: Path
    """The folder of safetensors and tokenizer files it was loaded from."""


def load_model(ref: ModelRef, folder: Path, threads: int | None = None) -> LoadedModel:
    """Load the model in `folder` (see `ftlab.models.sources.fetch_model`) on the GPU if there is one, else the CPU.

    `threads` bounds torch's CPU threads for the whole process. Only safetensors are read and code that comes with a
    model is never run. Raises ModelError when the folder does not hold a causal language model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # progress goes through a Reporter
    if threads is not None:
        torch.set_num_threads(threads)
    tokenizer = load_tokenizer(folder)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, ref.dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise  # nothing is wrong with the model
        raise ModelError(
            f"model {ref.source}: {folder} cannot be loaded as a causal language model in safetensors "
            f"({first_line(error)})"
        ) from error
    if info["missing_keys"]:
        # transformers would go on with random weights in their place.
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"model {ref.source}: {folder} lacks {len(missing)} weights of a causal language model, {missing[0]} for "
            "one; name the folder of a complete one"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return LoadedModel(ref, model.to(device).eval(), tokenizer, device, folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`, with a padding token: its own, else its end-of-text token. Raises ModelError."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The Rust half of the library raises bare Exceptions.
        raise ModelError(f"{folder} holds no tokenizer that can be loaded ({first_line(error)})") from error
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"the tokenizer in {folder} has neither a padding nor an end-of-text token; add one to it")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
