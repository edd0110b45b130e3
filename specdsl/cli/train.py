"""`specdsl emit` and `specdsl train`: a training as a script, and that script run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import SpecError, suggestion
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.language.spec import Spec
    from specdsl.training.plan.plan import Plan

NETWORK = click.option(
    "--network",
    metavar="NAME",
    help="Whose training, where the spec has several.",
)


@click.command("emit")
@options.path
@options.parameters
@options.allowed
@NETWORK
@click.option("--standalone", is_flag=True, help="Plain PyTorch, without any import of specdsl.")
@click.option("-o", "output", type=options.FILE, metavar="FILE", help="Instead of stdout.")
def emit_command(
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    network: str | None,
    standalone: bool,
    output: Path | None,
) -> int:
    """Print the script of a training: what `specdsl train` runs.

    \b
    specdsl emit specs/mnist.spec -o train.py
    specdsl emit specs/mnist.spec --standalone -o train.py

    Files are named from where the script is written; without `-o`, from the folder of the spec.
    """
    from specdsl.report.tables import write_text

    spec, plan = _loaded(path, parameters, allowed, network)
    text = _script(spec, plan, path.parent if output is None else output.parent, standalone)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
    return ExitCode.PASSED


@click.command("train")
@options.path
@options.parameters
@options.allowed
@NETWORK
@click.option("--fresh", is_flag=True, help="Begin again where a checkpoint could be resumed.")
@click.option("--check", "only_check", is_flag=True, help="Look for mistakes, and stop.")
def train_command(
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    network: str | None,
    fresh: bool,
    only_check: bool,
) -> int:
    """Train as the `train` block of a spec says.

    Writes the script beside what it saves (`net.onnx` has `net.train.py`, `net.jsonl`, `net.svg`),
    prints the schedule, and runs the script. A run that was stopped goes on where it was.
    """
    from specdsl.report.tables import write_text
    from specdsl.training.emit.script import out_name
    from specdsl.training.plan.clock import schedule_table

    spec, plan = _loaded(path, parameters, allowed, network)
    out = path.parent / out_name(plan)
    script = out.with_suffix(".train.py")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(script, _script(spec, plan, script.parent, standalone=False))
    if fresh:
        out.with_suffix(".checkpoint").unlink(missing_ok=True)
    click.echo(f"{schedule_table(plan)}\n\nscript: {script}", err=True)
    arguments = ["--check"] if only_check else []
    found = subprocess.run([sys.executable, str(script), *arguments], check=False)
    return ExitCode.PASSED if found.returncode == 0 else ExitCode.USAGE


def _loaded(
    path: Path, parameters: tuple[str, ...], allowed: tuple[Path, ...], network: str | None
) -> tuple[Spec, Plan]:
    """The spec, and the plan of the training that is meant. Raises SpecError E0859."""
    from specdsl.run.pipeline import load_spec
    from specdsl.training.plan.resolve import plans_of

    spec = load_spec(path, options.parse_parameters(parameters), allowed)
    print_diagnostics(spec.warnings)
    plans = plans_of(spec)
    chosen = [plan for plan in plans if network in {None, plan.network}]
    if len(chosen) == 1:
        return spec, chosen[0]
    names = [plan.network for plan in plans]
    if not plans:
        raise SpecError.of("E0859", f"`{path}` trains nothing", help="add a `train` block")
    if network is not None and not chosen:
        listed = ", ".join(f"`{name}`" for name in names)
        help_ = suggestion(network, names) or f"it trains {listed}"
        raise SpecError.of("E0859", f"`{path}` does not train `{network}`", help=help_)
    text = f"`{path}` has {len(chosen)} trainings"
    raise SpecError.of("E0859", text, help=f"choose with `--network {names[0]}`")


def _script(spec: Spec, plan: Plan, folder: Path, standalone: bool) -> str:
    from specdsl.training.emit.given import given_for
    from specdsl.training.emit.script import script
    from specdsl.training.emit.standalone import standalone as plain

    given = given_for(plan, spec, folder)
    return plain(plan, given) if standalone else script(plan, given)
