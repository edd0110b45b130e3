"""`specdsl compile`: any stage as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from specdsl.cli import options
from specdsl.cli.output import print_diagnostics
from specdsl.diagnostics import SpecError
from specdsl.run.exit_codes import ExitCode

if TYPE_CHECKING:
    from specdsl.run.stages import StageText

STAGES = ("tree", "spec", "query", "graph", "lp", "mps", "nl", "smt2", "dot", "vnnlib", "onnx")


@click.command("compile")
@options.path
@click.option("--to", "stage", type=click.Choice(STAGES), required=True, help="Which stage.")
@options.parameters
@options.selection
@options.allowed
@click.option(
    "-o",
    "output",
    default="-",
    show_default=True,
    metavar="DIR|-",
    help="A folder (made if missing) for one file each, or - for stdout.",
)
def compile_command(
    path: Path,
    stage: str,
    parameters: tuple[str, ...],
    selection: str | None,
    allowed: tuple[Path, ...],
    output: str,
) -> int:
    """Print a stage of the compiler.

    `tree` and `spec` are of the whole file; the others of each obligation, `lp`, `mps` and `nl` of
    each case of its negation. `nl` writes the names of columns and rows beside the text, `vnnlib`
    the networks, as ONNX files; `onnx` writes the networks alone, each once.
    """
    from specdsl.run.pipeline import load_combinations
    from specdsl.run.stages import network_models, spec_text, stage_texts, tree_text

    chosen = options.parse_optional_selection(selection)
    overrides = options.parse_parameters(parameters)
    texts: Iterable[StageText]
    if stage == "tree":
        texts = [tree_text(path)]
    else:
        combinations = load_combinations(path, overrides, allowed)
        print_diagnostics(dict.fromkeys(w for c in combinations for w in c.spec.warnings))
        if stage == "spec":
            texts = [spec_text(path, combination) for combination in combinations]
        elif stage == "onnx":
            texts = network_models(combinations, chosen)
        else:
            texts = stage_texts(combinations, stage, chosen)
    count = _print(list(texts), stage) if output == "-" else _write(texts, Path(output))
    return ExitCode.PASSED if count else ExitCode.NOTHING


def _print(texts: list[StageText], stage: str) -> int:
    from specdsl.run.stages import COMMENTS

    if len(texts) > 1 and stage not in COMMENTS:
        message = f"{len(texts)} texts, but a stream holds one `{stage}` file"
        help = "write them to a folder with `-o DIR`, or select one with `-k`"
        raise SpecError.of("E0858", message, help=help)
    for text in texts:
        if len(texts) > 1:
            click.echo(f"{COMMENTS[stage]}{text.title}")
        if isinstance(text.text, bytes):
            click.echo(text.text, nl=False)
            continue
        click.echo(text.text.rstrip("\n"))
        if text.files:
            left = ", ".join(f"`{name}`" for name in text.files)
            click.echo(f"not written: {left}; choose a folder with `-o DIR`", err=True)
    return len(texts)


def _write(texts: Iterable[StageText], folder: Path) -> int:
    from specdsl.writing import write_bytes, write_text

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot make `{folder}`: {error.strerror}") from error
    count = 0
    written: dict[str, bytes] = {}
    for text in texts:
        if isinstance(text.text, bytes):
            write_bytes(folder / text.name, text.text)
        else:
            ended = text.text if text.text.endswith("\n") else text.text + "\n"
            write_text(folder / text.name, ended)
        click.echo(folder / text.name)
        for name, content in text.files.items():
            if written.get(name) != content:
                write_bytes(folder / name, content)
                click.echo(folder / name)
                written[name] = content
        count += 1
    return count
