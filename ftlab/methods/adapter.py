"""LoRA: small trained matrices beside the frozen weights, by PEFT."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from pydantic import Field, ValidationInfo, field_validator

from ftlab.catalog import suggest
from ftlab.errors import ModelError, UsageError
from ftlab.spec.schema import MethodConfig, TrainedConfig

if TYPE_CHECKING:
    from ftlab.models.load import LoadedModel

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"


class LoraConfig(TrainedConfig):
    """LoRA: two small matrices of rank `r` beside every chosen linear layer; the base stays frozen."""

    fixed_by_weights: ClassVar[frozenset[str]] = frozenset(
        {"r", "lora_alpha", "target_modules", "use_rslora", "use_dora"}
    )

    type: Literal["lora"] = "lora"
    """The method family."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """The peak learning rate; about ten times that of full fine-tuning."""
    r: Annotated[int, Field(ge=1, le=1024)] = 16
    """The rank of the adapters: what they can express, and their size."""
    lora_alpha: Annotated[int, Field(ge=1)] | None = Field(default=None, validate_default=True)
    """The adapters' scale: their output is multiplied by `lora_alpha / r`; twice `r` when left out."""
    lora_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """The share of an adapter's inputs that is zeroed in training."""
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Which layers get adapters: `all-linear` (all but the output head), or names such as `[q_proj, v_proj]`."""
    use_rslora: bool = False
    """Scale by `lora_alpha / sqrt(r)` instead, which keeps large ranks stable (Kalajdzievski 2023)."""
    use_dora: bool = False
    """Train each weight's magnitude apart from its direction (DoRA, Liu et al. 2024); slower."""

    @field_validator("lora_alpha")
    @classmethod
    def _twice_the_rank(cls, value: int | None, info: ValidationInfo) -> int | None:
        # `r` is missing from the data when it is itself invalid; that problem is reported on its own.
        return 2 * info.data["r"] if value is None and "r" in info.data else value


@dataclass(frozen=True)
class _Original:
    """What attaching or restoring changes in a base, to be put back by `detach`."""

    modules: dict[str, Any]
    requires_grad: dict[str, bool]
    training: bool
    weights: dict[str, Any]
    """The tensor inside every parameter. Merging makes new tensors, so putting these back is exact."""


_ORIGINALS: WeakKeyDictionary[Any, _Original] = WeakKeyDictionary()


class Lora:
    """Wraps the base in place. In float32, restored adapters are merged: the same answers at the base's own speed."""

    name: ClassVar[str] = "lora"
    family: ClassVar[str] = "adapter"
    summary: ClassVar[str] = "Train small matrices beside frozen weights; little memory, and a few megabytes per arm"
    Config: ClassVar[type[MethodConfig]] = LoraConfig

    def attach(self, base: LoadedModel, config: MethodConfig, seed: int) -> Any:
        """The base with adapters, in training shape; their starting values depend on `seed` alone."""
        import torch

        with _borrowed(base), torch.random.fork_rng():
            torch.manual_seed(seed)
            return _wrap(base, _lora(config))

    def load(self, model: Any, folder: Path) -> None:
        """Copy the saved adapters over the new ones."""
        from peft import set_peft_model_state_dict

        tensors = _read(folder / WEIGHTS_FILE)
        _check_fit(model, tensors, folder)
        set_peft_model_state_dict(model, tensors)

    def save(self, model: Any, folder: Path) -> None:
        """Write `adapter_model.safetensors` and `adapter_config.json`, which every PEFT release since 0.5 can load."""
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
        stored = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
        save_file(stored, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        peft_config = model.peft_config["default"].to_dict() | {"inference_mode": True}
        listed = {key: sorted(value) if isinstance(value, set) else value for key, value in peft_config.items()}
        (folder / CONFIG_FILE).write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def restore(self, base: LoadedModel, folder: Path, config: MethodConfig) -> Any:
        """The adapted model. Float32 weights are merged; to lose no precision, bfloat16 ones are not."""
        import torch

        with _borrowed(base):
            with torch.random.fork_rng():
                model = _wrap(base, _lora(config))
            self.load(model, folder)
            if base.model.dtype == torch.float32:
                # A safe merge makes a new tensor and leaves the old one, which `detach` puts back, as it is.
                model = model.merge_and_unload(safe_merge=True)
            return model.requires_grad_(False).eval()

    def detach(self, base: LoadedModel, model: Any) -> None:
        """Take the adapters off and put replaced weights back: the very tensors, not a subtraction."""
        _put_back(base)


def _lora(config: MethodConfig) -> LoraConfig:
    if not isinstance(config, LoraConfig):
        raise TypeError(f"expected a LoraConfig, found {type(config).__name__}")
    return config


def _wrap(base: LoadedModel, config: LoraConfig) -> Any:
    """A `peft.PeftModel` around the base, its adapters in float32 and trainable, everything else frozen."""
    import peft

    targets = config.target_modules
    if not isinstance(targets, str):
        _check_targets(base, targets)
    peft_config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.r,
        lora_alpha=config.lora_alpha if config.lora_alpha is not None else 2 * config.r,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
    )
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has deprecated; nobody here can mend it.
        warnings.simplefilter("ignore", FutureWarning)
        model = peft.get_peft_model(base.model, peft_config)
    # PEFT writes down the folder of this machine; what others need is where the base comes from.
    peft_config.base_model_name_or_path = base.ref.source
    peft_config.revision = base.ref.revision
    return model


