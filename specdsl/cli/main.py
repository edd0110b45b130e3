"""`specdsl`: the group of commands, and what happens to every kind of failure."""

from __future__ import annotations

import os
import platform
import sys
import traceback
from importlib import import_module
from typing import NoReturn

import click

from specdsl.diagnostics import SpecError
from specdsl.run.exit_codes import ExitCode
from specdsl.version import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("specdsl.cli.check", "Decide every `check` of the given spec files."),
    "attack": ("specdsl.cli.check", "Look for counterexamples only (check --using attack)."),
    "list": ("specdsl.cli.show", "Print the ids of all obligations."),
    "check-syntax": ("specdsl.cli.show", "Parse and type-check; solve nothing."),
    "format": ("specdsl.cli.format", "Write spec files in the one canonical form."),
    "emit": ("specdsl.cli.train", "Print the script of a training."),
    "train": ("specdsl.cli.train", "Train as a `train` block says."),
    "sweep": ("specdsl.cli.sweep", "Train for many values; draw the clean-certified front."),
    "compile": ("specdsl.cli.compile", "Print a stage: tree, spec, graph, lp, smt2, vnnlib, ..."),
    "show": ("specdsl.cli.show", "Print and draw the networks of an ONNX file or a spec."),
    "cache": ("specdsl.cli.cache", "Look at, or throw away, the answers that check keeps."),
    "explain": ("specdsl.cli.explain", "Explain a diagnostic code, with examples."),
    "solve": ("specdsl.cli.solve", "Decide one network and VNN-LIB query."),
    "bench": ("specdsl.cli.bench", "Decide many VNN-COMP instances."),
    "audit": ("specdsl.cli.audit", "Check certificates, by the independent checker alone."),
}
"""Command to its module and summary. Modules are imported when their command runs, so that
`specdsl --help` stays far below half a second."""

CLOSED = frozenset({"solve", "bench"})
"""Commands that run no Python code but ours."""


class LazyGroup(click.Group):
    """Commands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order people meet them, not by alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        return getattr(module, cmd_name.replace("-", "_") + "_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="specdsl")
def cli() -> None:
    """State what a neural network must do, and check it.

    Results go to stdout, progress to stderr. Exit codes of `check`: 0 passed, 1 falsified or an
    `expect` missed, 2 usage or spec error, 3 internal error, 4 something unknown, 5 nothing
    collected, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit. Diagnostics and bad usage end with 2, our own bugs with 3."""
    if arguments is not None:
        sys.exit(run_guarded(cli, "specdsl", arguments))
    given = sys.argv[1:]
    if given and given[0] in CLOSED:
        leave(run_guarded(cli, "specdsl", given))
    sys.exit(run_guarded(cli, "specdsl", given))


def leave(code: int) -> NoReturn:
    """End the process at once: taking torch down costs a fifth of a second and frees memory only.

    For commands that run nobody else's code, which could have left something to be done at exit.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_guarded(command: click.Command, name: str, arguments: list[str]) -> int:
    """Run a command and give its exit code; every failure is told on stderr."""
    from specdsl.cli.output import print_diagnostics

    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
        # Output still in the buffer fails here, while the reader's absence can be handled.
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except SpecError as error:
        print_diagnostics(error.diagnostics)
        return ExitCode.USAGE
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing more can be said, and nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASSED
    # The outermost frame: anything that arrives here is a bug of ours, and is said to be one.
    except Exception:  # noqa: BLE001
        _report_bug(name, arguments)
        return ExitCode.INTERNAL
    return code if isinstance(code, int) else ExitCode.PASSED


def _report_bug(name: str, arguments: list[str]) -> None:
    click.echo(traceback.format_exc(), err=True)
    click.echo(
        "internal error: this is a bug in specdsl, not in your files. Please report it with the "
        "text above,\nthe command and, if you can, the files.\n"
        f"specdsl {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {name} {' '.join(arguments)}",
        err=True,
    )
