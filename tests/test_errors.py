"""Errors carry exit codes and places."""

from __future__ import annotations

from ftlab import errors
from ftlab.errors import FtlabError, Problem, SpecError, UsageError


def _all(root: type[FtlabError]) -> list[type[FtlabError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all(child))]


def test_exit_codes_are_1_for_defects_and_2_for_what_the_user_can_mend() -> None:
    for error in _all(FtlabError):
        assert error.exit_code == (2 if issubclass(error, UsageError) else 1), error


def test_every_public_error_hangs_on_the_one_tree() -> None:
    raised = [value for name, value in vars(errors).items() if name.endswith("Error") and isinstance(value, type)]
    assert raised
    assert all(issubclass(error, FtlabError) for error in raised)


def test_a_spec_error_shows_every_problem_on_a_line_of_its_own() -> None:
    error = SpecError(
        [
            Problem("spec.yaml", 6, 7, "methods.lora.rnak", "unknown key, did you mean 'r'?"),
            Problem("-s train.epochs=x", 0, 0, "train.epochs", "expected a number, found 'x'"),
        ]
    )
    assert str(error) == (
        "spec.yaml:6:7  methods.lora.rnak  unknown key, did you mean 'r'?\n"
        "-s train.epochs=x  train.epochs  expected a number, found 'x'"
    )
