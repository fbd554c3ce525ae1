from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from ftlab.errors import ModelError, UsageError
from ftlab.methods.adapter import Lora, LoraConfig
from ftlab.methods.full import Full, FullConfig
from ftlab.methods.prompt import Prompt, PromptConfig
from ftlab.models.load import LoadedModel, load_model
from ftlab.plan.run import ModelRef
from ftlab.testing.method_contract import MethodContract
from ftlab.testing.tiny import tiny_model


class TestPrompt(MethodContract):
    method = "prompt"


class TestLora(MethodContract):
    method = "lora"


class TestLoraOnSomeLayers(MethodContract):
    method = "lora"
    fields: ClassVar[dict[str, Any]] = {"r": 4, "target_modules": ["q_proj", "v_proj"], "use_rslora": True}


class TestDora(MethodContract):
    method = "lora"
    fields: ClassVar[dict[str, Any]] = {"r": 4, "use_dora": True}


class TestFull(MethodContract):
    method = "full"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("methods") / "tiny")


def load(folder: Path, dtype: Any = "float32") -> LoadedModel:
    return load_model(ModelRef(source="tiny", revision="0", dtype=dtype), folder, threads=1)


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> LoadedModel:
    return load(tiny_folder)


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(3, 27).reshape(2, 12)).logits.float().clone()


def test_alpha_is_twice_the_rank_unless_it_is_given() -> None:
    assert LoraConfig().lora_alpha == 32
    assert LoraConfig(r=4).model_dump()["lora_alpha"] == 8
    assert LoraConfig(r=4, lora_alpha=4).lora_alpha == 4


@pytest.mark.parametrize(
    "fields",
    [
        {"r": 0},
        {"r": "many"},
        {"lora_alpha": 0},
        {"lora_dropout": 1.0},
        {"target_modules": []},
        {"target_modules": "all"},
        {"learning_rate": 0},
        {"type": "full"},
    ],
)
def test_a_config_out_of_range_is_refused_at_its_own_field(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        LoraConfig(**fields)
    assert {error["loc"][0] for error in caught.value.errors()} == set(fields)  # type: ignore[attr-defined]


def test_each_family_has_its_own_learning_rate() -> None:
    assert (LoraConfig().learning_rate, FullConfig().learning_rate) == (2e-4, 2e-5)
    assert not PromptConfig.trained
    assert LoraConfig.trained
    assert FullConfig.trained


def test_configs_are_read_without_torch() -> None:
    code = (
        "import sys, ftlab.methods.prompt, ftlab.methods.adapter, ftlab.methods.full;"
        "print(sorted({'torch', 'peft', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_layer_that_the_model_lacks_is_named_with_the_nearest(base: LoadedModel) -> None:
    with pytest.raises(UsageError, match=r"no layer 'q_prj', did you mean 'q_proj'.*known: .*v_proj") as caught:
        Lora().attach(base, LoraConfig(target_modules=["v_proj", "q_prj"]), seed=0)
    assert "lm_head" not in str(caught.value)
    Lora().detach(base, Lora().attach(base, LoraConfig(), seed=0))


def test_the_output_head_gets_no_adapter(base: LoadedModel) -> None:
    model = Lora().attach(base, LoraConfig(), seed=0)
    adapted = {name for name, _ in model.named_parameters() if "lora_" in name}
    Lora().detach(base, model)
    assert adapted
    assert not any("lm_head" in name for name in adapted)
    with pytest.raises(UsageError, match="no layer 'lm_head'"):
        Lora().attach(base, LoraConfig(target_modules=["lm_head"]), seed=0)


def test_adapters_go_on_without_a_warning(base: LoadedModel, recwarn: pytest.WarningsRecorder) -> None:
    Lora().detach(base, Lora().attach(base, LoraConfig(), seed=0))
    assert [str(warning.message) for warning in recwarn] == []


def test_an_adapter_on_top_of_an_adapter_is_a_defect(base: LoadedModel) -> None:
    model = Lora().attach(base, LoraConfig(), seed=0)
    with pytest.raises(RuntimeError, match="detach"):
        Lora().attach(base, LoraConfig(), seed=0)
    Lora().detach(base, model)


def test_a_restored_adapter_is_merged_in_float32_and_kept_apart_in_bfloat16(
    base: LoadedModel, tiny_folder: Path, tmp_path: Path
) -> None:
    lora, config = Lora(), LoraConfig()
    model = lora.attach(base, config, seed=0)
    lora.save(model, tmp_path)
    lora.detach(base, model)
    merged = lora.restore(base, tmp_path, config)
    assert merged is base.model
    lora.detach(base, merged)
    narrow = load(tiny_folder, "bfloat16")
    apart = lora.restore(narrow, tmp_path, config)
    assert any("lora_A" in name for name, _ in apart.named_parameters())
    lora.detach(narrow, apart)
    assert not any("lora_A" in name for name, _ in narrow.model.named_parameters())


def test_an_adapter_of_another_rank_is_refused(base: LoadedModel, tmp_path: Path) -> None:
    lora = Lora()
    model = lora.attach(base, LoraConfig(r=4), seed=0)
    lora.save(model, tmp_path)
    lora.detach(base, model)
    with pytest.raises(ModelError, match="another shape"):
        lora.restore(base, tmp_path, LoraConfig(r=8))


def test_a_saved_adapter_is_one_that_peft_loads(base: LoadedModel, tmp_path: Path) -> None:
    from peft import PeftModel

    lora = Lora()
    model = lora.attach(base, LoraConfig(r=4), seed=3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    expected = logits(model.eval())
    lora.save(model, tmp_path)
    lora.detach(base, model)
    stored = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (stored["base_model_name_or_path"], stored["revision"]) == ("tiny", "0")
    theirs = PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path)
    torch.testing.assert_close(logits(theirs.eval()), expected)


def test_full_fine_tuning_of_a_bfloat16_base_trains_float32_and_serves_bfloat16(
    tiny_folder: Path, tmp_path: Path
) -> None:
    base = load(tiny_folder, "bfloat16")
    full = Full()
    model = full.attach(base, FullConfig(), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    full.save(model, tmp_path)
    full.detach(base, model)
    restored = full.restore(base, tmp_path, FullConfig())
    assert {parameter.dtype for parameter in restored.parameters()} == {torch.bfloat16}
    assert torch.equal(logits(restored), logits(base.model))


def test_full_weights_are_a_file_that_transformers_loads(base: LoadedModel, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    full = Full()
    model = full.attach(base, FullConfig(), seed=0)
    full.save(model, tmp_path)
    base.model.config.save_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(theirs.eval()), logits(base.model))


def test_weights_of_another_model_are_refused(base: LoadedModel, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"model.embed_tokens.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"another model than .*tiny"):
        Full().restore(base, tmp_path, FullConfig())


def test_prompting_is_the_base_itself(base: LoadedModel, tmp_path: Path) -> None:
    assert Prompt().attach(base, PromptConfig(), seed=0) is base.model
    assert Prompt().restore(base, tmp_path, PromptConfig()) is base.model
