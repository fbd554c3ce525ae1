"""What every method must keep to. Subclass `MethodContract` in a test module and name the method:

    class TestLora(MethodContract):
        method = "lora"

A method of another package runs against the same class.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ftlab.catalog import METHODS
from ftlab.errors import ModelError
from ftlab.methods.base import Method
from ftlab.models.load import LoadedModel, load_model
from ftlab.plan.run import ModelRef
from ftlab.spec.schema import MethodConfig
from ftlab.testing.tiny import tiny_model

if TYPE_CHECKING:
    import torch

PLAIN_FILES = frozenset({".safetensors", ".json"})
"""Endings of files that cannot run code when they are opened."""


class MethodContract:
    """Run against one method, on a tiny base in float32."""

    method: ClassVar[str]
    """The name in the catalogue."""
    fields: ClassVar[dict[str, Any]] = {}
    """Fields of the config other than the defaults."""

    @pytest.fixture(scope="class")
    @classmethod
    def base(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
        """A base that all tests of the class share, since each must leave it as it was."""
        folder = tiny_model(tmp_path_factory.mktemp("contract") / "tiny")
        return load_model(ModelRef(source="tiny", revision="0", dtype="float32"), folder, threads=1)

    @pytest.fixture
    def subject(self) -> Method:
        """The method, from the catalogue."""
        found: Method = METHODS.load(self.method)()
        return found

    @pytest.fixture
    def config(self, subject: Method) -> MethodConfig:
        """Its config."""
        return subject.Config.model_validate({"type": self.method, **self.fields})

    def test_it_says_what_it_is(self, subject: Method) -> None:
        assert isinstance(subject, Method)
        assert subject.name == self.method
        assert subject.family
        assert subject.summary
        assert "\n" not in subject.summary

    def test_its_defaults_are_a_valid_config_that_survives_json(self, subject: Method) -> None:
        config = subject.Config(type=self.method)
        assert config.type == self.method
        assert subject.Config.model_validate(json.loads(config.model_dump_json())) == config

    def test_every_field_is_documented(self, subject: Method) -> None:
        undocumented = [name for name, field in subject.Config.model_fields.items() if not field.description]
        assert undocumented == []

    def test_unknown_fields_are_refused(self, subject: Method) -> None:
        with pytest.raises(ValueError, match="Extra inputs are not permitted"):
            subject.Config.model_validate({"type": self.method, "no_such_field": 1})

    def test_attach_marks_what_is_trained(self, subject: Method, base: LoadedModel, config: MethodConfig) -> None:
        import torch

        model = subject.attach(base, config, seed=0)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        dtypes = {parameter.dtype for parameter in trainable}
        subject.detach(base, model)
        if subject.Config.trained:
            # Small updates round away in anything narrower.
            assert dtypes == {torch.float32}
        else:
            assert model is base.model

    def test_attach_depends_on_the_seed_alone(self, subject: Method, base: LoadedModel, config: MethodConfig) -> None:
        import torch

        states = []
        for noise in (1, 2):
            torch.manual_seed(noise)
            before = torch.random.get_rng_state()
            model = subject.attach(base, config, seed=7)
            assert torch.equal(torch.random.get_rng_state(), before)
            states.append(_copy(model))
            subject.detach(base, model)
        assert _equal(*states)

    def test_detach_undoes_attach(self, subject: Method, base: LoadedModel, config: MethodConfig) -> None:
        before = _Fingerprint(base)
        model = subject.attach(base, config, seed=0)
        _train(model, base)
        subject.detach(base, model)
        before.check(base)

    def test_restore_gives_the_answers_of_the_trained_model(
        self, subject: Method, base: LoadedModel, config: MethodConfig, tmp_path: Path
    ) -> None:
        import torch

        untrained = _logits(base.model)
        before = _Fingerprint(base)
        model = subject.attach(base, config, seed=0)
        _train(model, base)
        trained = _logits(model.eval())
        subject.save(model, tmp_path)
        subject.detach(base, model)
        torch.manual_seed(99)
        restored = subject.restore(base, tmp_path, config)
        assert not restored.training
        assert not any(parameter.requires_grad for parameter in restored.parameters()) or not subject.Config.trained
        torch.testing.assert_close(_logits(restored), trained, rtol=1e-4, atol=1e-4)
        subject.detach(base, restored)
        before.check(base)
        if subject.Config.trained:
            assert (trained - untrained).abs().max() > 1e-2
        assert torch.equal(_logits(base.model), untrained)

    def test_save_writes_nothing_that_could_run_code(
        self, subject: Method, base: LoadedModel, config: MethodConfig, tmp_path: Path
    ) -> None:
        model = subject.attach(base, config, seed=0)
        subject.save(model, tmp_path)
        subject.detach(base, model)
        written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
        assert {path.suffix for path in written} <= PLAIN_FILES
        assert any(path.suffix == ".safetensors" for path in written) == subject.Config.trained
        assert str(base.folder) not in "".join(path.read_text() for path in tmp_path.glob("*.json"))

    def test_restore_refuses_files_that_do_not_fit(
        self, subject: Method, base: LoadedModel, config: MethodConfig, tmp_path: Path
    ) -> None:
        if not subject.Config.trained:
            assert subject.restore(base, tmp_path, config) is base.model
            return
        before = _Fingerprint(base)
        with pytest.raises(ModelError):
            subject.restore(base, tmp_path, config)
        before.check(base)
        model = subject.attach(base, config, seed=0)
        subject.save(model, tmp_path)
        subject.detach(base, model)
        for path in tmp_path.glob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(ModelError):
            subject.restore(base, tmp_path, config)
        before.check(base)


class _Fingerprint:
    """Everything of a base that a method must leave alone: weights, flags, modules, config."""

    def __init__(self, base: LoadedModel) -> None:
        self.state = _copy(base.model)
        self.flags = [parameter.requires_grad for parameter in base.model.parameters()]
        self.modules = [(name, type(module)) for name, module in base.model.named_modules()]
        self.attributes = set(vars(base.model))
        self.config = base.model.config.to_dict()

    def check(self, base: LoadedModel) -> None:
        """Fail when anything is different now."""
        assert [(name, type(module)) for name, module in base.model.named_modules()] == self.modules
        assert [parameter.requires_grad for parameter in base.model.parameters()] == self.flags
        assert all(parameter.grad is None for parameter in base.model.parameters())
        assert set(vars(base.model)) == self.attributes
        assert base.model.config.to_dict() == self.config
        assert not base.model.training
        assert _equal(_copy(base.model), self.state)

    def test_what_was_saved_can_be_trained_on(
        self, subject: Method, base: LoadedModel, config: MethodConfig, tmp_path: Path
    ) -> None:
        model = subject.attach(base, config, seed=0)
        _train(model, base)
        answers = _logits(model.eval())
        subject.save(model, tmp_path)
        subject.detach(base, model)
        model = subject.attach(base, config, seed=1)
        marked = [parameter.requires_grad for parameter in model.parameters()]
        subject.load(model, tmp_path)
        assert [parameter.requires_grad for parameter in model.parameters()] == marked
        assert (_logits(model.eval()) == answers).all()
        subject.detach(base, model)


def _copy(model: Any) -> dict[str, torch.Tensor]:
    return copy.deepcopy({name: tensor.detach() for name, tensor in model.state_dict().items()})


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _ids() -> torch.Tensor:
    import torch

    return torch.arange(3, 27).reshape(2, 12)


def _logits(model: Any) -> torch.Tensor:
    import torch

    with torch.inference_mode():
        return model(_ids()).logits.clone()


def _train(model: Any, base: LoadedModel) -> None:
    """A few large steps, so that what was trained shows in the answers."""
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained or model is base.model:
        return
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=0.02)
    for _ in range(5):
        model(_ids(), labels=_ids()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
