"""Options that several commands share, and their values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from specdsl.diagnostics import SpecError
from specdsl.run.demand import TRUSTED, Demand
from specdsl.run.execution import Execution
from specdsl.run.selection import Selection, parse_selection
from specdsl.writing import make_folder

if TYPE_CHECKING:
    from specdsl.verdict import Semantics

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

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
CACHE = ".specdsl_cache"


def together(*options: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, which `--help` lists in this order."""

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# In which processes obligations are decided, and what is kept.
running = together(
    click.option(
        "--jobs",
        type=click.IntRange(min=0),
        metavar="N",
        envvar="SPECDSL_JOBS",
        help="Worker processes, each with one obligation at a time. Default: 1. With 0 everything "
        "is decided in this process, where a crash ends the run.",
    ),
    click.option(
        "--memory",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GIB",
        envvar="SPECDSL_MEMORY",
        help="Address space that each worker may use; what goes beyond costs its own obligation.",
    ),
    click.option(
        "--no-cache",
        is_flag=True,
        envvar="SPECDSL_NO_CACHE",
        help="Ask everything again, and keep no answers.",
    ),
    click.option(
        "--cache-dir",
        type=FILE,
        metavar="DIR",
        envvar="SPECDSL_CACHE_DIR",
        default=CACHE,
        show_default=True,
        help="The folder that answers are kept in, and found again.",
    ),
)


# What counts as proven, and where proofs are written to.
evidence = together(
    click.option(
        "--certificates",
        type=FILE,
        metavar="DIR",
        help="Write a certificate of every proof and every witness there, for `specdsl audit`.",
    ),
    click.option(
        "--semantics",
        type=click.Choice(["float32_any_order", "real"]),
        default="float32_any_order",
        show_default=True,
        help="What certificates are about: the network as float32 computes it, whatever the order "
        "of its sums, or in real numbers.",
    ),
    click.option(
        "--trust",
        type=click.Choice(TRUSTED),
        multiple=True,
        help="Believe this method, or solver, without a certificate; repeatable.",
    ),
)


def execution(  # noqa: PLR0913 - one for each option
    *,
    jobs: int | None,
    memory: float | None,
    no_cache: bool,
    cache_dir: Path,
    certificates: Path | None = None,
    semantics: Semantics = "float32_any_order",
    trust: tuple[str, ...] = (),
) -> Execution:
    """What the options of `running` and `evidence` come to. Raises UsageError for workers where
    there are none, SpecError for a folder that cannot be made.

    Before numpy is loaded: it asks once how many threads it may have.
    """
    from specdsl.run.workers.limits import Workers, can_fork

    if not can_fork() and (jobs or memory is not None):
        raise click.UsageError("--jobs and --memory need Linux")
    if jobs == 0 and memory is not None:
        raise click.UsageError("--memory is for workers, and --jobs 0 has none")
    jobs = int(can_fork()) if jobs is None else jobs
    if jobs > 1:
        # More threads than cores slow every solver down.
        share = max(1, (os.cpu_count() or 1) // jobs)
        os.environ.setdefault("OMP_NUM_THREADS", str(share))
    # Torch would wake CUDA to see whether it is there, and no worker could use it after that.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    workers = Workers(jobs, memory) if jobs else None
    if certificates is not None:
        make_folder(certificates)
    asked = Demand(semantics, frozenset(trust))
    return Execution(workers, cache_folder(cache_dir, no_cache), asked, certificates)


def require_device_beside(execution: Execution, device: str) -> None:
    """Raise UsageError for a GPU in workers with a memory limit, which are kept from it."""
    limited = execution.workers is not None and execution.workers.memory is not None
    if limited and device == "cuda":
        raise click.UsageError("--memory counts address space, of which CUDA takes more than any")


def cache_folder(cache_dir: Path, no_cache: bool) -> Path | None:
    """Where answers are kept; a folder on the command line goes before the environment's "no"."""
    source = click.get_current_context().get_parameter_source
    said = source("no_cache") is ParameterSource.COMMANDLINE
    asked = source("cache_dir") is ParameterSource.COMMANDLINE
    return None if no_cache and (said or not asked) else cache_dir


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