def _check_targets(base: LoadedModel, targets: Sequence[str]) -> None:
    """Raise UsageError for a layer name that the model lacks: PEFT itself is silent as long as one name fits."""
    head = base.model.get_output_embeddings()
    layers = {
        name
        for name, module in base.model.named_modules()
        if module is not head and getattr(getattr(module, "weight", None), "ndim", 0) == 2
    }
    endings = sorted({name.rpartition(".")[2] for name in layers})
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise UsageError(
                f"target_modules: {base.ref.source} has no layer '{target}'{suggest(target, endings)} "
                f"(known: {', '.join(endings)})"
            )


def _read(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read the trained adapter {path}: {error}") from error


def _check_fit(model: Any, tensors: dict[str, Any], folder: Path) -> None:
    from peft import get_peft_model_state_dict

    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {name: tensor.shape for name, tensor in expected.items()} != {name: t.shape for name, t in tensors.items()}:
        source = model.peft_config["default"].base_model_name_or_path
        raise ModelError(
            f"{folder / WEIGHTS_FILE} holds an adapter of another shape or for another model than {source}"
        )


@contextmanager
def _borrowed(base: LoadedModel) -> Iterator[None]:
    """Remember how the base is before adapters go on; put it back at once when that fails."""
    if base.model in _ORIGINALS:
        raise RuntimeError("the base still carries an adapter; call detach before the next attach or restore")
    parameters = dict(base.model.named_parameters())
    _ORIGINALS[base.model] = _Original(
        modules=dict(base.model.named_modules()),
        requires_grad={name: parameter.requires_grad for name, parameter in parameters.items()},
        training=base.model.training,
        weights={name: parameter.data for name, parameter in parameters.items()},
    )
    try:
        yield
    except BaseException:
        _put_back(base)
        raise


def _put_back(base: LoadedModel) -> None:
    """Undo what adapters did to the base's modules, weights and flags, however far they got."""
    original = _ORIGINALS.pop(base.model, None)
    if original is None:
        return
    for name, module in original.modules.items():
        if name and base.model.get_submodule(name) is not module:
            base.model.set_submodule(name, module)
    for name, parameter in base.model.named_parameters():
        parameter.data = original.weights[name]
        parameter.requires_grad_(original.requires_grad[name])
        parameter.grad = None
    base.model.__dict__.pop("peft_config", None)
    base.model.train(original.training)
