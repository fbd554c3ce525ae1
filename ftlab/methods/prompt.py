"""Prompting: the base model as it is, asked well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ftlab.spec.schema import MethodConfig

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel


class PromptConfig(MethodConfig):
    """Prompting: nothing is trained; the prompt, the shots and the way of decoding are all there is to vary."""

    type: Literal["prompt"] = "prompt"
    """The method family."""


class Prompt:
    """The base model's own weights; every prompting arm therefore shares one weights key and one set of benchmarks."""

    name: ClassVar[str] = "prompt"
    family: ClassVar[str] = "prompt"
    summary: ClassVar[str] = (
        "Ask the base model, with or without solved examples; trains nothing, longer prompts cost more"
    )
    Config: ClassVar[type[MethodConfig]] = PromptConfig

    def attach(self, base: LoadedModel, config: MethodConfig, seed: int) -> Any:
        """The base model itself."""
        return base.model

    def load(self, model: Any, folder: Path) -> None:
        """Load nothing: nothing was saved."""

    def save(self, model: Any, folder: Path) -> None:
        """Write nothing: there is nothing that the base does not hold already."""

    def restore(self, base: LoadedModel, folder: Path, config: MethodConfig) -> Any:
        """The base model itself."""
        return base.model

    def detach(self, base: LoadedModel, model: Any) -> None:
        """Nothing to undo."""
