"""What a plan can know of a base model without loading it: its config and the headers of its weight files."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlab.plan.run import ModelRef

_MAX_HEADER = 100_000_000
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_OUTPUT_HEADS = ("lm_head", "embed_out", "output_projection")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a model. Everything but `parameters` is 0 when only the name was there to go by."""

    parameters: int
    layers: int = 0
    hidden: int = 0
    vocabulary: int = 0
    linear_dimensions: int = 0
    """Inputs plus outputs, summed over every linear layer that takes an adapter: times rank, the adapter's size."""
    weight_bytes: int = 0
    """The size of the weight files."""
    measured: bool = False
    """Whether the numbers come from the files."""


def model_facts(model: ModelRef) -> ModelFacts | None:
    """The sizes of `model`: from its files when they are on this machine, else from a size in its name, else None."""
    if model.folder is not None:
        facts = _from_files(Path(model.folder))
        if facts is not None:
            return facts
    return _from_name(model.source)


def _from_files(folder: Path) -> ModelFacts | None:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        tensors = {
            name: entry
            for path in sorted(folder.glob("*.safetensors"))
            for name, entry in _header(path).items()
            if name != "__metadata__"
        }
        if not tensors:
            return None
        text = config.get("text_config", config)
        sizes = {name: math.prod(entry["shape"]) for name, entry in tensors.items()}
        return ModelFacts(
            parameters=sum(sizes.values()),
            layers=int(text.get("num_hidden_layers") or 0),
            hidden=int(text.get("hidden_size") or 0),
            vocabulary=int(text.get("vocab_size") or 0),
            linear_dimensions=sum(
                sum(entry["shape"]) for name, entry in tensors.items() if _takes_adapter(name, entry)
            ),
            weight_bytes=sum(sizes[name] * _DTYPE_BYTES.get(entry["dtype"], 4) for name, entry in tensors.items()),
            measured=True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        # A model that cannot be read is for loading to report; a plan only loses its estimate.
        return None


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: 8 bytes of length, then JSON of {name: {dtype, shape, data_offsets}}."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _MAX_HEADER:
            raise ValueError(f"{path}: not a safetensors file")
        return json.loads(file.read(length))


def _takes_adapter(name: str, entry: dict[str, Any]) -> bool:
    """Whether a tensor is the weight of a linear layer inside the model: embeddings and output heads get no adapter."""
    is_matrix = name.endswith(".weight") and len(entry["shape"]) == 2
    return is_matrix and "embed" not in name and not any(head in name for head in _OUTPUT_HEADS)


def _from_name(source: str) -> ModelFacts | None:
    """`Qwen2.5-1.5B-Instruct` has about 1.5 billion parameters."""
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([mMbB])(?![a-zA-Z])", source.replace("_", "-"))
    if found is None:
        return None
    return ModelFacts(parameters=int(float(found[1]) * (1e6 if found[2] in "mM" else 1e9)))
