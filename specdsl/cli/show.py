"""`specdsl list`, `check-syntax` and `show`: nothing is solved."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.run.networks import NamedNetwork


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


@click.command("show")
@options.path
@options.parameters
@options.allowed
@click.option(
    "-o",
    "output",
    type=options.FILE,
    metavar="FILE.svg",
    help="Also draw the networks, as an SVG picture.",
)
@click.option(
    "--simplified",
    is_flag=True,
    help="After all rewrites, as most methods see the network.",
)
def show_command(
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    output: Path | None,
    simplified: bool,
) -> int:
    """Print the layers of a network, or of all networks that a spec declares.

    PATH is an ONNX file (`.onnx`, `.onnx.gz`) or a spec. Below each table stand the ops that some
    backend has no rule for.
    """
    from specdsl.graph.rewrites import simplify
    from specdsl.report.network_picture import to_svg
    from specdsl.report.network_table import write
    from specdsl.run.support import without_rule
    from specdsl.writing import write_text

    if output is not None and output.suffix != ".svg":
        raise click.BadParameter(f"`{output}` does not end in `.svg`", param_hint="-o")
    drawn = []
    failed = False
    for network in _networks(path, parameters, allowed):
        if network is None:
            failed = True
            continue
        graph = network.imported.graph
        shown = simplify(graph) if simplified else graph
        write(network.name, shown, without_rule(graph), sys.stdout)
        drawn.append((network.name, shown))
    if output is not None and drawn:
        write_text(output, to_svg(drawn))
        click.echo(f"wrote {output}", err=True)
    if failed:
        return ExitCode.USAGE
    return ExitCode.PASSED if drawn else ExitCode.NOTHING


def _networks(
    path: Path, parameters: tuple[str, ...], allowed: tuple[Path, ...]
) -> Iterator[NamedNetwork | None]:
    """The networks in a file; None for one that cannot be read, after saying why."""
    from specdsl.run import networks

    overrides = options.parse_parameters(parameters)
    if networks.is_onnx(path):
        yield networks.onnx_network(path)
        return
    if path.suffix != networks.SPEC_SUFFIX:
        text = f"`{path}` is neither a network (`.onnx`, `.onnx.gz`) nor a spec (`.spec`)"
        raise click.BadParameter(text, param_hint="PATH")
    for found in networks.declared_networks(path, overrides, allowed):
        if isinstance(found, networks.NamedNetwork):
            yield found
        else:
            print_diagnostics([found])
            yield None
