"""The merged model answers as the arm did, loaded by transformers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftlab.catalog import METHODS
from ftlab.execute.stages import StageStore
from ftlab.models.load import load_model
from ftlab.models.sources import resolve_model
from ftlab.plan.run import RunConfig, StageKey
from ftlab.report.export import export_merged
from ftlab.store.snapshot import open_snapshot

KEY = "0123456789abcdef"


def _trained(results: Path, config: RunConfig, base: Any) -> Any:
    """Store weights that differ from the base's, as a training would, and return the model that they restore to."""
    import torch

    method = METHODS.load(config.method["type"])()
    method_config = method.Config.model_validate(config.method)

    def compute(folder: Path) -> dict[str, Any]:
        model = method.attach(base, method_config, seed=0)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
        method.save(model, folder)
        method.detach(base, model)
        return {}

    stage = StageStore(results).produce("weights", KEY, compute)
    return method.restore(base, stage.path, method_config)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_merged_model_is_the_arm(ordinary, tiny_folder: Path, tmp_path: Path, method: str):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    arm = next(arm for arm in ordinary.view.arms if arm.method_name == method and arm.metrics)
    with open_snapshot(ordinary.results) as snapshot:
        row = snapshot.cursor().execute("SELECT config_json FROM runs WHERE run_id = ?", [arm.run_ids[0]]).fetchone()
    ref = resolve_model(str(tiny_folder), Path("/"))
    config = RunConfig.model_validate_json(row[0]).model_copy(
        update={"model": ref, "method": {"type": method}, "stages": (StageKey(kind="weights", key=KEY),)}
    )
    base = load_model(ref, tiny_folder)
    ids = torch.arange(3, 11)[None]
    untouched = base.model(ids).logits.detach().clone()
    expected = _trained(tmp_path, config, base)(ids).logits.detach()
    assert (expected - untouched).abs().max() > 1e-3, "the weights must have changed for this to show anything"

    to = tmp_path / "out"
    export_merged(tmp_path, ordinary.view, arm, config, to)
    model = AutoModelForCausalLM.from_pretrained(to, use_safetensors=True).eval()
    torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(to).encode("hello") == base.tokenizer.encode("hello")
    assert "complete weights" in (to / "README.md").read_text()
    assert not [path for path in to.iterdir() if path.suffix in (".bin", ".pt", ".py")]
