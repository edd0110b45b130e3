"""The worker's side: take a number, do that piece of work, send what came of it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from specdsl.run.memory import limit_memory, more_memory, out_of_memory, ran_out
from specdsl.run.workers.limits import Lost

T = TypeVar("T")

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: which signal to get when the parent dies."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Something is heard again within `seconds` (None: some time), or `reason` says why not."""

    seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a piece of work gave. `worn`: the process may have been damaged by it, and ends."""

    value: T
    worn: bool = False


@dataclass(frozen=True, slots=True)
class Bug:
    """An exception that nobody expected, as text."""

    trace: str


Work = Callable[[int, Callable[[Watch], None]], Done[T]]
"""Does one piece, and says now and then how long it may take."""
Prepare = Callable[[], AbstractContextManager[Work[T]]]
"""Called once in each worker; the work is done inside."""


@dataclass(frozen=True, slots=True)
class Side:
    """The worker's end of the line. `foreign`: ends of the parent, which it has copies of: while
    these are open, nobody hears that the parent has closed its own. `parent`: its process.
    """

    connection: Connection
    foreign: tuple[Connection, ...]
    parent: int


def serve(side: Side, prepare: Prepare[Any], memory: float | None) -> None:
    """Do what is asked until nobody asks any more."""
    connection = side.connection
    # Ctrl-C reaches everybody in the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(side.parent)
    for each in side.foreign:
        each.close()
    if memory is not None:
        limit_memory(memory)
        # Its driver takes more address space than there is memory: `auto` must not find it.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    start = time.monotonic()
    try:
        with prepare() as work:
            while (number := _received(connection)) is not None:
                start = time.monotonic()
                done = work(number, connection.send)
                connection.send(done)
                if done.worn:
                    return
    # Told by the parent as a bug of ours, in the same words as one of its own.
    except Exception as error:  # noqa: BLE001
        if ran_out(error):
            connection.send(Lost(out_of_memory(), time.monotonic() - start, more_memory()))
        else:
            connection.send(Bug(traceback.format_exc()))


def _received(connection: Connection) -> int | None:
    """The next piece of work; None where there will be none."""
    try:
        return connection.recv()
    except EOFError:
        return None


def _die_with(parent: int) -> None:
    """Be killed when the parent is: what nobody waits for need not be computed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
