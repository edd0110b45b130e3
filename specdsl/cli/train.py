"""`specdsl emit` and `specdsl train`: a training as a script, and that script run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.language.spec import Spec
    from specdsl.training.plan.plan import Plan

NETWORK = click.option(
    "--network",
    metavar="NAME",
    help="Whose training, where the spec has several.",
)
FORCE = click.option("--force", is_flag=True, help="Overwrite a script that was edited.")
KEEP = "write to another file, or lose the edits with `--force`"


@click.command("emit")
@options.path
@options.parameters
@options.allowed
@NETWORK
@click.option("--standalone", is_flag=True, help="Plain PyTorch, without any import of specdsl.")
@click.option("-o", "output", type=options.FILE, metavar="FILE", help="Instead of stdout.")
@FORCE
def emit_command(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    network: str | None,
    standalone: bool,
    output: Path | None,
    force: bool,
) -> int:
    """Print the script of a training: what `specdsl train` runs.

    \b
    specdsl emit specs/mnist.spec -o train.py
    specdsl emit specs/mnist.spec --standalone -o train.py

    Files are named from where the script is written; without `-o`, from the folder of the spec. A
    script that was edited since is not overwritten without `--force`.
    """
    from specdsl.training.emit.edited import require_unedited
    from specdsl.writing import write_text

    spec, plan = _loaded(path, parameters, allowed, network)
    text = _script(spec, plan, path.parent if output is None else output.parent, standalone)
    if output is None:
        click.echo(text, nl=False)
    else:
        if not force:
            require_unedited(output, text, KEEP)
        write_text(output, text)
    return ExitCode.PASSED


@click.command("train")
@options.path
@options.parameters
@options.allowed
@NETWORK
@click.option("--fresh", is_flag=True, help="Begin again where a checkpoint could be resumed.")
@click.option("--check", "only_check", is_flag=True, help="Look for mistakes, and stop.")
@FORCE
def train_command(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path,
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    network: str | None,
    fresh: bool,
    only_check: bool,
    force: bool,
) -> int:
    """Train as the `train` block of a spec says.

    Writes the script beside what it saves (`net.onnx` has `net.train.py`, `net.jsonl`, `net.svg`),
    prints the schedule, and runs the script. A run that was stopped goes on where it was. Where the
    script was edited, this stops: `python net.train.py` trains with the edits.
    Exit codes: 0 trained, 2 what a diagnostic says, 3 a bug, 130 interrupted; with
    SPECDSL_TRACEBACK=1 diagnostics come with a traceback.
    """
    from specdsl.training.emit.edited import require_unedited
    from specdsl.training.emit.script import out_name
    from specdsl.training.plan.clock import schedule_table
    from specdsl.writing import write_text

    spec, plan = _loaded(path, parameters, allowed, network)
    out = path.parent / out_name(plan)
    script = out.with_suffix(".train.py")
    out.parent.mkdir(parents=True, exist_ok=True)
    text = _script(spec, plan, script.parent, standalone=False)
    if not force:
        advice = f"train with the edits by `python {script}`, or lose them with `--force`"
        require_unedited(script, text, advice)
    write_text(script, text)
    if fresh:
        out.with_suffix(".checkpoint").unlink(missing_ok=True)
    click.echo(f"{schedule_table(plan)}\n\nscript: {script}", err=True)
    arguments = ["--check"] if only_check else []
    found = subprocess.run([sys.executable, str(script), *arguments], check=False)
    # Scripts exit as `specdsl` does; another code is that of Python after a traceback.
    told = (ExitCode.PASSED, ExitCode.USAGE, ExitCode.INTERRUPTED)
    return next((code for code in told if code == found.returncode), ExitCode.INTERNAL)


def _loaded(
    path: Path, parameters: tuple[str, ...], allowed: tuple[Path, ...], network: str | None
) -> tuple[Spec, Plan]:
    """The spec, and the plan of the training that is meant. Raises SpecError E0859."""
    from specdsl.run.pipeline import load_spec
    from specdsl.training.plan.choose import chosen_plan
    from specdsl.training.plan.resolve import plans_of

    spec = load_spec(path, options.parse_parameters(parameters), allowed)
    print_diagnostics(spec.warnings)
    return spec, chosen_plan(plans_of(spec), network, path)


def _script(spec: Spec, plan: Plan, folder: Path, standalone: bool) -> str:
    from specdsl.training.emit.given import given_for
    from specdsl.training.emit.script import script
    from specdsl.training.emit.standalone import standalone as plain

    given = given_for(plan, spec, folder)
    return plain(plan, given) if standalone else script(plan, given)
