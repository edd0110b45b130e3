"""`specdsl-vnnlib`: the solver command line of VNN-LIB 2.0, for front ends that call any solver.

Stdout carries the answer and nothing else. Callers kill the process at the time-out they pass, so
that the answer is given before it, by a timer if need be.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import click

from specdsl.cli import options
from specdsl.cli.main import leave, run_guarded
from specdsl.diagnostics import SpecError
from specdsl.run.exit_codes import ExitCode
from specdsl.version import __version__

NAME = "specdsl"
LOADED = time.monotonic()

EARLY = 0.5
"""Seconds between our answer and the caller's time-out; half of a time-out below one second."""

START_UP = 0.15
"""Seconds that Python takes before this file is read, where the system does not say."""

TIMEOUT_WORD = "SPECDSL_VNNLIB_TIMEOUT_WORD"
"""Environment variable: what to print instead of `timed-out`. Some front ends know `timeout`."""

CAPABILITIES = (
    "onnx-opset-versions",
    "onnx-element-types",
    "onnx-operators",
    "vnnlib-versions",
    "hidden-node-theories",
    "multiple-input-output-theories",
    "multiple-network-theories",
    "multiple-node-comparison-theories",
    "arithmetic-complexity-theories",
    "optimised-disjunctive-reasoning",
    "serialise-assignments",
)

COMMANDS = ("verify", "supports")


class _Bare(click.Group):
    """Takes `QUERY.vnnlib --network ...` for `verify QUERY.vnnlib --network ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Older front ends call without the word `verify`."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in own and args[0] not in COMMANDS:
            args = ["verify", *args]
        return super().parse_args(ctx, args)


def _print_name(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(NAME)
        ctx.exit()


@click.group(cls=_Bare, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--name",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_name,
    help="Print the solver's name.",
)
@click.version_option(__version__, message="%(version)s")
def solver() -> None:
    """Decide VNN-LIB queries (1.0 and 2.0): `sat`, `unsat`, `unknown` or `timed-out`.

    After `sat` comes the assignment. Everything else goes to stderr. Ends with 0 where one of the
    four words was printed.
    """


@solver.command("verify")
@click.argument("query", type=options.FILE)
@click.option(
    "--network",
    "networks",
    multiple=True,
    required=True,
    metavar="NAME=FILE",
    help="The ONNX file of a network that the query declares without `equal-to`. Repeatable.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="From the start of the process; the answer comes half a second before it.",
)
@click.option(
    "--serialise-assignments",
    "folder",
    type=options.FILE,
    metavar="DIR",
    help="After `sat`: write NAME.pb (ONNX TensorProto) for each variable instead of printing.",
)
@click.option(
    "--timeout-word",
    envvar=TIMEOUT_WORD,
    default="timed-out",
    show_default=True,
    metavar="WORD",
    help=f"What to print when the time is over. Environment: {TIMEOUT_WORD}.",
)
@options.using
@click.option("--seed", type=click.IntRange(min=0))
def verify_command(  # noqa: PLR0913 - one parameter for each option of the command
    *,
    query: Path,
    networks: tuple[str, ...],
    timeout: float | None,
    folder: Path | None,
    timeout_word: str,
    using: str,
    seed: int | None,
) -> int:
    """Decide QUERY (.vnnlib, or gzipped .vnnlib.gz)."""
    files = _files(networks)
    answer = _Answer(timeout_word)
    left = None
    if timeout is not None:
        left = max(0.0, timeout - min(EARLY, timeout / 2) - _elapsed())
        answer.no_later_than(left)
    from specdsl.run.start_up import quick_imports

    with quick_imports():
        from specdsl.run.asked_backend import asked_backend
        from specdsl.run.vnnlib import verify

        backend = asked_backend(using).create(seed)
    remaining = None if timeout is None or left is None else max(0.0, left - _elapsed())
    found = verify(query, files, backend, remaining)
    if found.reason:
        click.echo(found.reason, err=True)
    if found.word != "sat":
        answer.give(found.word)
    elif folder is None:
        answer.give("sat", *(line for variable in found.assignment for line in variable.lines()))
    else:
        _serialise({f"{v.name}.pb": v.tensor() for v in found.assignment}, folder)
        answer.give("sat")
    return ExitCode.PASSED


@solver.command("supports")
@click.argument("capability", type=click.Choice([f"--{c}" for c in CAPABILITIES]), metavar="ITEM")
def supports_command(capability: str) -> int:
    """Print what is supported, one item a line."""
    from specdsl.run.vnnlib import supported

    click.echo("\n".join(supported(capability.removeprefix("--"))))
    return ExitCode.PASSED


# `supports --vnnlib-versions`: the items look like options and are arguments.
supports_command.context_settings = {"ignore_unknown_options": True}


def _elapsed() -> float:
    """Seconds since the process began."""
    age = _process_age()
    return START_UP + time.monotonic() - LOADED if age is None else age


def _process_age() -> float | None:
    """As Linux tells it: field 22 of `stat` is the start, in clock ticks since boot."""
    try:
        fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _files(given: tuple[str, ...]) -> dict[str, Path]:
    """`NAME=FILE` pairs. Raises SpecError E1012 for anything else and for a name given twice."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            help = "write `--network f=FILE.onnx`"
            raise SpecError.of("E1012", f"`--network {text}` is not `NAME=FILE`", help=help)
        if name in found:
            raise SpecError.of("E1012", f"`--network {name}=...` is given twice")
        found[name] = Path(file)
    return found


class _Answer:
    """What is printed, once: by the search, or by a timer where the search does not come back."""

    def __init__(self, timeout_word: str) -> None:
        self._timeout_word = timeout_word
        self._lock = threading.Lock()
        self._given = False

    def no_later_than(self, seconds: float) -> None:
        """End the process with `timed-out` after so many seconds."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()

    def give(self, *lines: str) -> None:
        """Print the answer."""
        with self._lock:
            self._given = True
            first, *rest = lines
            word = self._timeout_word if first == "timed-out" else first
            click.echo("\n".join((word, *rest)))

    def _expire(self) -> None:
        with self._lock:
            if self._given:
                return
            click.echo(self._timeout_word)
            sys.stdout.flush()
            # Foreign code that does not look at the clock runs in the main thread.
            os._exit(ExitCode.PASSED)


def _serialise(tensors: dict[str, bytes], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in tensors.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write to `{folder}`: {error.strerror}") from error


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 with an answer, 2 for bad usage or files, 3 for our own bugs."""
    if arguments is not None:
        sys.exit(run_guarded(solver, "specdsl-vnnlib", arguments))
    # Callers wait for the end of the process; taking torch down could outlast the time-out.
    leave(run_guarded(solver, "specdsl-vnnlib", sys.argv[1:]))
