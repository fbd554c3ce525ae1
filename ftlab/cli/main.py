"""`ftlab`: the table of verbs, and the way from a command line to an exit code.

A verb's module is imported when that verb is called, so that `ftlab --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ftlab.cli.common import exit_code_of, prepare_streams


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: where its function lives, and its line in the help."""

    target: str
    """`module:function`."""
    help: str


GROUPS: dict[str, dict[str, Verb]] = {
    "Ask a question": {
        "init": Verb("ftlab.cli.spec:init", "Write a first experiment to start from."),
        "validate": Verb("ftlab.cli.spec:validate", "Check a spec and show everything that is wrong with it."),
        "plan": Verb("ftlab.cli.spec:plan", "Show what a spec will run, what is done, and what it will take."),
        "schema": Verb("ftlab.cli.spec:schema", "Print the JSON Schema of a spec, for editors."),
    },
    "Run it": {
        "run": Verb("ftlab.cli.run:run", "Run everything that is not done yet, then compare."),
        "resume": Verb("ftlab.cli.run:resume", "Continue an experiment that was interrupted."),
        "retry": Verb("ftlab.cli.control:retry", "Try again what failed, and nothing else."),
        "clone": Verb("ftlab.cli.control:clone", "Start a new arm from a run's config, or from its weights."),
        "stop": Verb("ftlab.cli.control:stop", "Stop what runs, after its step and a checkpoint."),
        "decide": Verb("ftlab.cli.run:decide", "Settle the question on the sealed test rows."),
        "judge": Verb("ftlab.cli.judge:judge", "Let a judge compare the answers of every arm."),
        "status": Verb("ftlab.cli.run:status", "Show how far an experiment is."),
    },
    "Read the answer": {
        "ls": Verb("ftlab.cli.read:ls", "List the experiments of the results folder."),
        "show": Verb("ftlab.cli.read:show", "Show the comparison of an experiment, or one run."),
        "compare": Verb("ftlab.cli.read:compare", "Compare arms on the same examples."),
        "examples": Verb("ftlab.cli.read:examples", "Show outputs side by side."),
        "report": Verb("ftlab.cli.read:report", "Write the comparison as one HTML file."),
        "export": Verb("ftlab.cli.read:export", "Export tables, or the winner's weights with a model card."),
        "ui": Verb("ftlab.cli.ui:ui", "Open the results in the browser."),
    },
    "Look after it": {
        "doctor": Verb("ftlab.cli.run:doctor", "Check this machine, the cache and the results folder."),
        "gc": Verb("ftlab.cli.collect:gc", "Show what can go, and remove it by --apply; the best stay."),
        "rebuild": Verb("ftlab.cli.store:rebuild", "Build the ledger anew from the journals."),
    },
}
VERBS: dict[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}


def load_verb(name: str) -> Any:
    """The click command of a verb, its module imported."""
    module, _, function = VERBS[name].target.partition(":")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, short_help=VERBS[name].help)(getattr(import_module(module), function))
    return get_command(app)


class LazyGroup(TyperGroup):
    """Lists every verb by its line in the table; loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {name: TyperCommand(name, help=verb.help) for name, verb in VERBS.items()}
        super().__init__(**attributes)

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order of the table."""
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The verb's real command in place of its line."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_verb(name) if command is not None and name in VERBS else command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs by what one wants to do, all in the same columns."""
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), verb.help) for name, verb in verbs.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Prompt it, LoRA it, or fine-tune all of it? One YAML file states the question; ftlab answers with evidence.",
    epilog="Exit codes: 0 ok, 1 a defect of ftlab, 2 the spec or the command is wrong, 3 finished with failed runs, "
    "4 a gate is not met, 130 interrupted.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from ftlab import __version__

        typer.echo(f"ftlab {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a defect.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. `arguments` come without the program's name."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        result = get_command(app).main(arguments, prog_name="ftlab", standalone_mode=False)
    except BaseException as error:
        return exit_code_of(error, verbose=_is_verbose(arguments))
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _is_verbose(arguments: Sequence[str]) -> bool:
    """Whether -v stands before the verb; asked only after a failure, when there is no parsed result to read it from."""
    options = list(arguments)[: next((index for index, word in enumerate(arguments) if word in VERBS), None)]
    return bool({"-v", "--verbose"} & set(options))
