"""What a method is: a config, and how it turns a loaded base model into an adapted one and back.

The runner never asks which method it has. It asks `trained`, and calls these functions in this order:

    training:   model = method.attach(base, config, seed); train; method.save(model, folder); method.detach(base, model)
    warm start: the same, with method.load(model, folder) before it is trained
    using it:   model = method.restore(base, folder, config); predict; benchmark; method.detach(base, model)

`base` is a `ftlab.models.load.LoadedModel` that is kept for the next run, so `detach` must leave it bit for bit as it
was before `attach` or `restore`. Modules of this package import torch and peft inside functions only: the planner loads
these classes to read `Config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from ftlab.spec.schema import MethodConfig

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel


@runtime_checkable
class Method(Protocol):
    """A way to adapt a model."""

    name: ClassVar[str]
    """The `type:` in a spec."""
    family: ClassVar[str]
    """`prompt`, `adapter` or `full`: how comparisons group methods."""
    summary: ClassVar[str]
    """One line for people who choose: what it changes and what it costs."""
    Config: ClassVar[type[MethodConfig]]
    """Every field of this method with its default; `Config.trained` says whether there is anything to train."""

    def attach(self, base: LoadedModel, config: MethodConfig, seed: int) -> Any:
        """A `torch.nn.Module` ready for training: trainable parameters require gradients, all others do not."""

    def load(self, model: Any, folder: Path) -> None:
        """Give the model that `attach` returned the weights that `save` wrote, to train on from there: a warm start.

        It stays ready for training. Raises ModelError when the files do not fit.
        """

    def save(self, model: Any, folder: Path) -> None:
        """Write what was trained to `folder` as safetensors, nothing else that could run code."""

    def restore(self, base: LoadedModel, folder: Path, config: MethodConfig) -> Any:
        """The adapted model in evaluation mode, from what `save` wrote. Raises ModelError when the files do not fit."""

    def detach(self, base: LoadedModel, model: Any) -> None:
        """Leave `base` as it was before `attach` or `restore`."""
