"""`specdsl explain`: what a diagnostic code means, with examples; what a spec trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from specdsl.cli import options
from specdsl.cli.explanations import Example, explanation_of, shown_for
from specdsl.cli.output import print_diagnostics
from specdsl.codes import CODES
from specdsl.diagnostics import SpecError, suggestion
from specdsl.run.exit_codes import ExitCode

GROUPS = {
    "E01": "Syntax",
    "E02": "Names and modules",
    "E03": "Types and shapes",
    "E04": "Units, sets and numbers",
    "E05": "Files and data",
    "E06": "Networks",
    "E07": "Properties and queries",
    "E08": "Settings, options and the command line",
    "E09": "Not supported yet",
    "E10": "VNN-LIB",
    "E11": "Training",
    "W": "Warnings",
}
"""The beginning of a code to what its group is about, in the order of the list."""

WIDTH = 79
SPEC = ".spec"


@click.command("explain")
@click.argument("code", required=False, metavar="[CODE|SPEC]")
@options.parameters
@options.allowed
def explain_command(
    code: str | None, parameters: tuple[str, ...], allowed: tuple[Path, ...]
) -> int:
    """Explain a diagnostic code such as E0203, with examples. Without CODE: list all codes.

    Of a spec: each of its trainings with presets written out, and its schedules epoch by epoch.
    """
    if code is None:
        click.echo("\n".join(_overview()))
        return ExitCode.PASSED
    if code.endswith(SPEC):
        return _trainings(Path(code), options.parse_parameters(parameters), allowed)
    wanted = code.removeprefix("error").removeprefix("warning").strip("[]").upper()
    if wanted not in CODES:
        help = suggestion(wanted, CODES) or "`specdsl explain` lists all codes"
        raise SpecError.of("E0856", f"there is no diagnostic code `{code}`", help=help)
    click.echo("\n".join(_explanation(wanted)))
    return ExitCode.PASSED


def _trainings(path: Path, parameters: dict[str, str], allowed: tuple[Path, ...]) -> int:
    """Print what each `train` of a file comes to."""
    from specdsl.run.pipeline import load_spec
    from specdsl.training.plan.clock import schedule_table
    from specdsl.training.plan.resolve import plans_of

    spec = load_spec(path, parameters, allowed)
    print_diagnostics(spec.warnings)
    plans = plans_of(spec)
    if not plans:
        click.echo(f"{path} trains nothing")
        return ExitCode.NOTHING
    for number, plan in enumerate(plans):
        start = "\n" if number else ""
        parts = ", ".join(f"`{name}`" for name in plan.parts)
        together = f"\n\ntrains {parts}" if len(plan.parts) > 1 else ""
        table = schedule_table(plan)
        click.echo(f"{start}{plan.text}{together}\n\n{table}\n\nrecipe {plan.recipe}")
    return ExitCode.PASSED


def _overview() -> Iterator[str]:
    """All codes with their titles, by group."""
    for start, subject in GROUPS.items():
        yield subject
        yield from (f"  {c}  {CODES[c].title}" for c in sorted(CODES) if c.startswith(start))
        yield ""
    yield "`specdsl explain CODE` explains one of them."


def _explanation(code: str) -> Iterator[str]:
    entry = CODES[code]
    yield f"{code}: {entry.title}"
    yield ""
    yield click.wrap_text(entry.explanation, width=WIDTH)
    found = explanation_of(code)
    if found is None:
        return
    if found.failing is not None:
        yield from ("", "This fails:", "")
        yield from _shown(found.failing, shown_for(code))
    if found.passing is not None:
        yield from ("", "This passes:", "")
        yield from _shown(found.passing, None)
    if found.note is not None:
        yield from ("", click.wrap_text(found.note, width=WIDTH))


def _shown(example: Example, output: str | None) -> Iterator[str]:
    """The files of an example and its command, with what the tool prints."""
    for name, file in example.files.items():
        if file.says is not None:
            yield from (f"  {name}: {file.says}", "")
            continue
        if len(example.files) > 1:
            yield f"  {name}:"
        yield from (f"    {line}".rstrip() for line in file.content.decode().splitlines())
        yield ""
    yield from (f"  {name}/ is a folder" for name in example.folders)
    yield f"  $ {example.command}"
    if output is not None:
        yield from (f"  {line}".rstrip() for line in output.splitlines())
