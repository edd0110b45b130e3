"""`specdsl list` and `check-syntax`: nothing is solved, torch is not loaded."""

from __future__ import annotations

from pathlib import Path

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.run.exit_codes import ExitCode


@click.command("list")
@options.path
@options.parameters
@options.selection
@options.allowed
def list_command(
    path: Path, parameters: tuple[str, ...], selection: str | None, allowed: tuple[Path, ...]
) -> int:
    """Print the ids of all obligations and queries, one a line."""
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.obligations import obligations_of, sites_of
    from specdsl.run.pipeline import load_combinations

    chosen = options.parse_optional_selection(selection)
    resources = Resources()
    found = 0
    for combination in load_combinations(path, options.parse_parameters(parameters), allowed):
        obligations = obligations_of(combination, resources)
        for asked in (*obligations, *sites_of(combination, resources)):
            if chosen is None or chosen.matches(asked.id):
                click.echo(asked.id)
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
    from specdsl.run.pipeline import load_combinations

    overrides = options.parse_parameters(parameters)
    files = options.spec_files(paths)
    errors = 0
    for path in files:
        found: tuple[Diagnostic, ...]
        try:
            combinations = load_combinations(path, overrides, allowed)
            found = tuple(dict.fromkeys(w for c in combinations for w in c.spec.warnings))
        except SpecError as error:
            found = error.diagnostics
        print_diagnostics(found, to_stdout=True)
        errors += sum(item.severity == "error" for item in found)
    plural = "s" * (len(files) != 1)
    click.echo(f"{len(files)} file{plural}, {errors} error{'s' * (errors != 1)}", err=True)
    if errors:
        return ExitCode.USAGE
    return ExitCode.PASSED if files else ExitCode.NOTHING
