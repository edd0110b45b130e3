"""Options that several commands share, and their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from specdsl.diagnostics import SpecError
from specdsl.run.selection import Selection, parse_selection

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(path_type=Path)

paths = click.argument("paths", nargs=-1, required=True, type=FILE, metavar="PATH...")
path = click.argument("path", type=FILE)
parameters = click.option(
    "-D",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the spec, for example -D eps=4/255, or several values of it: "
    "-D eps=1/255..8/255:1/255, -D 'p=one_of(l1, l2)'. Repeatable.",
)
selection = click.option(
    "-k",
    "selection",
    metavar="EXPR",
    help="Only the obligations whose id matches, for example -k 'phi1 or phi3'.",
)
allowed = click.option(
    "--allow-path",
    "allowed",
    multiple=True,
    type=FILE,
    metavar="DIR",
    help="A folder outside the spec's own that it may use. Repeatable.",
)
timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For each obligation; goes before what the spec says. Default: 60.",
)
using = click.option(
    "--using",
    default="portfolio",
    show_default=True,
    metavar="BACKEND",
    help="NAME, or as in a spec 'NAME(option = value)'.",
)
seed = click.option("--seed", type=click.IntRange(min=0), help="For backends that draw numbers.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where backends compute that use torch; auto: on a GPU if there is one and the network is "
    "large enough to gain.",
)
memory = click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="Address space that a process may use.",
)


def parse_parameters(given: Iterable[str]) -> dict[str, str]:
    """`name=value` pairs. Raises SpecError E0850 for anything else and for a name given twice."""
    from specdsl.language.modules.namespaces import is_name

    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not all(map(is_name, name.split("."))) or not value:
            help = "write `-D name=value`, for example `-D eps=4/255` or `-D module.eps=4/255`"
            raise SpecError.of("E0850", f"`-D {text}` is not `name=value`", help=help)
        if name in found:
            raise SpecError.of("E0850", f"`-D {name}` is given twice")
        found[name] = value
    return found


def parse_optional_selection(text: str | None) -> Selection | None:
    """The selection, or None where `-k` was not given. Raises SpecError E0851."""
    return None if text is None else parse_selection(text)


def spec_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files themselves, and every `.spec` file in the folders, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.rglob("*.spec"))
        else:
            found.append(path)
    return tuple(dict.fromkeys(found))
