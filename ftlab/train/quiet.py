"""Libraries neither chatter nor leave marks on the base while they train it."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CHATTY = ("transformers", "trl", "peft", "accelerate", "datasets")
_OWNED_BY_TORCH = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence advice and deprecations of the training libraries; their errors, and everybody else's warnings, stay.

    What a user should know of a training goes out as `warning` events instead, see `ftlab.train.callbacks`.
    """
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for name in _CHATTY:
                warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def unmarked(model: Any) -> Iterator[None]:
    """Undo what trainers do to a model besides training it.

    TRL replaces `forward`, tags the model, and the trainer aligns the config's special tokens with the tokenizer's: all
    of it would be inherited by the next run on the same base.
    """
    before = {name: value for name, value in vars(model).items() if name not in _OWNED_BY_TORCH}
    configs = [(config, copy.deepcopy(vars(config))) for config in _configs(model)]
    try:
        yield
    finally:
        for name in [name for name in vars(model) if name not in before and name not in _OWNED_BY_TORCH]:
            del vars(model)[name]
        vars(model).update(before)
        for config, fields in configs:
            vars(config).clear()
            vars(config).update(fields)


def _configs(model: Any) -> list[Any]:
    return [config for config in (model.config, getattr(model, "generation_config", None)) if config is not None]
