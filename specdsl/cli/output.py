"""Where text goes: results to stdout, diagnostics and progress to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import IO

import click

from specdsl.diagnostics import Diagnostic, render

_COLOURS = {"error": "red", "warning": "yellow"}


def print_diagnostics(diagnostics: Iterable[Diagnostic], *, to_stdout: bool = False) -> None:
    """Each as a compiler prints it, a blank line between them."""
    stream = sys.stdout if to_stdout else sys.stderr
    for item in diagnostics:
        text = render(item)
        if is_rich(stream):
            head, _, rest = text.partition("\n")
            text = click.style(head, fg=_COLOURS[item.severity], bold=True) + "\n" * bool(rest)
            text += rest
        click.echo(text + "\n", file=stream)


def is_rich(stream: IO[str]) -> bool:
    """Whether colours and moving lines are welcome: a terminal, no NO_COLOR, no CI."""
    dumb = os.environ.get("TERM") == "dumb"
    return stream.isatty() and not dumb and not os.environ.get("NO_COLOR") and not in_ci()


def in_ci() -> bool:
    """Whether a continuous-integration service runs this (`CI` set, and not to `false`)."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
