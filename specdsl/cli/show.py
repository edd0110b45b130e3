"""`specdsl list`, `check-syntax` and `explain`: nothing is solved, torch is not loaded."""

from __future__ import annotations

from pathlib import Path

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.codes import CODES
from specdsl.diagnostics import Diagnostic, SpecError, suggestion
from specdsl.run.exit_codes import ExitCode


@click.command("list")
@options.path
@options.parameters
@options.selection
@options.allowed
def list_command(
    path: Path, parameters: tuple[str, ...], selection: str | None, allowed: tuple[Path, ...]
) -> int:
    """Print the ids of all obligations, one a line."""
    from specdsl.query.elaboration.elaborate import elaborate
    from specdsl.query.elaboration.resources import Resources
    from specdsl.run.pipeline import load_spec

    chosen = options.parse_optional_selection(selection)
    spec = load_spec(path, options.parse_parameters(parameters), allowed)
    found = 0
    for obligation in elaborate(spec, Resources()):
        if chosen is None or chosen.matches(obligation.id):
            click.echo(obligation.id)
            found += 1
    return ExitCode.PASSED if found else ExitCode.NOTHING


@click.command("check-syntax")
@options.paths
@options.parameters
@options.allowed
def check_syntax_command(
    paths: tuple[Path, ...], parameters: tuple[str, ...], allowed: tuple[Path, ...]
) -> int:
    """Parse and type-check; print every mistake. No network is read, no solver is started."""
    from specdsl.run.pipeline import load_spec

    overrides = options.parse_parameters(parameters)
    files = options.spec_files(paths)
    errors = 0
    for path in files:
        found: tuple[Diagnostic, ...]
        try:
            found = load_spec(path, overrides, allowed).warnings
        except SpecError as error:
            found = error.diagnostics
        print_diagnostics(found, to_stdout=True)
        errors += sum(item.severity == "error" for item in found)
    plural = "s" * (len(files) != 1)
    click.echo(f"{len(files)} file{plural}, {errors} error{'s' * (errors != 1)}", err=True)
    if errors:
        return ExitCode.USAGE
    return ExitCode.PASSED if files else ExitCode.NOTHING


@click.command("explain")
@click.argument("code")
def explain_command(code: str) -> int:
    """Explain a diagnostic code such as E0203."""
    wanted = code.upper()
    if wanted not in CODES:
        help = suggestion(wanted, CODES) or "codes stand in brackets after `error` or `warning`"
        raise SpecError.of("E0856", f"there is no diagnostic code `{code}`", help=help)
    entry = CODES[wanted]
    click.echo(f"{wanted}: {entry.title}\n")
    click.echo(click.wrap_text(entry.explanation, width=79))
    return ExitCode.PASSED
