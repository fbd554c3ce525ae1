"""Full fine-tuning: every weight of the model is trained."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ftlab.errors import ModelError
from ftlab.spec.schema import MethodConfig, TrainedConfig

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel

WEIGHTS_FILE = "model.safetensors"


class FullConfig(TrainedConfig):
    """Full fine-tuning: all weights, in float32 while they are trained."""

    type: Literal["full"] = "full"
    """The method family."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    """The peak learning rate; a tenth of what LoRA needs."""


class Full:
    """Trains a float32 copy of the base: with bfloat16 weights alone, small updates round away and training stalls."""

    name: ClassVar[str] = "full"
    family: ClassVar[str] = "full"
    summary: ClassVar[str] = "Train every weight; the most freedom, the most memory, and a whole model to store per arm"
    Config: ClassVar[type[MethodConfig]] = FullConfig

    def attach(self, base: LoadedModel, config: MethodConfig, seed: int) -> Any:
        """A float32 copy of the base with every parameter trainable."""
        model = copy.deepcopy(base.model).float()
        model.requires_grad_(True)
        return model

    def load(self, model: Any, folder: Path) -> None:
        """Copy the saved weights over the model's own; the copy keeps its float32."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"cannot read the trained weights {folder / WEIGHTS_FILE}: {error}") from error
        expected = {name: tuple(tensor.shape) for name, tensor in _own_tensors(model).items()}
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
            raise ModelError(f"{folder / WEIGHTS_FILE} holds weights of another model than {model.name_or_path}")
        model.load_state_dict(tensors, strict=False)

    def save(self, model: Any, folder: Path) -> None:
        """Write all weights, in the precision that the model's config names, to `model.safetensors`."""
        from safetensors.torch import save_file

        dtype = getattr(model.config, "dtype", None)
        tensors = {}
        for name, tensor in _own_tensors(model).items():
            stored = tensor.detach().to("cpu")
            if dtype is not None and stored.is_floating_point():
                stored = stored.to(dtype)
            tensors[name] = stored.contiguous()
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})

    def restore(self, base: LoadedModel, folder: Path, config: MethodConfig) -> Any:
        """A copy of the base that holds the saved weights, in the base's precision."""
        model = copy.deepcopy(base.model)
        self.load(model, folder)
        return model.requires_grad_(False).eval()

    def detach(self, base: LoadedModel, model: Any) -> None:
        """Nothing to undo: the base was copied."""


def _own_tensors(model: Any) -> dict[str, Any]:
    """The state dict without second names of shared tensors (tied embeddings), which safetensors refuses to store."""
    seen: set[int] = set()
    own = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            own[name] = tensor
    return own
