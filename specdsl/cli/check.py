"""`specdsl check` and `specdsl attack`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import SpecError

if TYPE_CHECKING:
    from specdsl.run.execution import Execution
    from specdsl.run.pipeline import RunOptions
    from specdsl.run.result import Report

FORMATS = ("console", "json")
RUNNING = ("jobs", "memory", "no_cache", "cache_dir")
EVIDENCE = ("certificates", "semantics", "trust")
"""Names of the options of `options.running` and `options.evidence`."""


@click.command("check")
@options.paths
@options.parameters
@options.selection
@click.option("-x", "stop_early", is_flag=True, help="Stop at the first that fails.")
@click.option(
    "--using",
    metavar="BACKEND",
    help="Decide with this backend, whatever the spec says: NAME, or 'NAME(option = value)'.",
)
@options.timeout
@click.option("--seed", type=click.IntRange(min=0), help="For backends that draw random numbers.")
@options.device
@options.running
@options.evidence
@click.option(
    "--unknown",
    type=click.Choice(["ok", "fail"]),
    default="fail",
    show_default=True,
    help="Whether an undecided obligation makes the exit code 4.",
)
@options.allowed
@click.option(
    "--output-format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="console (default) or json; repeatable together with --output-file.",
)
@click.option(
    "--output-file",
    "output",
    type=options.FILE,
    metavar="FILE",
    help="Write there instead of stdout; of two formats the JSON goes there.",
)
def check_command(**given: Any) -> int:
    """Decide every `check` of the given spec files (or of all in a folder).

    \b
    specdsl check specs/digits.spec
    specdsl check specs/robustness.spec -D eps=4/255 --timeout 30
    specdsl check specs/acasxu.spec -k 'phi1 or phi3' --output-format json
    specdsl check specs/digits.spec --certificates proofs
    """
    return run_check(**given)


@click.command("attack")
@options.paths
@options.parameters
@options.selection
@click.option("-x", "stop_early", is_flag=True, help="Stop at the first counterexample.")
@options.timeout
@click.option("--seed", type=click.IntRange(min=0), help="For the random starting points.")
@options.device
@options.running
@options.allowed
def attack_command(**given: Any) -> int:
    """Look for counterexamples only: `check --using attack --unknown ok`."""
    return run_check(**given, using="attack", unknown="ok", formats=(), output=None)


def run_check(
    *,
    paths: tuple[Path, ...],
    parameters: tuple[str, ...],
    allowed: tuple[Path, ...],
    formats: tuple[str, ...],
    output: Path | None,
    **settings: Any,
) -> int:
    """Run the pipeline on every file, print the reports, return the exit code."""
    execution = options.execution(
        **{name: settings.pop(name) for name in (*RUNNING, *EVIDENCE) if name in settings}
    )
    options.require_device_beside(execution, settings["device"])
    formats = tuple(dict.fromkeys(formats)) or ("console",)
    if len(formats) > 1 and output is None:
        raise click.UsageError("two output formats need --output-file for the JSON")
    overrides = options.parse_parameters(parameters)
    run_options = _run_options(execution=execution, **settings)
    reports = _run_all(paths, overrides, run_options, allowed)
    failed = _write_tables(reports, allowed)
    _print_reports(reports, formats, output)
    from specdsl.run.exit_codes import ExitCode
    from specdsl.run.result import combined_exit_code

    code = combined_exit_code(reports)
    return ExitCode.USAGE if failed and code != ExitCode.INTERRUPTED else code


def _run_options(  # noqa: PLR0913 - one for each option
    *,
    selection: str | None,
    stop_early: bool,
    using: str | None,
    timeout: float | None,
    seed: int | None,
    device: str,
    unknown: str,
    execution: Execution,
) -> RunOptions:
    from specdsl.run.asked_backend import asked_backend
    from specdsl.run.pipeline import RunOptions

    if using is not None:
        # Once, and not for each of the specs.
        asked_backend(using)
    return RunOptions(
        using=using,
        timeout=timeout,
        seed=seed,
        device=device,
        selection=options.parse_optional_selection(selection),
        stop_early=stop_early,
        unknown_fails=unknown == "fail",
        execution=execution,
    )


def _run_all(
    paths: tuple[Path, ...],
    overrides: dict[str, str],
    run_options: RunOptions,
    allowed: tuple[Path, ...],
) -> list[Report]:
    from specdsl.cli.progress import progress
    from specdsl.run.pipeline import verify

    reports: list[Report] = []
    with progress() as observer:
        for path in options.spec_files(paths):
            report = verify(path, overrides, run_options, observer, allowed)
            reports.append(report)
            if report.interrupted or (run_options.stop_early and report.codes()):
                break
    print_diagnostics(dict.fromkeys(d for report in reports for d in report.diagnostics))
    for report in reports:
        shown = [d for r in report.results for d in (*r.diagnostics, *r.warnings)]
        print_diagnostics(dict.fromkeys(shown))
    return reports


def _write_tables(reports: list[Report], allowed: tuple[Path, ...]) -> bool:
    """Write what the specs' `report`s ask for; whether something could not be written."""
    from specdsl.report.tables import write_requested

    failed = False
    for report in reports:
        try:
            for path in write_requested(report, allowed):
                click.echo(f"wrote {path}", err=True)
        except SpecError as error:
            print_diagnostics(error.diagnostics)
            failed = True
    return failed


def _print_reports(reports: list[Report], formats: tuple[str, ...], output: Path | None) -> None:
    from specdsl.report import console, document
    from specdsl.writing import write_text

    to_file = None if output is None else ("json" if "json" in formats else formats[0])
    for name in formats:
        if name == to_file and output is not None:
            text = document.to_json(reports) + "\n" if name == "json" else console.to_text(reports)
            write_text(output, text)
        elif name == "json":
            click.echo(document.to_json(reports))
        else:
            console.write(reports, sys.stdout)
