"""A metric of the user's own: a function `module:function` that scores one example.

It is called by the names of its arguments, any of `output` (the model's text), `target` (the right answer) and `row`
(every column of the row as a dict), and returns a number, True, False, or None where there is no score:

    def polite(output: str, row: dict) -> bool:
        return "please" in output or row["tone"] == "blunt"

Naming a function in a spec is what allows it to run. It runs when predictions are scored, never while a spec is checked
or planned. The whole file it stands in is part of the identity of scores: an edit scores again. What that file imports
is not.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args

from ftlab.errors import UsageError, first_line
from ftlab.evaluate.metrics.base import Answer, Direction, Unit
from ftlab.evaluate.metrics.means import MeanMetric
from ftlab.spec.functions import FoundFunction, find_function
from ftlab.spec.metrics import TaskType
from ftlab.spec.schema import MetricOptions


class UserMetricOptions(MetricOptions):
    """Options of a function."""

    direction: Literal["higher", "lower"] = "higher"
    """Which values are better."""
    unit: Literal["share", "ratio", "count", "nats", "score"] = "share"
    """`share`: the function gives numbers from 0 to 1, or true and false. `score`: any number."""


class UserMetric(MeanMetric):
    """The mean of what the function gives for each example."""

    name: ClassVar[str] = "user"
    version: ClassVar[str] = "1"
    tasks: ClassVar[frozenset[TaskType]] = frozenset(get_args(TaskType))
    Options: ClassVar[type[MetricOptions]] = UserMetricOptions

    def __init__(self, options: UserMetricOptions, reference: str, root: Path) -> None:
        """Raises UsageError when `reference` names no function that can be called."""
        super().__init__(options)
        self.direction: Direction = options.direction
        self.unit: Unit = options.unit
        self._reference = reference
        self._found = find_function(reference, root)
        if self._found.wrong is not None:
            raise UsageError(f"task.metrics: '{reference}': {self._found.wrong}")

    def score(self, answer: Answer) -> float | None:
        """What the function gives. Raises UsageError when it raises or gives what is no score."""
        given = {"output": answer.output, "target": answer.target, "row": dict(answer.row or {})}
        try:
            value = self._function(**{name: given[name] for name in self._found.arguments})
        except Exception as error:  # the user's code may raise anything
            raise self._error(f"raised {_told(error, self._found.path)}", answer) from error
        if value is None:
            return None
        try:
            number = float(value) if not isinstance(value, str) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self._error(f"gave {str(value)[:80]!r}; expected a finite number, true, false or None", answer)
        if self.unit == "share" and not 0.0 <= number <= 1.0:
            mend = f"{{{self._reference}: {{unit: score}}}}"
            raise self._error(f"gave {number:g}; a share is from 0 to 1, for other numbers write {mend}", answer)
        return number

    def _error(self, what: str, answer: Answer) -> UsageError:
        return UsageError(
            f"task.metrics: '{self._reference}' ({self._found.path}) {what}, for example {answer.example_id}"
        )

    @cached_property
    def _function(self) -> Callable[..., Any]:
        try:
            module = _load(self._found)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            told = _told(error, self._found.path)
            raise UsageError(
                f"task.metrics: '{self._reference}' cannot be imported from {self._found.path}: {told}"
            ) from error
        return getattr(module, self._found.name)


def _load(found: FoundFunction) -> ModuleType:
    """Import the module: from its file when it stands beside the spec, so that no other module of its name is taken."""
    if found.installed:
        return importlib.import_module(found.module)
    assert found.path is not None
    name = f"ftlab_user_{found.sha256[:12]}_{found.module.replace('.', '_')}"
    spec = importlib.util.spec_from_file_location(name, found.path)
    assert spec is not None, "the file ends in .py"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its neighbours can be imported too, after everything that is installed.
    folder = str(found.path.parent)
    sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _told(error: BaseException, path: Path | None) -> str:
    """What was raised and the line of the user's file where it was: `KeyError: 'tone' (line 7)`."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {first_line(error)}{where}"
