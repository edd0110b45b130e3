"""One input, watched: what it comes to."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from specdsl.diagnostics import Diagnostic, SpecError, render
from tests.fuzz.target import Target
from tests.fuzz.watch import MAX_MEMORY, PROJECT, Hang, Watch, limited, peak_memory

Kind = Literal["traceback", "diagnostic", "stray read", "hang", "memory", "crash"]

# Of a rendered diagnostic: hostile files hold names of megabytes, and terminals have 80 columns.
LONGEST_LINE = 1_000
LONGEST_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with how an input ended. Those with one `key` are one bug, as far as we see."""

    kind: Kind
    key: str
    text: str

    @property
    def digest(self) -> str:
        """A short name."""
        return hashlib.sha256(f"{self.kind} {self.key}".encode()).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether the input was refused with diagnostics, and what is wrong, if anything is."""

    refused: bool
    finding: Finding | None = None


def outcome_of(target: Target, content: bytes, folder: Path, watch: Watch, memory: int) -> Outcome:
    """Run a target once. `memory`: the peak of the process before all runs."""
    watch.trespasses.clear()
    ended: BaseException | None = None
    try:
        with limited():
            target.run(content, folder)
    except BaseException as error:  # noqa: BLE001 - whatever ends a run is what we look at
        ended = error
    # Before anything else is done: telling what happened reads files, too.
    trespasses = tuple(watch.trespasses)
    refused = isinstance(ended, SpecError)
    if trespasses:
        return Outcome(refused, Finding("stray read", trespasses[0], "\n".join(trespasses)))
    grown = peak_memory() - memory
    if grown > MAX_MEMORY:
        text = f"the process grew by {grown / 2**20:.0f} MiB"
        return Outcome(refused, Finding("memory", "too much memory", text))
    return Outcome(refused, None if ended is None else _judged(ended))


def clipped(text: str) -> str:
    """Both ends: the traceback of endless recursion is long, and that of a dead process."""
    return text if len(text) < 6_000 else f"{text[:3_000]}\n...\n{text[-3_000:]}"


def _judged(ended: BaseException) -> Finding | None:
    """What is wrong with how a run ended, if anything is."""
    if isinstance(ended, SpecError):
        return _ill_formed(ended)
    place, text = _place(ended.__traceback__), clipped("".join(traceback.format_exception(ended)))
    if isinstance(ended, Hang):
        return Finding("hang", place, text)
    return Finding("traceback", f"{type(ended).__name__} in {place}", text)


def _ill_formed(error: SpecError) -> Finding | None:
    """What is wrong with the diagnostics themselves: they must be there, and be printable."""
    if not error.diagnostics:
        return Finding("diagnostic", "none", "a SpecError without diagnostics")
    for item in error.diagnostics:
        try:
            shown = render(item)
            shown.encode()
        except Exception as problem:  # noqa: BLE001 - as above
            key = f"{item.code} cannot be printed: {type(problem).__name__}"
            return Finding("diagnostic", key, traceback.format_exc())
        problem = _unreadable(item, shown)
        if problem:
            return Finding("diagnostic", f"{item.code} {problem}", f"{problem}:\n{shown[:2000]}")
    return None


def _unreadable(item: Diagnostic, shown: str) -> str | None:
    if not item.message or item.message.endswith("."):
        return "has no message, or one that ends with a full stop"
    if max(map(len, shown.splitlines())) > LONGEST_LINE or len(shown) > LONGEST_TEXT:
        return "is too long to be read"
    place = item.primary
    if place and not 0 <= place.span.start <= place.span.end <= len(place.span.source.text):
        return "is placed outside of its text"
    return None


def _place(trace: TracebackType | None) -> str:
    """The innermost function of the project on the way to where an exception was raised."""
    frames = traceback.extract_tb(trace)
    ours = [f for f in frames if Path(f.filename).is_relative_to(PROJECT / "specdsl")]
    if not ours:
        return f"{Path(frames[-1].filename).name}: {frames[-1].name}" if frames else "?"
    return f"{Path(ours[-1].filename).relative_to(PROJECT)}: {ours[-1].name}"
